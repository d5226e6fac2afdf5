//! What a server answers, and how it goes wrong.

use std::fmt;
use std::time::Duration;

use backhaul_store::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// An answer of a [`FaultServer`](crate::FaultServer).
///
/// A body comes at once, or piece by piece, with pauses between them and an end that may not
/// be the one that was promised.
///
/// ```
/// use backhaul_testkit::Answer;
/// use std::time::Duration;
///
/// let busy = Answer::new(503).header("Retry-After", "120").body("not now");
/// let late_and_cut = Answer::ok("hello").after(Duration::from_millis(50)).truncated_to(2);
/// let stalls = Answer::events().piece("data: 1\n\n").then_stall();
/// # let _ = (busy, late_and_cut, stalls);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<Act>,
    framing: Framing,
    delay: Duration,
    kept: Option<usize>,
    closes: bool,
    has_head: bool,
}

/// What a server does to answer, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Bytes that are sent as they are.
    Send(Vec<u8>),
    /// Nothing for a time.
    Pause(Duration),
    /// Nothing, until the client goes away.
    Stall,
    /// The end of the connection, whatever was promised.
    HangUp,
    /// A reset of the connection.
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    /// With chunks of so many bytes at most.
    Chunked(usize),
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
            has_head: true,
        }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    /// No answer: the connection is closed.
    pub fn hang_up() -> Self {
        Self::without_head(Act::HangUp)
    }

    /// No answer: the connection is reset.
    pub fn reset() -> Self {
        Self::without_head(Act::Reset)
    }

    /// No answer: the connection stays open, and nothing is said.
    pub fn silence() -> Self {
        Self::without_head(Act::Stall)
    }

    /// 200 and an event stream, whose pieces follow; each is a chunk of its own.
    pub fn events() -> Self {
        let stream = Self::new(200).header("Content-Type", "text/event-stream");
        Self { framing: Framing::Chunked(usize::MAX), ..stream }
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
        self.body = Vec::new();
        self.piece(body)
    }

    /// Adds a piece to the body, which is sent by itself.
    #[must_use]
    pub fn piece(self, piece: impl Into<Vec<u8>>) -> Self {
        let piece = piece.into();
        if piece.is_empty() { self } else { self.then(Act::Send(piece)) }
    }

    /// Waits before it sends the next piece, or ends.
    #[must_use]
    pub fn pause(self, time: Duration) -> Self {
        self.then(Act::Pause(time))
    }

    /// Says nothing more, and leaves the connection open. A `Content-Length` promises what
    /// is added after this all the same, as after the next two.
    #[must_use]
    pub fn then_stall(self) -> Self {
        self.then(Act::Stall)
    }

    /// Closes the connection in the middle of the body.
    #[must_use]
    pub fn then_hang_up(self) -> Self {
        self.then(Act::HangUp)
    }

    /// Resets the connection in the middle of the body.
    #[must_use]
    pub fn then_reset(self) -> Self {
        self.then(Act::Reset)
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
        self.framing = Framing::Chunked(16);
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
        !self.closes && self.kept.is_none()
    }

    /// What is to be done, from the wait before the head on.
    pub(crate) fn acts(&self, to_head: bool) -> Vec<Act> {
        let mut acts = vec![Act::Pause(self.delay)];
        if self.has_head {
            acts.push(Act::Send(self.head()));
        }
        if !(to_head && self.has_head) {
            let mut left = self.kept.unwrap_or(usize::MAX);
            acts.extend(self.framed_body().map(|act| cut(act, &mut left)));
        }
        acts
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} X\r\n", self.status);
        match self.framing {
            Framing::Length => head += &format!("Content-Length: {}\r\n", self.length()),
            Framing::Chunked(_) => head += "Transfer-Encoding: chunked\r\n",
            Framing::UntilClose => {}
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    fn length(&self) -> usize {
        let sent = self.body.iter().filter_map(|act| match act {
            Act::Send(bytes) => Some(bytes.len()),
            _ => None,
        });
        sent.sum()
    }

    fn framed_body(&self) -> impl Iterator<Item = Act> {
        let most = match self.framing {
            Framing::Chunked(most) => Some(most),
            Framing::Length | Framing::UntilClose => None,
        };
        let framed = self.body.iter().map(move |act| match (act, most) {
            (Act::Send(bytes), Some(most)) => Act::Send(in_chunks(bytes, most)),
            _ => act.clone(),
        });
        framed.chain(most.map(|_| Act::Send(b"0\r\n\r\n".to_vec())))
    }

    fn without_head(act: Act) -> Self {
        Self { has_head: false, ..Self::new(200) }.then(act)
    }

    fn then(mut self, act: Act) -> Self {
        self.body.push(act);
        self
    }

    /// All that is sent, if nothing comes between.
    fn wire(&self) -> Vec<u8> {
        let sent = self.acts(false).into_iter().filter_map(|act| match act {
            Act::Send(bytes) => Some(bytes),
            _ => None,
        });
        sent.flatten().collect()
    }
}

/// As it is on the wire, to be read in a test that fails.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.has_head {
            true => write!(f, "Answer({:?})", String::from_utf8_lossy(&self.wire())),
            false => write!(f, "Answer({:?})", self.body),
        }
    }
}

/// Lets through as many bytes as are left.
fn cut(act: Act, left: &mut usize) -> Act {
    let Act::Send(mut bytes) = act else { return act };
    bytes.truncate(*left);
    *left -= bytes.len();
    Act::Send(bytes)
}

fn in_chunks(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in bytes.chunks(most) {
        wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
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
        String::from_utf8(answer.wire()).unwrap()
    }

    #[test]
    fn an_answer_is_written_as_http_has_it() {
        let answer = Answer::new(503).retry_after(7).body("busy");
        let expected = "HTTP/1.1 503 X\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy";
        assert_eq!(wire(&answer), expected);
        let chunked = wire(&Answer::ok("0123456789abcdefgh").chunked());
        assert!(chunked.ends_with("\r\n\r\n10\r\n0123456789abcdef\r\n2\r\ngh\r\n0\r\n\r\n"));
        assert!(wire(&Answer::ok("hello").truncated_to(2)).ends_with("Length: 5\r\n\r\nhe"));
        assert_eq!(Answer::hang_up().wire(), b"");
    }

    #[test]
    fn pieces_are_chunks_of_an_event_stream_and_what_stands_behind_a_break_is_promised() {
        let wait = Duration::from_millis(5);
        let stream = Answer::events().piece("one").pause(wait).piece("").piece("two").then_reset();
        let sent = |text: &str| Act::Send(text.as_bytes().to_vec());
        let expected = [
            sent("3\r\none\r\n"),
            Act::Pause(wait),
            sent("3\r\ntwo\r\n"),
            Act::Reset,
            sent("0\r\n\r\n"),
        ];
        assert_eq!(stream.acts(false)[2..], expected);
        let cut = Answer::ok("one").then_hang_up().piece("two");
        let expected = [sent("one"), Act::HangUp, sent("two")];
        assert_eq!(cut.acts(false)[2..], expected);
        assert!(wire(&cut).contains("Content-Length: 6\r\n"));
    }

    #[test]
    fn dates_are_those_of_http() {
        let time = Timestamp::parse("1994-11-06T08:49:37Z").unwrap();
        let expected = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert!(wire(&Answer::new(503).retry_at(time)).contains(expected));
    }
}
