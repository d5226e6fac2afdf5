//! Records that are put off: each has its own time, and a number of tries.

use std::time::Duration;

use backhaul_store::Standing;
use backhaul_sync::{SyncOptions, Verdict};

use crate::support::{Answer, Device, append, entries, later, pass, plain, record, takes_all};

/// Puts off what begins with `bad`.
fn puts_off_bad(bodies: &[String]) -> Answer {
    let verdict = |body: &String| match body.starts_with("bad") {
        true => later(true),
        false => Verdict::Delivered,
    };
    Ok(bodies.iter().map(verdict).collect())
}

#[tokio::test(start_paused = true)]
async fn a_record_is_tried_once_and_then_three_times_more_after_1_2_and_4_seconds() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let courier = device.courier(plain());
    append(&courier, "bad");
    courier.start().await;
    pass(600).await;
    assert_eq!(device.hub.seconds(), [0, 1, 3, 7]);
    let failed = entries(courier.spool(), Standing::Failed);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].attempts, 4);
    assert_eq!(failed[0].last_error.as_deref(), Some("gave up after 4 tries: not now"));
}

#[tokio::test(start_paused = true)]
async fn no_retries_means_one_try() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let courier = device.courier(SyncOptions { max_retries: 0, ..plain() });
    append(&courier, "bad");
    assert_eq!(courier.sync_now().await.failed, 1);
    assert_eq!(device.hub.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn others_go_on_while_a_record_waits_for_its_retry() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let courier = device.courier(plain());
    append(&courier, "bad");
    append(&courier, "good");
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (1, 1));
    append(&courier, "also good");
    assert_eq!(courier.sync_now().await.synced, 1);
    assert_eq!(device.hub.bodies(), ["bad", "good", "also good"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_waits_holds_back_its_stream_alone() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let courier = device.courier(plain());
    for (body, stream) in [("bad", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
        courier.spool().append(record(body).stream(stream)).unwrap();
    }
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (2, 2));
    device.hub.answers(takes_all);
    pass(1).await;
    assert_eq!(courier.sync_now().await.synced, 2);
    assert_eq!(device.hub.bodies(), ["bad", "b1", "b2", "bad", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_remembers_the_tries() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let first = device.courier(plain());
    append(&first, "bad");
    first.start().await;
    pass(2).await;
    first.stop().await;
    drop(first);
    assert_eq!(device.hub.seconds(), [0, 1]);

    let second = device.courier(plain());
    second.start().await;
    // At once after a restart, then by its own clock: due at 3 it is found at the interval.
    pass(200).await;
    assert_eq!(device.hub.requests(), 4);
    assert_eq!(entries(second.spool(), Standing::Failed)[0].attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn an_operator_gives_a_record_all_its_retries_again() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let courier = device.courier(plain());
    let id = append(&courier, "bad");
    courier.start().await;
    pass(30).await;
    assert_eq!(device.hub.requests(), 4);
    assert!(courier.spool().requeue(id.into()).unwrap());
    courier.notify();
    pass(30).await;
    assert_eq!(device.hub.requests(), 8);
}

#[tokio::test(start_paused = true)]
async fn circumstances_cost_a_record_no_retry() {
    let device = Device::new();
    device.hub.answers(|bodies| Ok(vec![later(false); bodies.len()]));
    let courier = device.courier_of(1);
    courier.start().await;
    pass(24 * 3600).await;
    assert!(device.hub.requests() > 1000);
    let status = courier.status();
    assert_eq!((status.pending_count, status.failed_count), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_wants_to_go_with_the_next_batch_does_so_at_once_and_at_no_cost() {
    let device = Device::new();
    let mut is_first = true;
    device.hub.answers(move |bodies| match std::mem::take(&mut is_first) {
        true => Ok(vec![Verdict::WithNext, Verdict::Delivered]),
        false => takes_all(bodies),
    });
    let courier = device.courier(SyncOptions { batch_size: Some(2), ..plain() });
    for body in ["early", "good", "late"] {
        append(&courier, body);
    }
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (3, 0));
    assert_eq!(device.hub.bodies(), ["early", "good", "early", "late"]);
    assert_eq!(device.hub.seconds(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn records_that_always_want_to_go_with_the_next_batch_are_put_off() {
    let device = Device::new();
    device.hub.answers(|bodies| Ok(vec![Verdict::WithNext; bodies.len()]));
    let courier = device.courier_of(1);
    let report = courier.sync_now().await;
    assert_eq!((report.failed, report.remaining), (0, 1));
    assert_eq!(device.hub.requests(), 2);
    courier.start().await;
    pass(24 * 3600).await;
    assert!(device.hub.requests() < 24 * 3600);
    assert_eq!(courier.status().failed_count, 0);
}

#[tokio::test(start_paused = true)]
async fn the_longer_of_backoff_and_what_was_asked_for_counts() {
    let device = Device::new();
    let mut asked = [1, 100].into_iter();
    device.hub.answers(move |bodies| {
        let Some(wait) = asked.next() else { return takes_all(bodies) };
        let retry_after = Some(Duration::from_secs(wait));
        Ok(vec![Verdict::Later { reason: "x".into(), retry_after, spends_retry: true }])
    });
    let courier = device.courier_of(1);
    courier.start().await;
    pass(200).await;
    assert_eq!(device.hub.seconds(), [0, 1, 101]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_by_years_delays_no_retry() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let courier = device.courier(plain());
    append(&courier, "bad");
    courier.start().await;
    pass(2).await;
    device.clock.set_wall("1970-01-01T00:00:00Z");
    pass(30).await;
    assert_eq!(device.hub.seconds(), [0, 1, 3, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_back_in_1970_after_a_restart_delays_no_retry() {
    let device = Device::new();
    device.hub.answers(puts_off_bad);
    let first = device.courier(plain());
    append(&first, "bad");
    first.sync_now().await;
    drop(first);
    device.clock.set_wall("1970-01-01T00:00:00Z");
    device.hub.answers(takes_all);
    assert_eq!(device.courier(plain()).sync_now().await.synced, 1);
}
