//! One request and its answer, and how far they get.

use super::fault::{LinkFault, Point};
use super::message::Boundary;

/// Bytes of `HTTP/1.1 200`: every answer's head is longer.
const VERSION_AND_STATUS: u64 = 12;

/// What passes of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// All of them.
    All,
    /// So many of them, and then the fault takes effect.
    Until(usize),
    /// None, although more may be looked at.
    Nothing,
}

/// A fault that waits for its place.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) fault: Option<LinkFault>,
    up: u64,
    down: u64,
    body_down: u64,
}

impl Exchange {
    pub(crate) fn new(fault: Option<LinkFault>) -> Self {
        Self { fault, ..Self::default() }
    }

    /// What passes of `bytes` bytes of the request, behind which `boundary` stands.
    pub(crate) fn request(&mut self, bytes: usize, boundary: Boundary) -> Pass {
        let before = self.up;
        self.up += bytes as u64;
        match self.fault.map(|fault| fault.at) {
            Some(Point::Request) => Pass::Until(0),
            Some(Point::RequestByte(limit)) => cut(before, bytes, limit),
            Some(Point::RequestHead) if boundary.ends_head() => Pass::Until(bytes),
            Some(Point::RequestEnd) if boundary.ends_message() => Pass::Until(bytes),
            _ => Pass::All,
        }
    }

    /// What passes of `bytes` bytes of the answer.
    pub(crate) fn answer(&mut self, bytes: usize, in_body: bool, boundary: Boundary) -> Pass {
        let before = self.down;
        let before_in_body = self.body_down;
        self.down += bytes as u64;
        self.body_down += if in_body { bytes as u64 } else { 0 };
        match self.fault.map(|fault| fault.at) {
            Some(Point::AnswerLost) if boundary.ends_message() => Pass::Until(0),
            Some(Point::AnswerLost) => Pass::Nothing,
            Some(Point::AnswerHead) => cut(before, bytes, VERSION_AND_STATUS),
            Some(Point::AnswerByte(limit)) => cut(before, bytes, limit),
            Some(Point::AnswerBody(0)) if boundary == Boundary::Head => Pass::Until(bytes),
            Some(Point::AnswerBody(limit)) if in_body => cut(before_in_body, bytes, limit),
            _ => Pass::All,
        }
    }

    /// Whether the fault takes effect when the server closes the connection.
    pub(crate) fn ends_with_the_answer(&self) -> bool {
        self.fault.is_some_and(|fault| fault.at == Point::AnswerLost)
    }
}

fn cut(before: u64, bytes: usize, limit: u64) -> Pass {
    let left = limit.saturating_sub(before);
    match usize::try_from(left) {
        Ok(left) if left <= bytes => Pass::Until(left),
        _ => Pass::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(at: Point) -> Exchange {
        Exchange::new(Some(LinkFault::reset(at)))
    }

    #[test]
    fn a_request_is_cut_at_the_byte() {
        let mut exchange = exchange(Point::RequestByte(10));
        assert_eq!(exchange.request(4, Boundary::Nothing), Pass::All);
        assert_eq!(exchange.request(4, Boundary::Head), Pass::All);
        assert_eq!(exchange.request(4, Boundary::Nothing), Pass::Until(2));
    }

    #[test]
    fn bytes_of_the_body_are_counted_from_its_start() {
        let mut exchange = exchange(Point::AnswerBody(3));
        assert_eq!(exchange.answer(40, false, Boundary::Head), Pass::All);
        assert_eq!(exchange.answer(2, true, Boundary::Nothing), Pass::All);
        assert_eq!(exchange.answer(2, true, Boundary::Message), Pass::Until(1));
    }

    #[test]
    fn a_lost_answer_is_read_to_its_end() {
        let mut exchange = exchange(Point::AnswerLost);
        assert_eq!(exchange.answer(40, false, Boundary::Head), Pass::Nothing);
        assert_eq!(exchange.answer(40, true, Boundary::Message), Pass::Until(0));
    }
}
