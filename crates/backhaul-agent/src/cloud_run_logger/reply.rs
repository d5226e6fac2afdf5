//! What a hub's answer means for each record.

use std::time::Duration;

use backhaul_sync::{LinkError, Verdict};
use serde_json::{Map, Value};

use crate::shorten;

/// Enough of an answer to recognise it.
const SHOWN: usize = 300;

pub(super) struct Reply<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    pub(super) location: Option<&'a str>,
    pub(super) retry_after: Option<Duration>,
}

/// One verdict for each of `records` records.
///
/// # Errors
/// What the answer says of the request as a whole. An answer that no hub gives is one
/// of somebody in its place, such as a captive portal: the hub is out of reach.
pub(super) fn read(reply: &Reply<'_>, records: usize) -> Result<Vec<Verdict>, LinkError> {
    let status = reply.status;
    let reason = || reason_of(reply.body);
    match status {
        200..=299 => {
            let answer = serde_json::from_slice::<Map<String, Value>>(reply.body)
                .map_err(|_| format!("not a hub's answer: {}", shown(reply.body)));
            let wait = reply.retry_after;
            answer.and_then(|answer| verdicts(&answer, records, wait)).map_err(|why| {
                LinkError::unreachable(format!("{why} (is there a captive portal?)"))
                    .with_status(status)
            })
        }
        409 if may_be_a_hubs(reply.body) => Ok(vec![Verdict::Duplicate; records]),
        409 => {
            let why = format!("not a hub's answer: {}", shown(reply.body));
            Err(LinkError::unreachable(why).with_status(status))
        }
        300..=399 => {
            let to = reply.location.map(backhaul_sync::shown_url).unwrap_or_default();
            let why = format!("redirected to {:?} (is there a captive portal?)", cut(&to));
            Err(LinkError::of_status(status, why))
        }
        // Only networks say so, never a hub: it is a captive portal that owns up.
        511 => Err(LinkError::of_status(status, format!("{} (a captive portal)", reason()))),
        _ => {
            let mut error = LinkError::of_status(status, reason());
            if let Some(wait) = reply.retry_after {
                error = error.with_retry_after(wait);
            }
            if !has_a_hubs_words(reply.body) {
                error = error.doubtful();
            }
            if let Some(index) = blamed(reply.body).filter(|index| *index < records) {
                error = error.with_index(index);
            }
            Err(error)
        }
    }
}

/// Whether a body is empty or an object, and no page of somebody else.
fn may_be_a_hubs(body: &[u8]) -> bool {
    body.trim_ascii().is_empty() || serde_json::from_slice::<Map<String, Value>>(body).is_ok()
}

/// Whether a refusal is a hub's own, and not a page of something in its place.
fn has_a_hubs_words(body: &[u8]) -> bool {
    serde_json::from_slice::<Map<String, Value>>(body).is_ok_and(|said| said.contains_key("error"))
}

/// Statuses that say nothing of what was sent: the same may be taken later.
fn asks_to_wait(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// `{"accepted": n, "duplicates": m}`, and what else it says of single records. What does
/// not add up is no answer to this request: nothing counts as delivered by guessing.
fn verdicts(
    answer: &Map<String, Value>,
    records: usize,
    wait: Option<Duration>,
) -> Result<Vec<Verdict>, String> {
    let number = |key| answer.get(key).and_then(Value::as_u64);
    let accepted = number("accepted").ok_or("the answer has no count of accepted records")?;
    let duplicates = number("duplicates").unwrap_or(0);
    let mut verdicts = vec![Verdict::Delivered; records];
    let mut rejected = 0;
    for entry in list(answer, "rejected") {
        tell(&mut verdicts, entry.get("index"), rejection(entry, wait))?;
        rejected += 1;
    }
    let told = accepted.saturating_add(duplicates).saturating_add(rejected);
    if told != records as u64 {
        return Err(format!("the answer tells of {told} records, {records} were sent"));
    }
    mark_duplicates(answer, duplicates, &mut verdicts)?;
    Ok(verdicts)
}

/// Notes what is said of one record, of which nothing else was said before.
fn tell(verdicts: &mut [Verdict], index: Option<&Value>, verdict: Verdict) -> Result<(), String> {
    let index = index.and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    let slot = index.and_then(|index| verdicts.get_mut(index));
    let slot = slot.ok_or("the answer tells of a record that was not sent")?;
    if *slot != Verdict::Delivered {
        return Err("the answer tells of one record twice".to_owned());
    }
    *slot = verdict;
    Ok(())
}

/// What a hub means by an entry of `rejected`: its status says whether for good.
fn rejection(entry: &Value, retry_after: Option<Duration>) -> Verdict {
    let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
    let reason = cut(reason).to_owned();
    let status = entry.get("status").and_then(Value::as_u64);
    match status.and_then(|status| u16::try_from(status).ok()) {
        Some(status) if asks_to_wait(status) => {
            let reason = format!("HTTP {status}: {reason}");
            Verdict::Later { reason, retry_after, spends_retry: true }
        }
        status => Verdict::Rejected { reason, status },
    }
}

/// Says which records the hub had already. Where it tells only how many, the first ones
/// stand for them: that is how a batch repeats which was cut short before.
fn mark_duplicates(
    answer: &Map<String, Value>,
    count: u64,
    verdicts: &mut [Verdict],
) -> Result<(), String> {
    if answer.contains_key("duplicate_indexes") {
        let mut told = 0;
        for index in list(answer, "duplicate_indexes") {
            tell(verdicts, Some(index), Verdict::Duplicate)?;
            told += 1;
        }
        return match told == count {
            true => Ok(()),
            false => Err(format!("the answer names {told} of {count} duplicates")),
        };
    }
    let delivered = verdicts.iter_mut().filter(|verdict| **verdict == Verdict::Delivered);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    delivered.take(count).for_each(|verdict| *verdict = Verdict::Duplicate);
    Ok(())
}

fn list<'a>(answer: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    answer.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The record that the hub blames for its refusal.
fn blamed(body: &[u8]) -> Option<usize> {
    let answer = serde_json::from_slice::<Map<String, Value>>(body).ok()?;
    usize::try_from(answer.get("index")?.as_u64()?).ok()
}

/// The hub's own words where it gives any, else what came.
fn reason_of(body: &[u8]) -> String {
    let answer = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let words = ["reason", "error", "detail", "message"];
    match words.iter().find_map(|key| answer.get(*key)?.as_str()) {
        Some(text) => cut(text).to_owned(),
        None if body.is_empty() => "no reason given".to_owned(),
        None => shown(body),
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..SHOWN * 4).unwrap_or(body));
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{:?}", cut(plain.trim()))
}

fn cut(text: &str) -> &str {
    shorten::cut(text, SHOWN)
}

#[cfg(test)]
mod tests {
    use backhaul_sync::LinkErrorKind;

    use super::*;

    fn answer(status: u16, body: &str, records: usize) -> Result<Vec<Verdict>, LinkError> {
        let reply = Reply { status, body: body.as_bytes(), location: None, retry_after: None };
        read(&reply, records)
    }

    fn kind(status: u16, body: &str, records: usize) -> LinkErrorKind {
        answer(status, body, records).unwrap_err().kind()
    }

    #[test]
    fn all_is_delivered_when_all_is_accounted_for() {
        use Verdict::{Delivered, Duplicate};
        let read = |body| answer(200, body, 3).unwrap();
        assert_eq!(read(r#"{"accepted": 3, "duplicates": 0}"#), vec![Delivered; 3]);
        assert_eq!(read(r#"{"accepted": 3}"#), vec![Delivered; 3]);
        assert_eq!(read(r#"{"accepted": 2, "duplicates": 1}"#), [Duplicate, Delivered, Delivered]);
        assert_eq!(
            read(r#"{"accepted": 2, "duplicates": 1, "duplicate_indexes": [2]}"#),
            [Delivered, Delivered, Duplicate]
        );
    }

    #[test]
    fn rejections_of_single_records_carry_their_reasons() {
        let body = r#"{"accepted": 1, "duplicates": 1,
            "rejected": [{"index": 1, "reason": "no run_id", "status": 422}]}"#;
        let rejected = Verdict::Rejected { reason: "no run_id".into(), status: Some(422) };
        let verdicts = answer(200, body, 3).unwrap();
        assert_eq!(verdicts, [Verdict::Duplicate, rejected, Verdict::Delivered]);
    }

    #[test]
    fn a_rejection_with_a_status_that_asks_to_wait_is_none() {
        for status in [408, 425, 429, 500, 503, 599] {
            let body = format!(
                r#"{{"accepted": 1, "rejected": [{{"index": 1, "reason": "full",
                "status": {status}}}]}}"#
            );
            let retry_after = Some(Duration::from_secs(9));
            let reply = Reply { status: 200, body: body.as_bytes(), location: None, retry_after };
            let reason = format!("HTTP {status}: full");
            let later = Verdict::Later { reason, retry_after, spends_retry: true };
            assert_eq!(read(&reply, 2).unwrap(), [Verdict::Delivered, later]);
        }
    }

    #[test]
    fn a_200_that_is_no_hubs_answer_delivers_nothing() {
        for body in [
            "",
            "<html>Log in to FreeWifi</html>",
            "[]",
            "{}",
            r#"{"accepted": "3"}"#,
            r#"{"accepted": 2, "duplicates": 0}"#,
            r#"{"accepted": 4}"#,
            r#"{"accepted": 1, "rejected": [{"index": 0}, {"index": 0}]}"#,
            r#"{"accepted": 1, "duplicates": 1, "duplicate_indexes": [0],
                "rejected": [{"index": 0}]}"#,
            r#"{"accepted": 2, "duplicates": 1, "duplicate_indexes": [0, 1]}"#,
            r#"{"accepted": 2, "rejected": [{"index": 3, "reason": "x"}]}"#,
            r#"{"accepted": 3, "duplicate_indexes": [7]}"#,
        ] {
            assert_eq!(kind(200, body, 3), LinkErrorKind::Unreachable, "{body}");
        }
        assert_eq!(kind(204, "", 1), LinkErrorKind::Unreachable);
    }

    #[test]
    fn each_status_means_what_the_decisions_say() {
        use LinkErrorKind::{BadBatch, Busy, Refused, TooLarge, Unreachable};
        for (status, expected) in [
            (302, Unreachable),
            (511, Unreachable),
            (400, BadBatch),
            (422, BadBatch),
            (401, Refused),
            (403, Refused),
            (404, Refused),
            (405, Refused),
            (410, Refused),
            (407, Refused),
            (418, Busy),
            (423, Busy),
            (499, Busy),
            (408, Busy),
            (429, Busy),
            (500, Busy),
            (503, Busy),
            (510, Busy),
            (599, Busy),
            (413, TooLarge),
        ] {
            assert_eq!(kind(status, "", 2), expected, "{status}");
        }
        assert_eq!(answer(409, "", 2).unwrap(), vec![Verdict::Duplicate; 2]);
        assert_eq!(answer(409, r#"{"error": "x"}"#, 2).unwrap(), vec![Verdict::Duplicate; 2]);
        assert_eq!(kind(409, "<html>Log in</html>", 2), Unreachable);
    }

    #[test]
    fn a_refusal_is_doubtful_unless_it_has_a_hubs_words() {
        for (body, is_doubtful) in [
            (r#"{"error": "record 0: no run_id"}"#, false),
            ("", true),
            ("<html>400 Bad Request</html>", true),
            (r#"{"message": "no"}"#, true),
        ] {
            for status in [400, 413, 422] {
                let error = answer(status, body, 1).unwrap_err();
                assert_eq!(error.is_doubtful(), is_doubtful, "{status} {body}");
            }
        }
    }

    #[test]
    fn the_hubs_hint_at_a_record_is_kept_where_it_fits() {
        let error = answer(422, r#"{"error": "x", "index": 1}"#, 2).unwrap_err();
        assert_eq!(error.index(), Some(1));
        let error = answer(422, r#"{"error": "x", "index": 2}"#, 2).unwrap_err();
        assert_eq!(error.index(), None);
    }
}
