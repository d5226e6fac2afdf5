//! How fast a link is.

use std::time::{Duration, Instant};

use backhaul_testkit::{Answer, FaultLink, FaultServer, LinkFault, Pace, Point};

use crate::client::{Client, post, wait_for};
use crate::link::echo;

/// A machine that is busy makes everything slower, and nothing faster.
fn assert_takes(begun: Instant, least: Duration) {
    let took = begun.elapsed();
    assert!(took >= least, "it took {took:?}, less than {least:?}");
    assert!(took < least + Duration::from_secs(2), "it took {took:?} instead of {least:?}");
}

#[test]
fn bytes_take_their_time_each_way() {
    for (up, down, expected) in [(40_000, 0, 200), (0, 40_000, 200), (20_000, 20_000, 200)] {
        let server = FaultServer::new(move |_| Answer::ok("x".repeat(down))).unwrap();
        let link = FaultLink::to(server.address()).unwrap();
        link.set_pace(Pace::bytes_per_second(200_000));
        let mut client = Client::to(link.address());
        let begun = Instant::now();
        let heard = client.post(&"x".repeat(up));
        assert_eq!(heard.body().len(), down);
        assert_takes(begun, Duration::from_millis(expected));
    }
}

#[test]
fn connections_share_the_rate() {
    let (_server, link) = echo();
    link.set_pace(Pace { up: Some(200_000), ..Pace::default() });
    let address = link.address();
    let begun = Instant::now();
    let clients: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || Client::to(address).post(&"x".repeat(10_000))))
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap().status(), Some(200));
    }
    assert_takes(begun, Duration::from_millis(200));
}

#[test]
fn a_long_request_does_not_hold_up_a_short_one() {
    let (_server, link) = echo();
    link.set_pace(Pace { up: Some(50_000), ..Pace::default() });
    let mut long = Client::to(link.address());
    long.send(&post(&"x".repeat(50_000)));
    let begun = Instant::now();
    Client::to(link.address()).post(&"x".repeat(1_000));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn latency_is_paid_once_each_way_however_many_bytes_there_are() {
    let (_server, link) = echo();
    link.set_pace(Pace::default().latency(Duration::from_millis(60)));
    let mut client = Client::to(link.address());
    let begun = Instant::now();
    client.post(&"x".repeat(60_000));
    assert_takes(begun, Duration::from_millis(120));
    assert!(begun.elapsed() < Duration::from_millis(600), "each piece paid for itself");
}

#[test]
fn a_pace_can_change_in_the_middle() {
    let (_server, link) = echo();
    link.set_pace(Pace::bytes_per_second(100));
    let mut client = Client::to(link.address());
    client.send(&post(&"x".repeat(10_000)));
    std::thread::sleep(Duration::from_millis(20));
    link.set_pace(Pace::default());
    let begun = Instant::now();
    assert_eq!(client.hear().body().len(), 10_000);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_fault_comes_behind_the_bytes_before_it() {
    let (server, link) = echo();
    link.set_pace(Pace { up: Some(100_000), ..Pace::default() });
    link.next(1, LinkFault::close(Point::RequestEnd));
    let begun = Instant::now();
    Client::to(link.address()).post(&"x".repeat(10_000));
    assert_takes(begun, Duration::from_millis(100));
    wait_for(|| server.requests().len() == 1);
    assert_eq!(server.requests()[0].body().len(), 10_000);
}
