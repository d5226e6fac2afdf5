//! The names that Weave gives to what is stored: hashes of the contents.
//!
//! They are those of weave 0.52.33 and later (`weave.shared.digest`); servers before that
//! hashed objects in the order of their keys, and answer with their own.

use backhaul_json::Writer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The digest of a file: SHA-256 in the base64 of URLs, with `X` for `-` and `Y` for `_`;
/// 43 characters.
///
/// ```
/// use backhaul_weave::digest;
/// assert_eq!(digest::of_file(b"abc"), "ungWv48BzXpBQUDeXa4iI7ADYaOWF3qctBDYYfIAFa0");
/// ```
pub fn of_file(content: &[u8]) -> String {
    of_hash(&Sha256::digest(content))
}

/// The digest of what has a SHA-256.
pub(crate) fn of_hash(hash: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hash).replace('-', "X").replace('_', "Y")
}

/// The digest of an object or of a row of a table: that of its [canonical] JSON.
///
/// References in it count as they stand in `value`. Where a server has projects by internal
/// names, it rewrites them first: see [`refs::rewrite`](crate::refs::rewrite).
pub fn of_value(value: &Value) -> String {
    of_file(&canonical(value))
}

/// The digest of a table: SHA-256 in lower-case hex of its rows' digests, one after the other.
///
/// ```
/// use backhaul_weave::digest;
/// let empty = digest::of_table::<&str>([]);
/// assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
/// ```
pub fn of_table<Row: AsRef<str>>(row_digests: impl IntoIterator<Item = Row>) -> String {
    let mut hash = Sha256::new();
    row_digests.into_iter().for_each(|row| hash.update(row.as_ref()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `json.dumps(value, sort_keys=True)` gives in Python: keys by code point, ASCII only,
/// whole numbers of any size, floats as `repr` has them.
///
/// ```
/// let value = backhaul_json::from_slice("{\"b\": 1e5, \"a\": \"é\"}".as_bytes())?;
/// assert_eq!(backhaul_weave::digest::canonical(&value), br#"{"a": "\u00e9", "b": 100000.0}"#);
/// # Ok::<(), backhaul_json::JsonError>(())
/// ```
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut writer = Writer::sorted();
    writer.value(value);
    writer.into_bytes()
}
