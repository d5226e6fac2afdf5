//! What a server answers.

use std::time::Duration;

use backhaul_store::{Clock as _, SystemClock, Timestamp};
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderName};

use super::http_date;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The text of a header; `None` where there is none, or it is no text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What time it is by the server.
    pub fn date(&self) -> Option<Timestamp> {
        http_date::parse(self.header(header::DATE)?)
    }

    /// How long the server asks to wait: a number of seconds, or a date. A date is taken
    /// by the server's own clock where it tells that, because `now` may be wrong.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let value = self.header(header::RETRY_AFTER)?.trim();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // More than any number holds is for ever; who asks for that gets the longest wait.
            return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
        Some(http_date::parse(value)?.since(self.date().unwrap_or(now)))
    }

    /// The same by the clock of this device where the server has none.
    pub fn retry_after_now(&self) -> Option<Duration> {
        self.retry_after(SystemClock::new().now().wall)
    }
}

/// Where the same request is to be sent instead. Only a server that moves on its own
/// host, keeps the method and does not go back to plain HTTP is followed. Everything
/// else may be a captive portal.
pub(super) fn moved_to(status: u16, headers: &HeaderMap, from: &Url) -> Option<Url> {
    if !matches!(status, 307 | 308) {
        return None;
    }
    let to = from.join(headers.get(header::LOCATION)?.to_str().ok()?).ok()?;
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    let is_as_safe = match (from.scheme(), to.scheme()) {
        (old, new) if old == new => same_port,
        (_, new) => new == "https",
    };
    (from.host_str() == to.host_str() && is_as_safe).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, lines: &[(&'static str, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        Answer { status, headers, body: Vec::new() }
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = Timestamp::parse("1994-11-06T08:49:00Z").unwrap();
        let wait = |value: &str| answer(503, &[("retry-after", value)]).retry_after(now);
        for (value, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("soon", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(wait(value), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(answer(503, &[]).retry_after(now), None);
    }

    #[test]
    fn a_date_is_taken_by_the_servers_clock_not_by_ours() {
        let lines = [
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("date", "Sun, 06 Nov 1994 08:49:30 GMT"),
        ];
        let now = Timestamp::parse("1970-01-01T00:00:00Z").unwrap();
        assert_eq!(answer(503, &lines).retry_after(now), Some(Duration::from_secs(7)));
    }

    #[test]
    fn only_a_server_that_moves_on_its_own_host_is_followed() {
        let from = Url::parse("http://hub.example/v1/runs").unwrap();
        let moved = |status, to: &str| {
            let answer = answer(status, &[("location", to)]);
            moved_to(status, &answer.headers, &from).map(|url| url.to_string())
        };
        assert_eq!(moved(307, "/v2/runs").unwrap(), "http://hub.example/v2/runs");
        assert_eq!(moved(308, "https://hub.example/").unwrap(), "https://hub.example/");
        assert_eq!(moved(307, "https://hub.example:8443/").unwrap(), "https://hub.example:8443/");
        for (status, to) in [
            (302, "/v2/runs"),
            (307, "http://portal.example/"),
            (307, "http://hub.example:8080/"),
            (307, "ftp://hub.example/"),
            (307, ""),
        ] {
            let expected = (to.is_empty() && status == 307).then(|| from.to_string());
            assert_eq!(moved(status, to), expected, "{status} {to}");
        }
        let secure = Url::parse("https://hub.example/").unwrap();
        let back = answer(307, &[("location", "http://hub.example/")]);
        assert_eq!(moved_to(307, &back.headers, &secure), None);
    }
}
