//! A JSON object on a line of its own that says whether it is whole: its last key is a
//! checksum over what stands before it.

const CHECKSUM: &str = ",\"crc\":\"";

/// Adds the checksum and a newline to a JSON object with at least one key.
///
/// ```
/// use backhaul_store::{open_line, seal_line};
/// let line = seal_line(br#"{"n":1}"#.to_vec());
/// assert!(line.starts_with(br#"{"n":1,"crc":""#) && line.ends_with(b"\"}\n"));
/// assert_eq!(open_line(&line).as_deref(), Some(r#"{"n":1}"#));
/// ```
pub fn seal_line(mut object: Vec<u8>) -> Vec<u8> {
    // The closing brace.
    object.pop();
    let crc = crc32fast::hash(&object);
    object.extend_from_slice(format!("{CHECKSUM}{crc:08x}\"}}\n").as_bytes());
    object
}

/// The object that [`seal_line`] was given. `None`: the line is torn or damaged.
pub fn open_line(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (content, checksum) = text.rsplit_once(CHECKSUM)?;
    let crc = u32::from_str_radix(checksum.strip_suffix("\"}")?, 16).ok()?;
    (crc32fast::hash(content.as_bytes()) == crc).then(|| format!("{content}}}"))
}
