//! What goes wrong with one request, where, and how.

use std::collections::VecDeque;

/// A place on the way of a request to its server and of the answer back.
///
/// Those that speak of requests and answers need HTTP/1. Anything else, such as TLS, is
/// one request and one answer per connection to a link, and has no head and no end:
/// [`Point::Connection`], [`Point::Request`], [`Point::RequestByte`] and
/// [`Point::AnswerByte`] are for it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// The connection was accepted. Not a byte is read from it.
    Connection,
    /// The request has begun. The server sees nothing of it.
    Request,
    /// The server has this many bytes of the request, head included.
    RequestByte(u64),
    /// The server has the request's head.
    RequestHead,
    /// The server has the whole request. Whether it comes to an answer is open.
    RequestEnd,
    /// The server has answered to the end. The client sees nothing of it.
    AnswerLost,
    /// The client has version and status of the answer, and not the rest of the head.
    AnswerHead,
    /// The client has this many bytes of the answer, head included.
    AnswerByte(u64),
    /// The client has the answer's head and this many bytes of its body, as they are on
    /// the wire. An answer that is shorter comes whole.
    AnswerBody(u64),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Both sides see it reset.
    Reset,
    /// Both sides see it closed in order, though in the middle of something.
    Close,
    /// Nobody sees anything: it stays open, and no byte passes any more.
    Stall,
}

/// One request that goes wrong.
///
/// ```
/// use backhaul_testkit::{LinkFault, Point};
///
/// // The server stores what it was sent, and the client never hears of it.
/// let lost = LinkFault::reset(Point::AnswerLost);
/// assert_ne!(lost, LinkFault::stall(Point::AnswerLost));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkFault {
    pub(crate) at: Point,
    pub(crate) ending: Ending,
}

impl LinkFault {
    /// The connection is reset.
    pub fn reset(at: Point) -> Self {
        Self { at, ending: Ending::Reset }
    }

    /// The connection is closed in order.
    pub fn close(at: Point) -> Self {
        Self { at, ending: Ending::Close }
    }

    /// The connection stays, and nothing passes any more.
    pub fn stall(at: Point) -> Self {
        Self { at, ending: Ending::Stall }
    }

    /// Where it goes wrong.
    pub fn at(self) -> Point {
        self.at
    }

    /// How the connection ends.
    pub fn ending(self) -> Ending {
        self.ending
    }
}

/// Which of the requests to come go wrong.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    next: VecDeque<(u64, Option<LinkFault>)>,
    always: Option<LinkFault>,
}

impl Plan {
    pub(crate) fn add(&mut self, count: u64, fault: Option<LinkFault>) {
        if count > 0 {
            self.next.push_back((count, fault));
        }
    }

    pub(crate) fn set_always(&mut self, fault: LinkFault) {
        self.always = Some(fault);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What goes wrong with a connection as such.
    pub(crate) fn for_connection(&mut self) -> Option<LinkFault> {
        let is_its = |fault: &LinkFault| fault.at == Point::Connection;
        match self.next.front() {
            Some((_, fault)) => {
                let fault = fault.filter(is_its)?;
                self.take();
                Some(fault)
            }
            None => self.always.filter(is_its),
        }
    }

    /// What goes wrong with a request. Faults of connections wait for the next one.
    pub(crate) fn for_request(&mut self) -> Option<LinkFault> {
        let is_its = |fault: &LinkFault| fault.at != Point::Connection;
        match self.next.front() {
            Some((_, Some(fault))) if !is_its(fault) => None,
            Some(_) => self.take(),
            None => self.always.filter(is_its),
        }
    }

    fn take(&mut self) -> Option<LinkFault> {
        let (count, fault) = self.next.front_mut()?;
        let fault = *fault;
        *count -= 1;
        if *count == 0 {
            self.next.pop_front();
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_used_up_in_order() {
        let (one, two) = (LinkFault::reset(Point::Request), LinkFault::close(Point::RequestEnd));
        let mut plan = Plan::default();
        plan.add(1, None);
        plan.add(2, Some(one));
        plan.add(1, Some(two));
        let got: Vec<_> = (0..5).map(|_| plan.for_request()).collect();
        assert_eq!(got, [None, Some(one), Some(one), Some(two), None]);
    }

    #[test]
    fn faults_of_connections_wait_for_one() {
        let fault = LinkFault::stall(Point::Connection);
        let mut plan = Plan::default();
        plan.add(1, Some(fault));
        assert_eq!(plan.for_request(), None);
        assert_eq!((plan.for_connection(), plan.for_connection()), (Some(fault), None));
        plan.set_always(LinkFault::reset(Point::Request));
        assert_eq!(plan.for_connection(), None);
        assert!(plan.for_request().is_some() && plan.for_request().is_some());
        plan.clear();
        assert_eq!(plan.for_request(), None);
    }
}
