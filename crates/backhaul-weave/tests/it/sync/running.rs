//! Delivery in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backhaul_sync::SyncEvent;
use backhaul_weave::{Kind, WeaveForwarder};
use serde_json::json;
use tokio::sync::Notify;

use super::{World, ids, quickly, remote};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_while_it_runs_arrives_without_being_asked_for() {
    let world = World::new("0.52.42");
    let offline = world.offline();
    world.publish(&offline, "before", json!(1));
    let forwarder = WeaveForwarder::new(offline.clone(), remote(&world.url()), quickly()).unwrap();
    let (settled, heard) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (counted, told) = (Arc::clone(&settled), Arc::clone(&heard));
    forwarder.on_event(move |project, kind, event| {
        if let (SyncEvent::Settled { synced, .. }, "local") = (event, project.entity())
            && kind != Kind::Metadata
        {
            counted.fetch_add(*synced, Ordering::SeqCst);
            told.notify_one();
        }
    });
    forwarder.start().await;
    let other = World { project: "local/other".parse().unwrap(), ..world };
    other.log(&offline, &[other.start(1, "f"), other.end(1), other.note(1, 1)]);
    while settled.load(Ordering::SeqCst) < 4 {
        heard.notified().await;
    }
    other.log(&offline, &[other.start(2, "f")]);
    while settled.load(Ordering::SeqCst) < 5 {
        heard.notified().await;
    }
    assert_eq!(ids(&other.calls().await).len(), 2);
    let status = forwarder.status();
    assert!(status.iter().all(|one| one.status.pending_count == 0 && one.status.is_running));
    assert_eq!(status.len(), 5);
    forwarder.stop().await;
    other.log(&offline, &[other.start(3, "f")]);
    assert!(forwarder.status().iter().all(|one| !one.status.is_running));
    forwarder.start().await;
    while settled.load(Ordering::SeqCst) < 6 {
        heard.notified().await;
    }
    forwarder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_only_logs_lets_another_one_deliver() {
    let world = World::new("0.52.42");
    let logging = world.offline();
    world.log(&logging, &[world.start(1, "f"), world.end(1), world.note(1, 1)]);
    // What is open twice is two processes, as far as the folder goes.
    assert!(world.syncer_of(&world.offline()).sync().await.unwrap().is_complete());
    assert_eq!(world.calls().await.len(), 1);
    drop(logging);
}
