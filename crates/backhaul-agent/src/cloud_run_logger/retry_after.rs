//! `Retry-After`, in both of its forms.

use std::time::Duration;

use backhaul_store::Timestamp;
use reqwest::header::{self, HeaderMap};

use super::client::text;

/// How long the server asks to wait: a number of seconds, or a date. A date is taken
/// by the server's own clock where it tells that, because ours may be wrong.
pub(super) fn of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than any number holds is for ever; who asks for that gets the longest wait.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date(value)?;
    let now = text(headers, header::DATE).and_then(http_date).unwrap_or(now);
    Some(until.since(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(lines: &[(&'static str, &'static str)], now: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        of(&headers, Timestamp::parse(now).unwrap()).map(|wait| wait.as_secs())
    }

    #[test]
    fn both_forms_are_read() {
        let now = "1994-11-06T08:49:00Z";
        assert_eq!(wait(&[("retry-after", "120")], now), Some(120));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], now), Some(37));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], now), Some(0));
        assert_eq!(wait(&[("retry-after", "99999999999999999999")], now), Some(u64::MAX));
        assert_eq!(wait(&[("retry-after", "soon")], now), None);
        assert_eq!(wait(&[("retry-after", "")], now), None);
        assert_eq!(wait(&[("retry-after", "-1")], now), None);
        assert_eq!(wait(&[], now), None);
    }

    #[test]
    fn a_date_is_taken_by_the_servers_clock_not_by_ours() {
        let lines = [
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("date", "Sun, 06 Nov 1994 08:49:30 GMT"),
        ];
        assert_eq!(wait(&lines, "1970-01-01T00:00:00Z"), Some(7));
    }
}
