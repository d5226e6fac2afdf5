//! How a backhaul and its hub talk, as far as a test's hub has to know.

use crate::fault_server::{Answer, Intake, Request};
use crate::oracle::Item;

/// The records of a request, with the ids that its headers give them; 400 with the reason
/// where it makes no sense.
///
/// # Errors
/// The answer of a hub to a request that it does not understand.
pub fn hub_items(request: &Request) -> Result<Vec<Item>, Answer> {
    let refusal = |reason: String| Answer::new(400).body(format!("{{\"error\": {reason:?}}}"));
    let header = |name| request.header(name).ok_or_else(|| refusal(format!("{name} is missing")));
    let source = header("backhaul-source")?;
    let sequences = sequences(header("backhaul-sequences")?)
        .ok_or_else(|| refusal("backhaul-sequences makes no sense".to_owned()))?;
    let bodies = elements(request.body())
        .ok_or_else(|| refusal("the body is no array of objects".to_owned()))?;
    if bodies.len() != sequences.len() {
        return Err(refusal(format!("{} names, {} records", sequences.len(), bodies.len())));
    }
    let items = sequences.into_iter().zip(bodies);
    Ok(items.map(|(sequence, body)| Item::new(format!("{source}/{sequence}"), body)).collect())
}

/// Stores the records of a request and says so, as the hub of `backhaul` does.
pub fn hub_answer(intake: &Intake, request: &Request) -> Answer {
    let items = match hub_items(request) {
        Ok(items) => items,
        Err(refusal) => return refusal,
    };
    let count = items.len();
    let mut duplicates = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        if !intake.take(item) {
            duplicates.push(index);
        }
    }
    let (accepted, known) = (count - duplicates.len(), duplicates.len());
    Answer::ok(format!(
        "{{\"accepted\": {accepted}, \"duplicates\": {known}, \"duplicate_indexes\": {duplicates:?}}}"
    ))
}

/// `5-7,12` as 5, 6, 7, 12.
fn sequences(text: &str) -> Option<Vec<u64>> {
    let mut sequences = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        sequences.extend(first..=last);
    }
    Some(sequences)
}

/// The objects of an array, byte for byte. It looks at brackets and strings alone, so that
/// what JSON libraries do not take (`NaN`) goes through.
fn elements(body: &[u8]) -> Option<Vec<&[u8]>> {
    let inner = body.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                found.push(inner.get(start..at)?.trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = inner.get(start..)?.trim_ascii();
    if !last.is_empty() {
        found.push(last);
    }
    let is_whole = depth == 0 && !in_string && found.iter().all(|item| item.starts_with(b"{"));
    is_whole.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_byte_for_byte() {
        let body = br#" [{"a": NaN, "b": [1, "],\"}"]} , {} ] "#;
        let found = elements(body).unwrap();
        assert_eq!(found, [&br#"{"a": NaN, "b": [1, "],\"}"]}"#[..], b"{}"]);
        assert_eq!(elements(b"[]").unwrap().len(), 0);
        for bad in ["", "{}", "[{]", "[{}", "[1]", "[{\"a]", "[{}}]"] {
            assert_eq!(elements(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ranges_are_spelt_out() {
        assert_eq!(sequences("5-7,12"), Some(vec![5, 6, 7, 12]));
        assert_eq!(sequences("1"), Some(vec![1]));
        assert_eq!((sequences(""), sequences("1-x")), (None, None));
    }
}
