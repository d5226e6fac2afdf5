//! What a link can do to a delivery, as far as a hub sees it: the hub is a process of its
//! own, and its store is what is counted. Each test ends with the oracle: every record that
//! was acknowledged is in that store exactly once, in order and undamaged, or kept as failed
//! for the reason it has to have.

use std::time::{Duration, Instant};

use backhaul::sync::BlockedKind;
use backhaul_testkit::{
    Answer, Ending, FaultLink, FaultServer, LinkFault, LinkState, Pace, Point, UNKNOWN_HOST,
};

use crate::journey::Journey;

/// For requests that are meant to time out.
const SHORT: Duration = Duration::from_millis(150);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

// --- The link is down --------------------------------------------------------------

#[tokio::test]
async fn a_link_that_refuses_or_keeps_silent_costs_time_and_no_record() {
    let mut journey = Journey::begin();
    journey.next_device(60);
    journey.link.refuse();
    for _ in 0..3 {
        journey.is_blocked(BlockedKind::Offline).await;
    }
    journey.arrives().await;
    assert_eq!(journey.device.duplicates(), 0);

    journey.next_device(10);
    journey.timeout(SHORT);
    journey.link.down();
    let begun = Instant::now();
    journey.is_blocked(BlockedKind::Offline).await;
    assert!(begun.elapsed() >= SHORT);
    // What the link kept may reach the hub after all, and late.
    journey.arrives().await;
    journey.end();
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_costs_one_timeout() {
    let mut journey = Journey::begin();
    journey.next_device(1);
    journey.timeout(milliseconds(500));
    journey.arrives_as_it_is().await;
    // The connection is kept for the next batch. Nobody tells it that it is dead.
    for fault in [LinkFault::stall(Point::Request), LinkFault::reset(Point::Request)] {
        journey.link.next(1, fault);
        journey.write(1);
        journey.arrives_as_it_is().await;
    }
    assert_eq!(journey.link.counts().faults, 2);
    journey.link.reset_connections();
    journey.write(5);
    journey.arrives().await;
    assert_eq!(journey.end().duplicates, 0);
}

#[tokio::test]
async fn a_link_that_goes_and_comes_delivers_everything_in_the_end() {
    let mut journey = Journey::begin();
    journey.next_device(20);
    journey.options.batch_size = Some(3);
    journey.timeout(milliseconds(60));
    for _ in 0..40 {
        journey.write_noise(2_000);
    }
    let steps = [
        (LinkState::Refusing, milliseconds(20)),
        (LinkState::Up, milliseconds(15)),
        (LinkState::Down, milliseconds(25)),
        (LinkState::Up, milliseconds(15)),
    ];
    journey.link.set_pace(Pace::bytes_per_second(400_000).latency(milliseconds(1)));
    journey.link.follow(steps.repeat(20));
    let courier = journey.courier();
    courier.start().await;
    while courier.status().pending_count > 0 && journey.link.ups().len() <= 40 {
        tokio::time::sleep(milliseconds(10)).await;
        journey.device.clock.advance(Duration::from_secs(60));
    }
    courier.stop().await;
    assert!(journey.link.ups().len() > 8, "it was over too soon: {:?}", journey.link.counts());
    journey.arrives().await;
    journey.end();
}

// --- Requests and answers that break off ---------------------------------------------

/// Where a request can break off with nothing stored.
const BEFORE_STORING: [Point; 5] = [
    Point::Connection,
    Point::Request,
    Point::RequestByte(30),
    Point::RequestHead,
    Point::RequestByte(700),
];

/// Where it can break off with everything stored.
const AFTER_STORING: [Point; 6] = [
    Point::AnswerLost,
    Point::AnswerHead,
    Point::AnswerByte(30),
    Point::AnswerBody(0),
    Point::AnswerBody(1),
    Point::AnswerBody(20),
];

const ENDINGS: [fn(Point) -> LinkFault; 3] = [LinkFault::reset, LinkFault::close, LinkFault::stall];

/// One request of a batch of 20 of a new device goes wrong at a point, and the next sync
/// delivers. How many the hub had already by then.
async fn breaks_off(journey: &mut Journey, fault: LinkFault) -> u64 {
    journey.next_device(20);
    if fault.ending() == Ending::Stall {
        journey.timeout(SHORT);
    }
    journey.link.next(1, fault);
    let report = journey.sync().await;
    assert_eq!((report.synced, report.failed, report.remaining), (0, 0, 20), "{fault:?}");
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline, "{fault:?}");
    assert_eq!(journey.link.counts().faults, 1, "{fault:?}");
    journey.arrives().await;
    journey.device.duplicates()
}

#[tokio::test]
async fn a_request_that_breaks_off_before_its_end_is_sent_again_and_stored_once() {
    let mut journey = Journey::begin();
    for point in BEFORE_STORING {
        for fault in ENDINGS.map(|ending| ending(point)) {
            assert_eq!(breaks_off(&mut journey, fault).await, 0, "{fault:?}");
        }
    }
    // Whether the hub stores what it has to the end, and nobody waits for, is open.
    for ending in ENDINGS {
        breaks_off(&mut journey, ending(Point::RequestEnd)).await;
    }
    journey.end();
}

#[tokio::test]
async fn an_answer_that_is_lost_or_cut_after_storing_makes_duplicates_and_no_second_copy() {
    let mut journey = Journey::begin();
    for point in AFTER_STORING {
        for fault in ENDINGS.map(|ending| ending(point)) {
            assert!(breaks_off(&mut journey, fault).await > 0, "{fault:?}");
        }
    }
    journey.end();
}

#[tokio::test]
async fn no_part_of_the_hubs_answer_counts_as_the_whole() {
    let mut journey = Journey::begin();
    journey.next_device(3);
    journey.options.batch_size = Some(1);
    let mut kept = 0;
    loop {
        let faults = ENDINGS[..2].iter().map(|ending| ending(Point::AnswerBody(kept)));
        for fault in faults {
            journey.link.next(1, fault);
        }
        let first = journey.sync().await;
        // From some byte on the answer is whole.
        if first.synced > 0 {
            break;
        }
        for report in [first, journey.sync().await] {
            assert_eq!((report.synced, report.remaining), (0, 3), "{kept} bytes");
        }
        kept += 1;
    }
    assert!(kept >= 20, "{kept} bytes for the whole");
    assert!(journey.link.counts().faults >= 2 * kept);
    journey.arrives().await;
    journey.end();
}

#[tokio::test]
async fn a_hub_that_is_killed_behind_a_lost_answer_has_stored_once() {
    let mut journey = Journey::begin();
    for fault in [LinkFault::reset(Point::AnswerLost), LinkFault::reset(Point::RequestEnd)] {
        journey.next_device(20);
        journey.link.next(1, fault);
        journey.is_blocked(BlockedKind::Offline).await;
        journey.restart_hub();
        journey.arrives().await;
    }
    assert!(journey.end().duplicates > 0);
}

#[tokio::test]
async fn a_record_that_the_hub_refuses_fails_with_its_reason_and_the_others_arrive() {
    let mut journey = Journey::begin_with(&["--cap", "1MB"]);
    for fault in ENDINGS.map(|ending| ending(Point::AnswerBody(5))) {
        journey.next_device(10);
        let too_large = journey.write_noise(600_000);
        journey.oracle.has_to_fail(too_large, "HTTP 413");
        journey.write(10);
        journey.options.batch_bytes = 10_000_000;
        journey.link.next(1, fault);
        journey.timeout(milliseconds(500));
        journey.is_blocked(BlockedKind::Offline).await;
        journey.arrives().await;
    }
    assert_eq!(journey.end().rejected, 3);
}

// --- Slow links ------------------------------------------------------------------

#[tokio::test]
async fn a_slow_link_takes_its_time_and_sends_nothing_twice() {
    let mut journey = Journey::begin();
    journey.next_device(0);
    for _ in 0..10 {
        journey.write_noise(4_000);
    }
    journey.link.set_pace(Pace::bytes_per_second(60_000).latency(milliseconds(20)));
    let begun = Instant::now();
    journey.arrives_as_it_is().await;
    assert!(begun.elapsed() >= milliseconds(300), "{:?}", begun.elapsed());
    assert_eq!(journey.end().duplicates, 0);
}

#[tokio::test]
async fn a_link_too_slow_for_a_batch_carries_smaller_ones_and_in_the_end_a_large_record() {
    let mut journey = Journey::begin();
    journey.next_device(0);
    journey.timeout(milliseconds(200));
    for _ in 0..16 {
        journey.write_noise(4_000);
    }
    // More than half a second for the whole batch.
    journey.link.set_pace(Pace { up: Some(60_000), ..Pace::default() });
    journey.is_blocked(BlockedKind::Offline).await;
    journey.arrives_as_it_is().await;

    journey.write_noise(100_000);
    journey.options.max_retries = 1;
    for _ in 0..4 {
        journey.is_blocked(BlockedKind::Offline).await;
        journey.device.clock.advance(Duration::from_secs(3600));
    }
    journey.arrives().await;
    assert_eq!(journey.end().rejected, 0);
}

// --- Something else at the other end -----------------------------------------------------

#[tokio::test]
async fn what_is_not_the_hub_takes_nothing_and_the_hub_gets_all_of_it() {
    let mut journey = Journey::begin();
    journey.next_device(5);
    let portal = FaultServer::new(|_| Answer::portal()).unwrap();
    let to_portal = FaultLink::to(portal.address()).unwrap();
    let tls = journey.link.url().replace("http:", "https:");
    let unknown = format!("http://{UNKNOWN_HOST}:7117");
    for url in [to_portal.url(), tls, unknown] {
        journey.send_to(&url);
        journey.is_blocked(BlockedKind::Offline).await;
    }
    assert!(!portal.requests().is_empty());
    journey.arrives().await;
    assert_eq!(journey.end().duplicates, 0);
}

// --- The proof can fail -----------------------------------------------------------------

#[tokio::test]
async fn the_oracle_notices_a_hub_that_stores_twice() {
    let mut journey = Journey::begin_with(&["--sabotage-dedupe"]);
    journey.next_device(3);
    journey.link.next(1, LinkFault::reset(Point::AnswerLost));
    journey.is_blocked(BlockedKind::Offline).await;
    journey.arrives().await;
    let wrong = journey.check().unwrap_err().to_string();
    assert!(wrong.contains("arrived 2 times"), "{wrong}");
}

#[tokio::test]
async fn the_oracle_notices_a_record_that_failed_for_another_reason() {
    let mut journey = Journey::begin_with(&["--cap", "1MB"]);
    journey.next_device(1);
    let too_large = journey.write_noise(600_000);
    journey.oracle.has_to_fail(too_large, "HTTP 422");
    journey.arrives().await;
    let wrong = journey.check().unwrap_err().to_string();
    assert!(wrong.contains("and had to fail with \"HTTP 422\""), "{wrong}");
}
