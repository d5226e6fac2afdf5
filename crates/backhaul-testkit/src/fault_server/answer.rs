//! What a server answers, and how it goes wrong.

use std::fmt;
use std::time::Duration;

use backhaul_store::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// An answer of a [`FaultServer`](crate::FaultServer).
///
/// ```
/// use backhaul_testkit::Answer;
/// use std::time::Duration;
///
/// let busy = Answer::new(503).header("Retry-After", "120").body("not now");
/// let late_and_cut = Answer::ok("hello").after(Duration::from_millis(50)).truncated_to(2);
/// # let _ = (busy, late_and_cut);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    pub(crate) delay: Duration,
    kept: Option<usize>,
    closes: bool,
    hangs_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
}

impl Answer {
    /// An answer with a status and an empty body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            delay: Duration::ZERO,
            kept: None,
            closes: false,
            hangs_up: false,
        }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    /// No answer: the connection is closed.
    pub fn hang_up() -> Self {
        Self { hangs_up: true, ..Self::new(200) }
    }

    /// A redirect: 301, 302, 303, 307 or 308.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(status).header("Location", location)
    }

    /// What a captive portal answers to everything: 200, and a page to log in.
    pub fn portal() -> Self {
        let page = "<!DOCTYPE html><html><title>FreeWifi</title><form>Log in</form></html>";
        Self::ok(page).header("Content-Type", "text/html")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds `Retry-After` as a number of seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("Retry-After", seconds.to_string())
    }

    /// Adds `Retry-After` as a date.
    #[must_use]
    pub fn retry_at(self, time: Timestamp) -> Self {
        self.header("Retry-After", http_date(time))
    }

    /// Adds `Date`: what the server takes for now.
    #[must_use]
    pub fn date(self, time: Timestamp) -> Self {
        self.header("Date", http_date(time))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Has the answer wait, as that of a server that has much to do.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the body in chunks of up to 16 bytes.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Says no length: the end of the connection is that of the body.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.closing()
    }

    /// Closes the connection after so many bytes of the body, as they are on the wire. The
    /// head still promises all of it.
    #[must_use]
    pub fn truncated_to(mut self, bytes: usize) -> Self {
        self.kept = Some(bytes);
        self
    }

    /// Closes the connection after the answer, and says so.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self.header("Connection", "close")
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another request may follow on the connection.
    pub(crate) fn keeps_connection(&self) -> bool {
        !self.closes && !self.hangs_up && self.kept.is_none()
    }

    /// The answer as bytes; `None`: none at all.
    pub(crate) fn wire(&self, to_head: bool) -> Option<Vec<u8>> {
        if self.hangs_up {
            return None;
        }
        let mut head = format!("HTTP/1.1 {} X\r\n", self.status);
        match self.framing {
            Framing::Length => head += &format!("Content-Length: {}\r\n", self.body.len()),
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
            Framing::UntilClose => {}
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut body = match self.framing {
            Framing::Chunked => in_chunks(&self.body),
            Framing::Length | Framing::UntilClose => self.body.clone(),
        };
        body.truncate(self.kept.unwrap_or(usize::MAX));
        let mut wire = head.into_bytes();
        if !to_head {
            wire.extend(body);
        }
        Some(wire)
    }
}

/// As it is on the wire, to be read in a test that fails.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wire(false) {
            Some(wire) => write!(f, "Answer({:?})", String::from_utf8_lossy(&wire)),
            None => f.write_str("Answer(none)"),
        }
    }
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(16) {
        wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n\r\n");
    wire
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; a time that has no such form is the epoch's.
fn http_date(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or_default();
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(answer: &Answer) -> String {
        String::from_utf8(answer.wire(false).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_is_written_as_http_has_it() {
        let answer = Answer::new(503).retry_after(7).body("busy");
        let expected = "HTTP/1.1 503 X\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy";
        assert_eq!(wire(&answer), expected);
        let chunked = wire(&Answer::ok("0123456789abcdefgh").chunked());
        assert!(chunked.ends_with("\r\n\r\n10\r\n0123456789abcdef\r\n2\r\ngh\r\n0\r\n\r\n"));
        assert!(wire(&Answer::ok("hello").truncated_to(2)).ends_with("Length: 5\r\n\r\nhe"));
        assert_eq!(Answer::hang_up().wire(false), None);
    }

    #[test]
    fn dates_are_those_of_http() {
        let time = Timestamp::parse("1994-11-06T08:49:37Z").unwrap();
        let expected = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert!(wire(&Answer::new(503).retry_at(time)).contains(expected));
    }
}
