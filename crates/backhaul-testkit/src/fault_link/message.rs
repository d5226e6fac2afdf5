//! Where the head and the body of each message in a stream of bytes end.

use crate::http_head::{Framing, HttpHead};

/// Longer heads are taken for something that is not HTTP.
const LONGEST_HEAD: usize = 64 << 10;

/// What ends behind the bytes that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    Nothing,
    Head,
    /// The head, and with it a message without a body.
    HeadAndMessage,
    Message,
}

impl Boundary {
    pub(crate) fn ends_head(self) -> bool {
        matches!(self, Self::Head | Self::HeadAndMessage)
    }

    pub(crate) fn ends_message(self) -> bool {
        matches!(self, Self::Message | Self::HeadAndMessage)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Answers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Head,
    Length(u64),
    ChunkSize,
    /// The bytes of a chunk and the line end behind them.
    Chunk(u64),
    Trailer,
    /// Not HTTP, or a body that ends with the connection.
    Endless,
}

/// Follows one direction of a connection.
#[derive(Debug)]
pub(crate) struct Messages {
    side: Side,
    state: State,
    /// The head or the line so far.
    text: Vec<u8>,
    is_head_request: bool,
}

impl Messages {
    pub(crate) fn requests() -> Self {
        Self::new(Side::Requests)
    }

    pub(crate) fn answers() -> Self {
        Self::new(Side::Answers)
    }

    fn new(side: Side) -> Self {
        Self { side, state: State::Start, text: Vec::new(), is_head_request: false }
    }

    /// Whether the next byte is the first of a message.
    pub(crate) fn at_start(&self) -> bool {
        self.state == State::Start
    }

    /// Whether the next byte belongs to a body.
    pub(crate) fn in_body(&self) -> bool {
        !matches!(self.state, State::Start | State::Head)
    }

    /// Whether the last request asked for a head alone.
    pub(crate) fn is_head_request(&self) -> bool {
        self.is_head_request
    }

    /// Says of an answer to come that it has no body.
    pub(crate) fn expect_head_alone(&mut self, expected: bool) {
        self.is_head_request = expected;
    }

    /// Looks at bytes up to the first end of something. How many that are, and what ends.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> (usize, Boundary) {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let (count, boundary) = match self.state {
                State::Endless => (rest.len(), Boundary::Nothing),
                State::Length(left) => self.skip(rest, left, State::Length),
                State::Chunk(left) => self.skip(rest, left, State::Chunk),
                _ => (1, self.read(rest[0])),
            };
            used += count;
            if boundary != Boundary::Nothing {
                return (used, boundary);
            }
        }
        (used, Boundary::Nothing)
    }

    fn skip(&mut self, bytes: &[u8], left: u64, state: fn(u64) -> State) -> (usize, Boundary) {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - count as u64;
        if left > 0 {
            self.state = state(left);
            return (count, Boundary::Nothing);
        }
        if matches!(self.state, State::Chunk(_)) {
            self.state = State::ChunkSize;
            return (count, Boundary::Nothing);
        }
        self.state = State::Start;
        (count, Boundary::Message)
    }

    /// A byte of a head or of a line.
    fn read(&mut self, byte: u8) -> Boundary {
        if self.state == State::Start {
            self.state = State::Head;
        }
        self.text.push(byte);
        match self.state {
            State::Head if self.text.ends_with(b"\r\n\r\n") => {
                let head = HttpHead::parse(&std::mem::take(&mut self.text));
                self.end_head(&head)
            }
            State::Head => {
                let side = self.side;
                let is_http = self.text.iter().zip(b"HTTP/1.").all(|(left, right)| left == right);
                let is_method = self.text.first().is_some_and(u8::is_ascii_uppercase);
                let fits = if side == Side::Answers { is_http } else { is_method };
                if !fits || self.text.len() > LONGEST_HEAD {
                    self.state = State::Endless;
                }
                Boundary::Nothing
            }
            _ if self.text.ends_with(b"\r\n") => {
                let line = std::mem::take(&mut self.text);
                self.end_line(&line)
            }
            _ => Boundary::Nothing,
        }
    }

    fn end_head(&mut self, head: &HttpHead) -> Boundary {
        let framing = match self.side {
            Side::Requests => {
                self.is_head_request = head.method() == "HEAD";
                head.request_framing()
            }
            // An answer that is not the last one, such as `100 Continue`.
            Side::Answers if head.status().is_some_and(|status| status < 200) => {
                return Boundary::Nothing;
            }
            Side::Answers => head.answer_framing(self.is_head_request),
        };
        self.state = match framing {
            Framing::Length(0) => State::Start,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::Endless,
        };
        if self.at_start() { Boundary::HeadAndMessage } else { Boundary::Head }
    }

    fn end_line(&mut self, line: &[u8]) -> Boundary {
        if self.state == State::Trailer {
            if line == b"\r\n" {
                self.state = State::Start;
                return Boundary::Message;
            }
            return Boundary::Nothing;
        }
        let text = String::from_utf8_lossy(line);
        let size = text.split(';').next().unwrap_or_default().trim();
        self.state = match u64::from_str_radix(size, 16) {
            Ok(0) => State::Trailer,
            Ok(size) => State::Chunk(size.saturating_add(2)),
            Err(_) => State::Endless,
        };
        Boundary::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets at which something ends, with bytes coming `step` at a time.
    fn ends(mut messages: Messages, bytes: &[u8], step: usize) -> Vec<(usize, Boundary)> {
        let mut found = Vec::new();
        let mut done = 0;
        for chunk in bytes.chunks(step) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (used, boundary) = messages.advance(rest);
                done += used;
                rest = &rest[used..];
                if boundary != Boundary::Nothing {
                    found.push((done, boundary));
                }
            }
        }
        found
    }

    fn both_ways(make: fn() -> Messages, text: &str) -> Vec<(usize, Boundary)> {
        let whole = ends(make(), text.as_bytes(), text.len());
        for step in 1..8 {
            assert_eq!(ends(make(), text.as_bytes(), step), whole, "{step} at a time");
        }
        whole
    }

    #[test]
    fn requests_end_where_their_length_says() {
        let text = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n";
        let found = both_ways(Messages::requests, text);
        let expected =
            [(38, Boundary::Head), (43, Boundary::Message), (61, Boundary::HeadAndMessage)];
        assert_eq!(found, expected);
    }

    #[test]
    fn chunks_end_behind_their_trailer() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = format!("{head}3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n");
        let found = both_ways(Messages::answers, &text);
        assert_eq!(found, [(head.len(), Boundary::Head), (text.len(), Boundary::Message)]);
    }

    #[test]
    fn an_interim_answer_is_part_of_the_head() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let found = both_ways(Messages::answers, text);
        assert_eq!(found, [(text.len(), Boundary::HeadAndMessage)]);
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let mut answers = Messages::answers();
        answers.expect_head_alone(true);
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(answers.advance(text), (text.len(), Boundary::HeadAndMessage));
    }

    #[test]
    fn what_is_not_http_never_ends() {
        for text in ["\x16\x03\x01 hello \r\n\r\n", "post / HTTP/1.1\r\n\r\n"] {
            assert_eq!(both_ways(Messages::requests, text), []);
        }
        assert_eq!(both_ways(Messages::answers, "SSH-2.0\r\n\r\n"), []);
        assert_eq!(both_ways(Messages::answers, "HTTP/1.1 200 OK\r\n\r\nabc").len(), 1);
    }
}
