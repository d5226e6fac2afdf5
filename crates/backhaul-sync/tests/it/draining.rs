//! What a sync does while nothing is in the way.

use std::time::Duration;

use backhaul_store::{Lane, Limits};
use backhaul_sync::{BlockedKind, LinkError, SyncOptions, Verdict};

use crate::support::{Device, append, pass, plain, record, takes_all};

#[tokio::test(start_paused = true)]
async fn everything_that_waits_is_delivered_in_batches_by_one_sync() {
    let device = Device::new();
    let courier = device.courier_of(120);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.duplicates, report.failed, report.remaining), (120, 0, 0, 0));
    assert_eq!(report.bytes, 10 + 2 * 90 + 3 * 20);
    assert!(report.is_complete());
    assert_eq!(device.hub.sizes(), [50, 50, 20]);
    let expected: Vec<String> = (0..120).map(|n| n.to_string()).collect();
    assert_eq!(device.hub.bodies(), expected);
}

#[tokio::test(start_paused = true)]
async fn status_is_unknown_before_the_first_attempt_and_told_after_it() {
    let device = Device::new();
    let courier = device.courier_of(2);
    let before = courier.status();
    assert_eq!((before.pending_count, before.is_online, before.last_sync_at), (2, None, None));
    assert_eq!((before.last_attempt_at, before.next_attempt_at), (None, None));
    pass(5).await;
    courier.sync_now().await;
    let after = courier.status();
    assert_eq!((after.pending_count, after.is_online), (0, Some(true)));
    assert_eq!(after.last_sync_at.unwrap().to_string(), "2026-01-01T00:00:05Z");
    assert_eq!(after.last_sync_at, after.last_attempt_at);
    assert_eq!((after.last_error, after.paused), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_sync_of_an_empty_spool_is_complete_and_proves_nothing_of_the_link() {
    let device = Device::new();
    let courier = device.courier(plain());
    assert!(courier.sync_now().await.is_complete());
    assert_eq!((courier.status().is_online, courier.status().last_sync_at), (None, None));
    assert_eq!(device.hub.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn critical_records_go_first() {
    let device = Device::new();
    let courier = device.courier_of(2);
    courier.spool().append(record("alarm").lane(Lane::Critical)).unwrap();
    courier.sync_now().await;
    assert_eq!(device.hub.bodies(), ["alarm", "0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn records_of_a_stream_go_one_at_a_time_in_order() {
    let device = Device::new();
    let courier = device.courier(plain());
    for body in ["a1", "b1", "a2", "a3", "b2"] {
        let stream = body.get(..1).unwrap();
        courier.spool().append(record(body).stream(stream)).unwrap();
    }
    assert_eq!(courier.sync_now().await.synced, 5);
    let log: Vec<Vec<String>> = device.hub.log().into_iter().map(|sent| sent.bodies).collect();
    assert_eq!(log, [vec!["a1", "b1"], vec!["a2", "b2"], vec!["a3"]]);
}

#[tokio::test(start_paused = true)]
async fn duplicates_count_as_synced_and_are_told_apart() {
    let device = Device::new();
    device.hub.answers(|bodies| {
        let mut verdicts = vec![Verdict::Delivered; bodies.len()];
        verdicts[0] = Verdict::Duplicate;
        Ok(verdicts)
    });
    let report = device.courier_of(3).sync_now().await;
    assert_eq!((report.synced, report.duplicates, report.remaining), (3, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_batch_is_bounded_by_records_and_by_bytes() {
    let device = Device::new();
    let options = SyncOptions { batch_size: Some(3), batch_bytes: 10, ..plain() };
    let courier = device.courier(options);
    for body in ["1", "2", "3", "4", "0123456789abcdef", "5", "666666666", "777777777"] {
        append(&courier, body);
    }
    assert_eq!(courier.sync_now().await.synced, 8);
    assert_eq!(device.hub.sizes(), [3, 1, 1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_asked_for_during_another_joins_it_and_misses_nothing() {
    let device = Device::new();
    let courier = device.courier_of(1);
    device.hub.takes(Duration::from_secs(10));
    let first = tokio::spawn({
        let courier = courier.clone();
        async move { courier.sync_now().await }
    });
    pass(5).await;
    assert!(courier.status().is_syncing);
    append(&courier, "late");
    let second = courier.sync_now().await;
    let first = first.await.unwrap();
    assert_eq!(first, second);
    assert_eq!((first.synced, first.remaining), (2, 0));
    assert_eq!(device.hub.bodies(), ["0", "late"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_appended_before_the_asking_is_never_left_behind() {
    let device = Device::new();
    let courier = device.courier(plain());
    for round in 0..2000 {
        let earlier = tokio::spawn({
            let courier = courier.clone();
            async move { courier.sync_now().await }
        });
        // At any step of the sync that runs, also at its very end.
        for _ in 0..round % 40 {
            tokio::task::yield_now().await;
        }
        append(&courier, "x");
        courier.sync_now().await;
        assert_eq!(courier.status().pending_count, 0, "round {round}");
        earlier.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn many_callers_at_once_cause_one_sync() {
    let device = Device::new();
    let courier = device.courier_of(10);
    device.hub.takes(Duration::from_secs(1));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let courier = courier.clone();
            tokio::spawn(async move { courier.sync_now().await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().synced, 10);
    }
    assert_eq!(device.hub.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sync_goes_on_when_nobody_waits_for_it_any_more() {
    let device = Device::new();
    let courier = device.courier_of(1);
    device.hub.takes(Duration::from_secs(10));
    let impatient = tokio::time::timeout(Duration::from_secs(1), courier.sync_now());
    assert!(impatient.await.is_err());
    pass(20).await;
    assert_eq!((courier.status().pending_count, device.hub.requests()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_offered_again_after_an_answer_was_lost() {
    let device = Device::new();
    let courier = device.courier_of(2);
    let mut answered = false;
    device.hub.answers(move |bodies| {
        if std::mem::replace(&mut answered, true) {
            return Ok(vec![Verdict::Duplicate; bodies.len()]);
        }
        Err(backhaul_sync::LinkError::unreachable("the connection was reset"))
    });
    assert_eq!(courier.sync_now().await.synced, 0);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.duplicates), (2, 2));
    assert!(courier.spool().status().unwrap().books.balance());
}

#[tokio::test(start_paused = true)]
async fn records_that_are_put_off_are_named_as_what_remains() {
    let device = Device::new();
    device.hub.answers(|bodies| Ok(vec![crate::support::later(true); bodies.len()]));
    let report = device.courier_of(2).sync_now().await;
    assert_eq!((report.synced, report.remaining), (0, 2));
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::PutOff);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_in_a_batch_keeps_its_place_and_its_retries() {
    let device = Device::new();
    let courier = device.courier_of(3);
    let mut is_first = true;
    device.hub.answers(move |bodies| {
        let mut verdicts = vec![Verdict::Delivered; bodies.len()];
        if std::mem::replace(&mut is_first, false) {
            let error = LinkError::unreachable("the connection was reset");
            verdicts[1..].fill(Verdict::BrokenOff(error));
        }
        Ok(verdicts)
    });
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (1, 2));
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    // At once, and in order.
    assert_eq!(courier.sync_now().await.synced, 2);
    let sent = device.hub.log();
    assert_eq!(sent[1].bodies, sent[0].bodies[1..]);
    assert!(courier.spool().status().unwrap().books.balance());
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_another_process_delivers_from_is_left_alone() {
    let device = Device::new();
    let owner = device.open();
    // The first to open it delivers; a second one may only append.
    assert!(owner.take(&Limits::default()).unwrap().is_none());
    let courier = device.courier(plain());
    append(&courier, "x");
    let report = courier.sync_now().await;
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::OtherProcess);
    assert_eq!((report.remaining, device.hub.requests()), (1, 0));
    drop(owner);
    device.hub.answers(takes_all);
    assert_eq!(courier.sync_now().await.synced, 1);
}
