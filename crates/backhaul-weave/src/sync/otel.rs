//! Spans in OpenTelemetry's form, as far as their ids go.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::Value;

/// An export is as large as a request at most; past this it is no export.
const MOST_BYTES: u64 = 256 << 20;
/// `ExportTraceServiceRequest.resource_spans`, `ResourceSpans.scope_spans`,
/// `ScopeSpans.spans` and `Span.span_id`.
const PATH: [u64; 4] = [1, 2, 2, 2];

/// The ids of the spans in an export, which are those of their calls. None where they cannot
/// be read.
pub(super) fn span_ids(export: &Value) -> Vec<String> {
    let body = STANDARD.decode(export["body"].as_str().unwrap_or_default()).unwrap_or_default();
    let body = match export["content_encoding"].as_str() {
        Some("gzip") => {
            let mut inflated = Vec::new();
            let read = GzDecoder::new(&*body).take(MOST_BYTES).read_to_end(&mut inflated);
            read.map(|_| inflated).unwrap_or_default()
        }
        _ => body,
    };
    let mut ids = Vec::new();
    collect(&body, &PATH, &mut ids);
    ids
}

/// Collects what stands at a path of fields of a message, in the wire form of Protocol Buffers.
fn collect(message: &[u8], path: &[u64], ids: &mut Vec<String>) {
    let Some((field, deeper)) = path.split_first() else {
        ids.push(message.iter().map(|byte| format!("{byte:02x}")).collect());
        return;
    };
    let mut rest = message;
    while let Some((number, value)) = next_field(&mut rest) {
        if let Some(value) = value.filter(|_| number == *field) {
            collect(value, deeper, ids);
        }
    }
}

/// The number of the next field, and its bytes where it has a length.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => varint(rest).map(|_| None)?,
        1 => take(rest, 8).map(|_| None)?,
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            Some(take(rest, len)?)
        }
        5 => take(rest, 4).map(|_| None)?,
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    /// A field with a length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    #[test]
    fn ids_of_spans_are_read_with_and_without_gzip() {
        let span = [field(1, &[7; 16]), field(2, &[0, 1, 0xab, 3, 4, 5, 6, 7]), vec![0x38, 5]];
        let spans = field(2, &span.concat());
        let export = field(1, &field(2, &[spans.clone(), spans].concat()));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&export).unwrap();
        let gzip = gzip.finish().unwrap();
        for (body, encoding) in [(&export, Value::Null), (&gzip, json!("gzip"))] {
            let export = json!({"body": STANDARD.encode(body), "content_encoding": encoding});
            assert_eq!(span_ids(&export), ["0001ab0304050607"; 2]);
        }
    }

    #[test]
    fn what_is_no_export_has_no_ids() {
        for body in [&b"\xff\xff\xff"[..], b"{}", b"", &[0x0a, 0x7f]] {
            assert!(span_ids(&json!({"body": STANDARD.encode(body)})).is_empty());
        }
    }
}
