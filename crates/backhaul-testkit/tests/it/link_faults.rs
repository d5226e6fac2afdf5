//! Single requests that go wrong.

use std::io::ErrorKind;

use backhaul_testkit::{Answer, FaultLink, FaultServer, LinkFault, Point};

use crate::client::{Client, Heard, post, wait_for};
use crate::link::echo;

const RESET: Option<ErrorKind> = Some(ErrorKind::ConnectionReset);
const BODY: &str = "0123456789";
const ANSWER_HEAD: &str = "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n";

/// What comes of one request with a fault, by what the client and the server have then.
struct Outcome {
    heard: Heard,
    whole: usize,
    broken: usize,
}

fn with_fault(fault: LinkFault) -> Outcome {
    let (server, link) = echo();
    link.next(1, fault);
    let mut client = Client::to(link.address());
    client.send(&post(BODY));
    let heard = client.hear_all();
    assert_eq!(link.counts().faults, 1, "{fault:?} did not happen");
    // The next one gets through, on a connection of its own.
    assert_eq!(Client::to(link.address()).post("after").body(), "after", "{fault:?}");
    let settled = || server.requests().len() + server.broken_requests().len();
    if !matches!(fault, f if f == LinkFault::reset(Point::Request) || f == LinkFault::close(Point::Request))
    {
        wait_for(|| settled() == 2);
    }
    Outcome { heard, whole: server.requests().len() - 1, broken: server.broken_requests().len() }
}

#[test]
fn before_the_head_the_server_sees_nothing() {
    for (fault, error) in
        [(LinkFault::reset(Point::Request), RESET), (LinkFault::close(Point::Request), None)]
    {
        let outcome = with_fault(fault);
        assert_eq!(outcome.heard, Heard { text: String::new(), error });
        assert_eq!((outcome.whole, outcome.broken), (0, 0));
    }
}

#[test]
fn after_the_head_the_server_waits_for_a_body_in_vain() {
    for (fault, error) in [
        (LinkFault::reset(Point::RequestHead), RESET),
        (LinkFault::close(Point::RequestHead), None),
        (LinkFault::reset(Point::RequestByte(55)), RESET),
    ] {
        let outcome = with_fault(fault);
        assert_eq!(outcome.heard, Heard { text: String::new(), error });
        assert_eq!((outcome.whole, outcome.broken), (0, 1), "{fault:?}");
    }
}

#[test]
fn in_the_head_the_server_has_no_request() {
    let (server, link) = echo();
    link.next(1, LinkFault::reset(Point::RequestByte(10)));
    let mut client = Client::to(link.address());
    client.send(&post(BODY));
    assert_eq!(client.hear_all().error, RESET);
    wait_for(|| server.connections() == 1 && server.open_connections() == 0);
    assert_eq!(server.requests().len() + server.broken_requests().len(), 0);
}

#[test]
fn after_the_body_the_server_has_the_request_and_the_client_no_answer() {
    for (fault, error) in [
        (LinkFault::reset(Point::RequestEnd), RESET),
        (LinkFault::close(Point::RequestEnd), None),
        (LinkFault::reset(Point::AnswerLost), RESET),
        (LinkFault::close(Point::AnswerLost), None),
    ] {
        let outcome = with_fault(fault);
        assert_eq!(outcome.heard, Heard { text: String::new(), error });
        assert_eq!((outcome.whole, outcome.broken), (1, 0), "{fault:?}");
    }
}

#[test]
fn answers_are_cut_where_they_should_be() {
    let cut = |text: &str| text.to_owned();
    for (point, text) in [
        (Point::AnswerHead, cut("HTTP/1.1 200")),
        (Point::AnswerByte(0), cut("")),
        (Point::AnswerByte(20), cut(&ANSWER_HEAD[..20])),
        (Point::AnswerBody(0), cut(ANSWER_HEAD)),
        (Point::AnswerBody(4), format!("{ANSWER_HEAD}0123")),
        (Point::AnswerBody(10), format!("{ANSWER_HEAD}{BODY}")),
    ] {
        for (fault, error) in [(LinkFault::reset(point), RESET), (LinkFault::close(point), None)] {
            let outcome = with_fault(fault);
            assert_eq!(outcome.heard, Heard { text: text.clone(), error }, "{fault:?}");
            assert_eq!((outcome.whole, outcome.broken), (1, 0), "{fault:?}");
        }
    }
}

#[test]
fn a_cut_behind_the_end_of_an_answer_does_not_happen() {
    let (_server, link) = echo();
    link.next(1, LinkFault::reset(Point::AnswerBody(11)));
    let mut client = Client::to(link.address());
    assert_eq!(client.post(BODY).body(), BODY);
    assert_eq!(client.post("next").body(), "next");
    assert_eq!(link.counts().faults, 0);
}

#[test]
fn what_stalls_ends_for_nobody() {
    for point in [
        Point::Connection,
        Point::Request,
        Point::RequestHead,
        Point::RequestEnd,
        Point::AnswerLost,
        Point::AnswerHead,
        Point::AnswerBody(4),
    ] {
        let (server, link) = echo();
        link.next(1, LinkFault::stall(point));
        let mut client = Client::to(link.address());
        client.send(&post(BODY));
        wait_for(|| link.counts().faults == 1);
        let came: u64 = match point {
            Point::AnswerHead => 12,
            Point::AnswerBody(4) => ANSWER_HEAD.len() as u64 + 4,
            _ => 0,
        };
        wait_for(|| link.counts().bytes_down == came);
        for _ in 0..came {
            std::io::Read::read_exact(&mut client.0, &mut [0]).unwrap();
        }
        assert!(client.hears_nothing(), "{point:?}");
        assert_eq!(server.broken_requests().len(), 0, "{point:?}");
    }
}

#[test]
fn a_request_in_chunks_ends_where_its_chunks_do() {
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (server, link) = echo();
    link.next(1, LinkFault::reset(Point::RequestEnd));
    let mut client = Client::to(link.address());
    client.send(chunked);
    assert_eq!(client.hear_all().error, RESET);
    wait_for(|| server.requests().len() == 1);
    assert_eq!(server.requests()[0].body(), b"abc");
}

#[test]
fn an_answer_without_a_length_is_lost_when_its_connection_ends() {
    for answer in [Answer::ok(BODY).until_close(), Answer::ok(BODY).chunked()] {
        let server = FaultServer::new(move |_| answer.clone()).unwrap();
        let link = FaultLink::to(server.address()).unwrap();
        link.next(1, LinkFault::reset(Point::AnswerLost));
        let mut client = Client::to(link.address());
        client.send(&post(""));
        assert_eq!(client.hear_all(), Heard { text: String::new(), error: RESET });
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn rules_are_for_so_many_requests_and_then_all_is_normal_again() {
    let (server, link) = echo();
    link.pass(1);
    link.next(2, LinkFault::close(Point::Request));
    // A connection that is kept counts its requests like any other.
    let mut kept = Client::to(link.address());
    assert_eq!(kept.post("1").body(), "1");
    assert_eq!(kept.post("2").text, "");
    assert_eq!(Client::to(link.address()).post("3").text, "");
    assert_eq!(Client::to(link.address()).post("4").body(), "4");
    assert_eq!(server.requests().len(), 2);

    link.always(LinkFault::close(Point::AnswerLost));
    link.pass(1);
    assert_eq!(Client::to(link.address()).post("5").body(), "5");
    for _ in 0..3 {
        assert_eq!(Client::to(link.address()).post("6").text, "");
    }
    link.clear();
    assert_eq!(Client::to(link.address()).post("7").body(), "7");
    assert_eq!(link.counts().faults, 5);
}

#[test]
fn connections_can_fail_before_a_byte_is_read() {
    let (server, link) = echo();
    link.next(1, LinkFault::reset(Point::Connection));
    link.next(1, LinkFault::close(Point::Connection));
    for error in [RESET, None] {
        let heard = Client::to(link.address()).hear();
        assert_eq!(heard, Heard { text: String::new(), error });
    }
    assert_eq!((link.counts().bytes_up, server.connections()), (0, 0));
    assert_eq!(Client::to(link.address()).post("x").body(), "x");
}

#[test]
fn what_is_not_http_can_be_cut_by_the_byte() {
    let server = FaultServer::garbage().unwrap();
    let link = FaultLink::to(server.address()).unwrap();
    link.next(1, LinkFault::close(Point::AnswerByte(5)));
    link.next(1, LinkFault::reset(Point::RequestByte(3)));
    // Never: a stream without messages has no end of a request.
    link.next(1, LinkFault::reset(Point::RequestEnd));
    let say = |text: &str| {
        let mut client = Client::to(link.address());
        client.send(text);
        let mut heard = Vec::new();
        let ended = std::io::Read::read_to_end(&mut client.0, &mut heard);
        (heard.len(), ended.err().map(|error| error.kind()))
    };
    assert_eq!(say("\x16\x03\x01"), (5, None));
    assert_eq!(say("\x16\x03\x01"), (0, RESET));
    assert_eq!(say("\x16\x03\x01"), (300, None));
}

#[test]
fn bytes_that_got_lost_on_the_way_count_as_sent() {
    let (_server, link) = echo();
    link.next(1, LinkFault::reset(Point::Request));
    let mut client = Client::to(link.address());
    client.post(BODY);
    assert_eq!(link.counts().bytes_up, post(BODY).len() as u64);
    assert_eq!(link.counts().bytes_down, 0);
}
