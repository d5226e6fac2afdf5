//! A server that does as it is told.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use backhaul_store::Timestamp;
use backhaul_testkit::{Answer, FaultServer};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::client::{Client, post, wait_for};

fn say(server: &FaultServer, text: &str) -> String {
    let mut client = Client::to(server.address());
    client.send(text);
    client.say_no_more();
    client.hear_all().text
}

#[test]
fn answers_that_were_laid_ready_come_before_the_script() {
    let server = FaultServer::new(|request| Answer::ok(request.text().to_uppercase())).unwrap();
    server.next(Answer::new(503).retry_after(120));
    server.next(Answer::new(429).header("X-Why", "fleet").body("slow down"));
    let mut client = Client::to(server.address());
    let first = client.post("a");
    assert_eq!(first.text, "HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: 120\r\n\r\n");
    let second = client.post("b");
    assert_eq!((second.status(), second.body()), (Some(429), "slow down"));
    assert_eq!(client.post("c").body(), "C");
    server.answers(|_| Answer::new(204));
    assert_eq!(client.post("d").status(), Some(204));
    let bodies: Vec<String> = server.requests().iter().map(|it| it.text()).collect();
    assert_eq!(
        (bodies, server.connections()),
        (["a", "b", "c", "d"].map(String::from).to_vec(), 1)
    );
}

#[test]
fn requests_are_kept_whole() {
    let server = FaultServer::new(|_| Answer::new(200)).unwrap();
    let before = Instant::now();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&[b'x'; 5000]).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut client = Client::to(server.address());
    client.send(&format!(
        "PUT /a?b=c HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        gzip.len()
    ));
    client.0.write_all(&gzip).unwrap();
    client.hear();
    let [request] = &server.take_requests()[..] else { panic!("one request") };
    assert_eq!(request.line(), "PUT /a?b=c HTTP/1.1");
    assert_eq!((request.method(), request.path()), ("PUT", "/a?b=c"));
    assert_eq!(request.header("CONTENT-ENCODING"), Some("gzip"));
    assert_eq!(request.headers().len(), 2);
    assert_eq!(request.body(), [b'x'; 5000]);
    assert_eq!(request.wire_bytes(), gzip.len());
    assert!(request.received() >= before);
    assert!(server.requests().is_empty());
}

#[test]
fn bodies_come_in_chunks_or_not_at_all() {
    let server = FaultServer::new(|request| Answer::ok(request.body())).unwrap();
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = say(&server, &format!("{chunked}3;x\r\nabc\r\n1\r\nd\r\n0\r\nT: x\r\n\r\n"));
    assert!(answer.ends_with("\r\n\r\nabcd"));
    assert!(say(&server, "GET / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    // To HEAD the head alone is sent.
    server.answers(|_| Answer::ok("hidden"));
    let answer = say(&server, "HEAD / HTTP/1.1\r\n\r\n");
    assert!(answer.contains("Content-Length: 6") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn answers_end_in_every_way() {
    let server = FaultServer::new(|_| Answer::new(500)).unwrap();
    let ends = |answer: Answer| {
        server.next(answer);
        let mut client = Client::to(server.address());
        client.send(&post("x"));
        let answer = client.hear_all();
        assert_eq!(answer.error, None);
        answer.text
    };
    assert_eq!(ends(Answer::hang_up()), "");
    assert!(ends(Answer::ok("hello").closing()).ends_with("hello"));
    assert!(ends(Answer::ok("hello").truncated_to(2)).ends_with("Content-Length: 5\r\n\r\nhe"));
    assert!(ends(Answer::ok("hello").chunked().truncated_to(7)).ends_with("\r\n\r\n5\r\nhell"));
    let endless = ends(Answer::ok("hello").until_close());
    assert!(!endless.contains("Length") && endless.ends_with("\r\n\r\nhello"));
}

#[test]
fn an_answer_takes_its_time_and_holds_up_no_other() {
    let server = FaultServer::new(|_| Answer::ok("quick")).unwrap();
    server.next(Answer::ok("slow").after(Duration::from_millis(300)));
    let mut slow = Client::to(server.address());
    let begun = Instant::now();
    slow.send(&post("x"));
    wait_for(|| server.requests().len() == 1);
    assert_eq!(Client::to(server.address()).post("y").body(), "quick");
    assert!(begun.elapsed() < Duration::from_millis(300));
    assert_eq!(slow.hear().body(), "slow");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn waits_are_asked_for_in_both_forms() {
    let server = FaultServer::new(|_| Answer::new(503)).unwrap();
    let time = |text| Timestamp::parse(text).unwrap();
    let now = time("1994-11-06T08:47:37Z");
    server.next(Answer::new(503).retry_at(time("1994-11-06T08:49:37Z")).date(now));
    let answer = say(&server, &post("x"));
    assert!(answer.contains("\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{answer}");
    assert!(answer.contains("\r\nDate: Sun, 06 Nov 1994 08:47:37 GMT\r\n"), "{answer}");
}

#[test]
fn a_redirect_leads_to_a_portal() {
    let portal = FaultServer::new(|_| Answer::portal()).unwrap();
    let url = portal.url();
    let server = FaultServer::new(move |_| Answer::redirect(302, url.clone())).unwrap();
    let answer = say(&server, &post("x"));
    assert!(answer.contains(&format!("\r\nLocation: {}\r\n", portal.url())), "{answer}");
    let page = say(&portal, "GET / HTTP/1.1\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<html>"), "{page}");
}

#[test]
fn a_limit_answers_before_the_body_is_read() {
    let server = FaultServer::new(|request| Answer::ok(request.body())).unwrap();
    server.limit_body(10, Answer::new(413).body("too large"));
    assert!(say(&server, &post("0123456789")).ends_with("0123456789"));
    let mut client = Client::to(server.address());
    // The body is promised and never sent: the answer comes all the same.
    client.send("POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n");
    let heard = client.hear_all();
    assert_eq!((heard.status(), heard.body(), heard.error), (Some(413), "too large", None));
    assert_eq!((server.requests().len(), server.broken_requests().len()), (1, 0));
}

#[test]
fn requests_that_break_off_are_told_apart_from_whole_ones() {
    let server = FaultServer::new(|_| Answer::new(200)).unwrap();
    assert_eq!(say(&server, "POST /cut HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"), "");
    assert_eq!(say(&server, "POST /x HT"), "");
    assert_eq!(server.broken_requests(), ["POST /cut HTTP/1.1"]);
    assert!(server.requests().is_empty());
}

#[test]
fn a_script_that_panics_hangs_up() {
    let server = FaultServer::new(|_| panic!("a test that has gone wrong")).unwrap();
    assert_eq!(Client::to(server.address()).post("x").text, "");
    server.answers(|_| Answer::ok("better"));
    assert_eq!(Client::to(server.address()).post("x").body(), "better");
}

#[test]
fn a_server_that_is_dropped_leaves_nothing_open() {
    let server = FaultServer::new(|_| Answer::ok("x")).unwrap();
    let address = server.address();
    let mut client = Client::to(address);
    client.post("x");
    drop(server);
    assert_eq!(client.0.read(&mut [0]).unwrap_or(0), 0);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn pieces_are_sent_one_by_one() {
    let server = FaultServer::new(|_| {
        Answer::events().piece("one").pause(Duration::from_secs(3600)).piece("two")
    })
    .unwrap();
    let mut client = Client::to(server.address());
    client.send(&post("x"));
    let mut heard = String::new();
    while !heard.ends_with("3\r\none\r\n") {
        let mut byte = [0];
        client.0.read_exact(&mut byte).unwrap();
        heard.push(char::from(byte[0]));
    }
    assert!(client.hears_nothing() && server.abandoned_requests().is_empty());
    drop(client);
    wait_for(|| server.abandoned_requests().len() == 1);
}

#[test]
fn a_reset_is_seen_as_one_before_and_inside_an_answer() {
    let server = FaultServer::new(|_| Answer::reset()).unwrap();
    server.next(Answer::ok("hello").then_reset().piece("!"));
    let reset = || {
        let mut client = Client::to(server.address());
        client.send(&post("x"));
        let heard = client.hear_all();
        assert_eq!(heard.error, Some(std::io::ErrorKind::ConnectionReset));
    };
    reset();
    reset();
    assert!(server.abandoned_requests().is_empty(), "it was the server that went");
}
