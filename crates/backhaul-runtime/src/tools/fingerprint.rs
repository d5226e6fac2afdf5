//! What a call is known by.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A hash of texts, told apart by their lengths: 64 hex digits.
pub(super) fn fingerprint(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in digest.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Arguments as text that does not depend on the order of their fields.
pub(super) fn canonical(arguments: &Map<String, Value>) -> String {
    let mut canonical = Value::Object(arguments.clone());
    canonical.sort_all_objects();
    canonical.to_string()
}
