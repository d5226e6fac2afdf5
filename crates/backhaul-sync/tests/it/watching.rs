//! What a courier says of itself while it works.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::Lane;
use backhaul_sync::{BlockedKind, LinkError, SyncEvent};

use crate::support::{Device, append, later, pass, record, takes_all};

#[tokio::test(start_paused = true)]
async fn an_outage_and_its_end_are_told_in_order() {
    let device = Device::new();
    let courier = device.courier_of(3);
    let mut events = courier.events();
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    courier.sync_now().await;
    device.hub.answers(|bodies| match bodies.iter().any(|body| body == "1") {
        true if bodies.len() > 1 => Err(LinkError::bad_batch("bad").with_status(422)),
        true => Err(LinkError::bad_batch("bad").with_status(422)),
        false => takes_all(bodies),
    });
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.failed), (2, 1));
    drop(courier);
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        told.push(event);
    }
    let started = told.iter().filter(|event| **event == SyncEvent::Started).count();
    assert_eq!(started, 2);
    assert!(matches!(&told[1], SyncEvent::Ended(report) if report.remaining == 3), "{told:?}");
    assert!(told.contains(&SyncEvent::Recovered));
    let is_bad = |event: &&SyncEvent| matches!(event, SyncEvent::Failed { reason, .. } if reason == "HTTP 422: bad");
    assert_eq!(told.iter().filter(is_bad).count(), 1, "{told:?}");
    let synced: u64 = told
        .iter()
        .map(|event| if let SyncEvent::Settled { synced, .. } = event { *synced } else { 0 })
        .sum();
    assert_eq!(synced, 2);
    assert_eq!(told.last(), Some(&SyncEvent::Ended(report)));
}

#[tokio::test]
async fn a_callback_that_panics_is_called_again_and_one_that_is_removed_is_not() {
    let device = Device::new();
    let courier = device.courier_of(1);
    let (calls, removed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counted, heard) = (Arc::clone(&calls), Arc::clone(&removed));
    let (done, mut is_done) = tokio::sync::mpsc::unbounded_channel();
    let handle = courier.on_event(move |event| heard.lock().unwrap().push(event.clone()));
    handle.remove();
    courier.on_event(move |event| {
        counted.fetch_add(1, Ordering::SeqCst);
        if matches!(event, SyncEvent::Ended(_)) {
            done.send(()).unwrap();
        }
        panic!("a callback of somebody's");
    });
    assert_eq!(courier.sync_now().await.synced, 1);
    is_done.recv().await.unwrap();
    // Started, settled, ended.
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(removed.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn status_says_what_waits_and_why() {
    let device = Device::new();
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    let courier = device.courier_of(2);
    courier.spool().append(record("!").lane(Lane::Critical)).unwrap();
    let status = courier.status();
    assert_eq!((status.pending_count, status.blocked_by), (3, None));
    courier.start().await;
    pass(90).await;
    let status = courier.status();
    let lanes: Vec<(Lane, u64)> = status.pending_by_lane.into_iter().collect();
    assert_eq!(lanes, [(Lane::Critical, 1), (Lane::Normal, 2)]);
    assert_eq!(status.blocked_by.unwrap().kind, BlockedKind::Offline);
    assert!(status.oldest_age.unwrap() >= Duration::from_secs(90));
    assert!(status.bytes > 0 && status.next_attempt_at.is_some() && status.bandwidth.is_none());
    device.hub.answers(|bodies| Ok(vec![later(false); bodies.len()]));
    pass(60).await;
    assert_eq!(courier.status().blocked_by.unwrap().kind, BlockedKind::PutOff);
    device.hub.answers(takes_all);
    pass(120).await;
    let status = courier.status();
    assert_eq!((status.pending_count, status.oldest_age, status.blocked_by), (0, None, None));
    append(&courier, "next");
    courier.stop().await;
}
