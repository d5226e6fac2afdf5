//! What is about the link delays everything and spends nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_store::Standing;
use backhaul_sync::{BackoffStrategy, BlockedKind, LinkError, SyncOptions};

use crate::support::{Answer, Device, append, entries, pass, plain, takes_all};

fn down() -> Answer {
    Err(LinkError::unreachable("no route to host"))
}

#[tokio::test(start_paused = true)]
async fn an_outage_spends_no_retries_however_long_it_takes() {
    let device = Device::new();
    device.hub.answers(|_| down());
    let courier = device.courier_of(3);
    courier.start().await;
    pass(7 * 24 * 3600).await;
    assert!(device.hub.requests() > 1000);
    for entry in entries(courier.spool(), Standing::Pending) {
        assert_eq!((entry.attempts, entry.last_error), (0, None));
    }
    let status = courier.status();
    assert_eq!((status.pending_count, status.failed_count), (3, 0));
    assert_eq!(status.is_online, Some(false));
    assert_eq!(status.last_error.unwrap(), "the destination cannot be reached: no route to host");
    device.hub.answers(takes_all);
    pass(61).await;
    let status = courier.status();
    assert_eq!((status.pending_count, status.is_online), (0, Some(true)));
    assert_eq!(status.last_error, None);
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_grow_as_the_strategy_says() {
    for (strategy, seconds) in [
        (BackoffStrategy::Exponential, [0, 1, 3, 7, 15, 31, 63, 123, 183]),
        (BackoffStrategy::Constant, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (BackoffStrategy::Linear, [0, 1, 3, 6, 10, 15, 21, 28, 36]),
        (BackoffStrategy::Fibonacci, [0, 1, 2, 4, 7, 12, 20, 33, 54]),
    ] {
        let device = Device::new();
        device.hub.answers(|_| down());
        let courier = device.courier(SyncOptions { backoff_strategy: strategy, ..plain() });
        append(&courier, "x");
        courier.start().await;
        pass(200).await;
        assert_eq!(device.hub.seconds()[..9], seconds, "{strategy}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_begin_anew_after_a_success() {
    let device = Device::new();
    device.hub.answers(|_| down());
    let courier = device.courier_of(1);
    courier.start().await;
    pass(20).await;
    device.hub.answers(takes_all);
    pass(20).await;
    device.hub.answers(|_| down());
    let before = device.hub.requests();
    append(&courier, "next");
    courier.notify();
    pass(4).await;
    let seconds = device.hub.seconds();
    assert_eq!(seconds[before..], [40, 41, 43]);
}

#[tokio::test(start_paused = true)]
async fn offline_sync_now_returns_at_once_and_says_so() {
    let device = Device::new();
    device.hub.answers(|_| down());
    let courier = device.courier_of(60);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (0, 0, 60));
    let blocked = report.blocked_by.unwrap();
    assert_eq!(blocked.kind, BlockedKind::Offline);
    assert!(blocked.reason.contains("no route to host"));
    assert_eq!(device.hub.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn sync_now_tries_at_once_whatever_the_backoff_says() {
    let device = Device::new();
    device.hub.answers(|_| down());
    let courier = device.courier_of(1);
    courier.start().await;
    pass(100).await;
    let before = device.hub.requests();
    courier.sync_now().await;
    assert_eq!(device.hub.requests(), before + 1);
    assert_eq!(device.hub.seconds().last(), Some(&100));
}

#[tokio::test(start_paused = true)]
async fn new_records_do_not_hasten_an_attempt_while_nothing_gets_through() {
    let device = Device::new();
    device.hub.answers(|_| down());
    let courier = device.courier_of(1);
    courier.start().await;
    pass(70).await;
    let before = device.hub.requests();
    for n in 0..20 {
        append(&courier, &n.to_string());
        courier.notify();
        pass(1).await;
    }
    assert_eq!(device.hub.requests(), before);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_left_alone_for_as_long() {
    let device = Device::new();
    device.hub.answers(|_| {
        let error = LinkError::busy("the hub makes room").with_status(503);
        Err(error.with_retry_after(Duration::from_secs(500)))
    });
    let courier = device.courier_of(10);
    courier.start().await;
    pass(499).await;
    assert_eq!(device.hub.seconds(), [0]);
    let status = courier.status();
    assert_eq!(status.is_online, Some(true));
    assert_eq!(status.next_attempt_at.unwrap().to_string(), "2026-01-01T00:08:20Z");
    device.hub.answers(takes_all);
    pass(2).await;
    assert_eq!(device.hub.seconds(), [0, 500]);
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_more_than_a_day_is_taken_as_a_day() {
    let error = LinkError::busy("x").with_retry_after(Duration::from_secs(1 << 40));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(24 * 3600)));
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_pause_the_destination_and_fail_nothing() {
    let device = Device::new();
    device.hub.answers(|_| Err(LinkError::refused("bad key").with_status(401)));
    let courier = device.courier_of(120);
    courier.start().await;
    pass(59).await;
    assert_eq!(device.hub.seconds(), [0]);
    let status = courier.status();
    let why = "the destination refuses this sender: bad key (HTTP 401)";
    assert_eq!(status.paused.as_deref(), Some(why));
    assert_eq!((status.pending_count, status.failed_count), (120, 0));
    assert_eq!(status.is_online, Some(true));
    // It is asked again, with one record and less and less often.
    pass(2 * 86_400).await;
    let (seconds, sizes) = (device.hub.seconds(), device.hub.sizes());
    assert_eq!(seconds[1..4], [60, 180, 420]);
    assert!((48..70).contains(&seconds.len()), "{} in two days", seconds.len());
    assert_eq!((sizes[0], sizes[1..].iter().max()), (50, Some(&1)));
    let report = courier.sync_now().await;
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Refused);
    device.hub.answers(takes_all);
    assert_eq!(courier.sync_now().await.synced, 120);
    assert_eq!(courier.status().paused, None);
}

#[tokio::test(start_paused = true)]
async fn sync_now_does_not_wait_long_where_nothing_got_through_before() {
    let device = Device::new();
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    device.hub.takes(Duration::from_secs(10));
    let courier = device.courier_of(3);
    // Of the first attempt nothing is known yet.
    let began = tokio::time::Instant::now();
    courier.sync_now().await;
    assert_eq!(began.elapsed().as_secs(), 10);
    let began = tokio::time::Instant::now();
    let report = courier.sync_now().await;
    assert_eq!(began.elapsed().as_secs(), 1);
    let why = report.blocked_by.unwrap();
    assert_eq!((report.remaining, why.kind), (3, BlockedKind::Offline));
    assert!(why.reason.ends_with("another one is under way"), "{why}");
    // That one is not broken off, and the link is back.
    device.hub.answers(takes_all);
    pass(10).await;
    assert_eq!((device.hub.requests(), courier.status().pending_count), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn while_a_backlog_drains_nothing_is_said_to_hold_it_up() {
    let device = Device::new();
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    let courier = device.courier_of(200);
    courier.sync_now().await;
    assert_eq!(courier.status().blocked_by.unwrap().kind, BlockedKind::Offline);
    device.hub.answers(takes_all);
    device.hub.takes(Duration::from_secs(10));
    courier.start().await;
    pass(25).await;
    let status = courier.status();
    assert!(status.is_syncing && status.pending_count > 0, "{status:?}");
    assert_eq!((status.blocked_by, status.last_error), (None, None));
    assert!(status.last_sync_at.is_some());
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_goes_in_halves() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.len() {
        0..=12 => takes_all(bodies),
        _ => Err(LinkError::too_large("no more than 12").with_status(413)),
    });
    let courier = device.courier_of(100);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (100, 0, 0));
    let log = device.hub.sizes();
    assert_eq!(log[..3], [50, 25, 12]);
    assert!(log.len() < 16, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_bytes_is_learned_once() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.iter().map(String::len).sum::<usize>() {
        0..=1000 => takes_all(bodies),
        _ => Err(LinkError::too_large("no more than 1000 bytes").with_status(413)),
    });
    let courier = device.courier(plain());
    for _ in 0..100 {
        append(&courier, &"x".repeat(100));
    }
    assert_eq!(courier.sync_now().await.synced, 100);
    let refused = device.hub.sizes().iter().filter(|size| **size > 10).count();
    assert_eq!(refused, 3, "{:?}", device.hub.sizes());
}

#[tokio::test(start_paused = true)]
async fn what_times_out_is_offered_in_smaller_parts() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.len() {
        0..=10 => takes_all(bodies),
        _ => Err(LinkError::timeout("60 s")),
    });
    let courier = device.courier_of(100);
    courier.start().await;
    pass(600).await;
    assert_eq!(courier.status().pending_count, 0);
    assert_eq!(courier.status().failed_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_too_large_for_a_slow_link_waits_for_a_better_one_and_holds_up_no_other() {
    let device = Device::new();
    device.hub.answers(|bodies| match bodies.iter().any(|body| body.len() > 1000) {
        true => Err(LinkError::timeout("60 s")),
        false => takes_all(bodies),
    });
    let courier = device.courier_of(20);
    append(&courier, &"x".repeat(2000));
    courier.start().await;
    for _ in 0..100 {
        append(&courier, "small");
        pass(600).await;
    }
    let status = courier.status();
    assert_eq!((status.pending_count, status.failed_count), (1, 0));
    device.hub.answers(takes_all);
    pass(120).await;
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_for_all_costs_no_record_a_retry() {
    let device = Device::new();
    device.hub.answers(|_| Err(LinkError::busy("oops").with_status(500)));
    let courier = device.courier_of(200);
    courier.start().await;
    pass(24 * 3600).await;
    let books = courier.spool().status().unwrap().books;
    assert_eq!((books.pending, books.rejected), (200, 0));
    for entry in entries(courier.spool(), Standing::Pending) {
        assert_eq!(entry.attempts, 0);
    }
    device.hub.answers(takes_all);
    pass(61).await;
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_miscounts_settles_nothing() {
    let device = Device::new();
    device.hub.answers(|bodies| takes_all(&bodies[1..]));
    let courier = device.courier_of(3);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (0, 3));
    assert!(report.blocked_by.unwrap().reason.contains("2 verdicts on 3 records"));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_panics_stops_neither_courier_nor_records() {
    let device = Device::new();
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    device.hub.answers(move |bodies| {
        assert!(!is_broken.load(Ordering::SeqCst), "a bug of the destination");
        takes_all(bodies)
    });
    let courier = device.courier_of(2);
    courier.start().await;
    pass(10).await;
    assert!((2..6).contains(&device.hub.requests()), "it backs off");
    assert!(courier.sync_now().await.blocked_by.is_some());
    broken.store(false, Ordering::SeqCst);
    device.hub.answers(takes_all);
    pass(61).await;
    assert_eq!(courier.status().pending_count, 0);
}
