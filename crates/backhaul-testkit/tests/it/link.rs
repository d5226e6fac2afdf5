//! The link as a whole.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use backhaul_testkit::{
    Answer, FaultLink, FaultServer, LinkCounts, LinkFault, LinkState, Point, Prng,
};

use crate::client::{Client, post, wait_for};

pub(crate) fn echo() -> (FaultServer, FaultLink) {
    let server = FaultServer::new(|request| Answer::ok(request.body())).unwrap();
    let link = FaultLink::to(server.address()).unwrap();
    (server, link)
}

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let (server, link) = echo();
    let mut client = Client::to(link.address());
    let heard = client.post("hello");
    assert_eq!((heard.status(), heard.body()), (Some(200), "hello"));
    client.post("again");
    let bytes_up = 2 * post("hello").len() as u64;
    let bytes_down = 2 * heard.text.len() as u64;
    let expected = LinkCounts { connections: 1, requests: 2, bytes_up, bytes_down, faults: 0 };
    assert_eq!(link.counts(), expected);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn large_bodies_pass_undamaged_on_many_connections_at_once() {
    let (_server, link) = echo();
    let address = link.address();
    let clients: Vec<_> = (0..8)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut prng = Prng::new(seed);
                let letters = "abcdefghijklmnopqrstuvwxyz".as_bytes();
                let body: String =
                    (0..300_000).map(|_| char::from(letters[prng.index(26)])).collect();
                let mut client = Client::to(address);
                let request = post(&body).replace("Host: h", "Connection: close");
                let mut sender = client.0.try_clone().unwrap();
                let sending = std::thread::spawn(move || sender.write_all(request.as_bytes()));
                assert_eq!(client.hear_all().body(), body);
                sending.join().unwrap().unwrap();
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(link.counts().connections, 8);
}

#[test]
fn a_link_that_refuses_has_nobody_listen_until_it_is_up_again() {
    let (_server, link) = echo();
    let mut kept = Client::to(link.address());
    kept.post("x");
    link.refuse();
    let refused = TcpStream::connect(link.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(kept.hear().error, Some(ErrorKind::ConnectionReset));
    link.up();
    assert_eq!(Client::to(link.address()).post("back").body(), "back");
}

#[test]
fn a_link_that_is_down_accepts_keeps_and_says_nothing() {
    let (server, link) = echo();
    let mut kept = Client::to(link.address());
    kept.post("x");
    link.down();
    let mut new = Client::to(link.address());
    for client in [&mut kept, &mut new] {
        client.send(&post("late"));
        assert!(client.hears_nothing());
    }
    assert_eq!((server.requests().len(), link.counts().requests), (1, 1));
    link.up();
    assert_eq!((kept.hear().body(), new.hear().body()), ("late", "late"));
}

#[test]
fn an_answer_that_is_under_way_when_the_link_goes_down_arrives_when_it_is_up() {
    let server = FaultServer::new(|_| Answer::ok("x").after(Duration::from_millis(50))).unwrap();
    let link = FaultLink::to(server.address()).unwrap();
    let mut client = Client::to(link.address());
    client.send(&post(""));
    wait_for(|| server.requests().len() == 1);
    link.down();
    std::thread::sleep(Duration::from_millis(60));
    assert!(client.hears_nothing());
    link.up();
    assert_eq!(client.hear().body(), "x");
}

#[test]
fn a_router_that_is_restarted_resets_what_is_open() {
    let (_server, link) = echo();
    let mut client = Client::to(link.address());
    client.post("x");
    link.reset_connections();
    assert_eq!(client.hear().error, Some(ErrorKind::ConnectionReset));
    assert_eq!(Client::to(link.address()).post("y").body(), "y");
}

#[test]
fn a_schedule_is_followed_and_ends_in_its_last_state() {
    let (server, link) = echo();
    let step = Duration::from_millis(20);
    let begun = Instant::now();
    link.follow([(LinkState::Down, step), (LinkState::Up, step)].repeat(4));
    let mut client = Client::to(link.address());
    let mut answered = 0;
    while begun.elapsed() < 7 * step {
        answered += usize::from(client.post("x").status() == Some(200));
    }
    let ups = link.ups();
    assert_eq!(ups.len(), 1 + 4);
    for (odd, up) in [1, 3, 5, 7].into_iter().zip(&ups[1..]) {
        let due = begun + step * odd;
        assert!(up.at >= due, "the link came up {:?} too early", due - up.at);
    }
    assert_eq!(server.requests().len(), answered);
    assert_eq!(client.post("still up").body(), "still up");
}

#[test]
fn what_is_told_at_once_ends_a_schedule() {
    let (_server, link) = echo();
    link.follow([
        (LinkState::Down, Duration::from_millis(20)),
        (LinkState::Refusing, Duration::ZERO),
    ]);
    link.up();
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(Client::to(link.address()).post("x").body(), "x");
    assert_eq!(link.ups().len(), 2);
}

#[test]
fn the_first_bytes_after_each_link_up_are_noted() {
    let (_server, link) = echo();
    let mut client = Client::to(link.address());
    client.post("x");
    link.down();
    assert_eq!(link.ups().len(), 1);
    let before = Instant::now();
    link.up();
    let quiet = link.ups()[1];
    assert!(quiet.at >= before);
    assert_eq!((quiet.first_connection, quiet.first_byte_up), (None, None));
    client.post("y");
    let [first, second] = link.ups()[..] else { panic!("two moments") };
    assert!(first.first_connection.unwrap() <= first.first_byte_up.unwrap());
    assert!(first.first_byte_down.unwrap() < second.at);
    assert!(second.at <= second.first_byte_up.unwrap());
    assert!(second.first_byte_up.unwrap() <= second.first_byte_down.unwrap());
    assert_eq!(second.first_connection, None);
}

#[test]
fn an_end_that_one_side_makes_reaches_the_other() {
    let (server, link) = echo();
    let mut client = Client::to(link.address());
    client.send(&post("the last"));
    client.say_no_more();
    assert!(client.hear_all().text.ends_with("the last"));
    server.answers(|_| Answer::ok("x").closing());
    let mut client = Client::to(link.address());
    client.send(&post(""));
    assert_eq!(client.hear_all().error, None);
}

#[test]
fn what_a_server_said_before_it_went_away_arrives() {
    let (server, link) = echo();
    server.limit_body(10, Answer::new(413).body("too large"));
    for _ in 0..50 {
        let mut client = Client::to(link.address());
        let mut sender = client.0.try_clone().unwrap();
        let body = "x".repeat(2_000_000);
        // The server closes with most of it unread: that is a reset.
        let sending = std::thread::spawn(move || sender.write_all(post(&body).as_bytes()));
        assert_eq!(client.hear().status(), Some(413));
        // What the machine buffers may have been all of it.
        let _ = sending.join().unwrap();
    }
}

#[test]
fn a_client_that_goes_away_takes_its_connection_with_it() {
    let (server, link) = echo();
    let mut client = Client::to(link.address());
    client.send(&post("x"));
    wait_for(|| link.counts().bytes_down > 0);
    // With an answer unread that is a reset.
    drop(client);
    wait_for(|| server.open_connections() == 0);
}

#[test]
fn a_server_that_is_not_there_resets_its_clients() {
    let (server, link) = echo();
    drop(server);
    let mut client = Client::to(link.address());
    assert_eq!(client.hear().error, Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_link_that_is_dropped_leaves_nothing_open() {
    let (_server, link) = echo();
    let address = link.address();
    let mut client = Client::to(address);
    client.post("x");
    link.next(1, LinkFault::stall(Point::Request));
    client.send(&post("stalled"));
    wait_for(|| link.counts().faults == 1);
    drop(link);
    let heard = client.hear();
    assert_eq!(heard.text, "");
    assert!(TcpStream::connect(address).is_err());
}
