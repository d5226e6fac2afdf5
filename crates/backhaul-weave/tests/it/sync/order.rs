//! What has to go before what.

use std::time::Duration;

use backhaul_store::{Clock as _, Limits, Settled, State, SystemClock, Timestamp};
use backhaul_weave::{Kind, OfflineTraceServer};
use serde_json::json;

use super::{World, ids, numbers};

/// Settles the first record of a kind as a courier of an earlier process would have.
fn settle_first(world: &World, offline: &OfflineTraceServer, kind: Kind, settled: Settled) {
    let spool = offline.spool(&world.project, kind).unwrap().unwrap();
    let batch = spool.take(&Limits { records: 1, ..Limits::default() }).unwrap().unwrap();
    spool.settle(&[(batch.records[0].record.id.position, settled)]).unwrap();
}

fn later(wait: Duration) -> Settled {
    let at = SystemClock::new().now().wall.as_micros() + i64::try_from(wait.as_micros()).unwrap();
    Settled::new(State::Later).reason("not now").not_before(Timestamp::from_micros(at))
}

async fn an_end_waits_for_its_start_at_no_cost(world: &World) {
    let offline = world.offline();
    world.log(&offline, &[world.start(1, "f"), world.end(1), world.rename(1, "one")]);
    settle_first(world, &offline, Kind::Calls, later(Duration::from_millis(300)));
    let mut statistics = world.syncer_of(&offline).sync().await.unwrap();
    while !statistics.is_complete() {
        let failed = offline.spool(&world.project, Kind::Calls).unwrap().unwrap();
        assert_eq!(failed.books().unwrap().rejected, 0);
        statistics = world.syncer_of(&offline).sync().await.unwrap();
    }
    let calls = world.calls().await;
    assert_eq!(calls[0]["output"], json!({"answer": 1}));
    assert_eq!(calls[0]["display_name"], "one");
}

async fn calls_meet_only_within_what_was_not_deleted_between(world: &World) {
    let offline = world.offline();
    let (kind, mut child) = world.start(2, "child");
    child["parent_id"] = json!(world.id(1));
    let (_, mut late) = world.start(3, "late child");
    late["parent_id"] = json!(world.id(1));
    world.log(
        &offline,
        &[
            world.start(1, "parent"),
            (kind, child),
            world.end(2),
            world.end(1),
            world.deletion(&[1]),
            // It begins after the deletion: it stays.
            (kind, late),
            world.end(3),
        ],
    );
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    let calls = world.calls().await;
    assert_eq!(ids(&calls), [world.id(3)]);
    assert_eq!(calls[0]["output"], json!({"answer": 3}));
}

async fn an_end_that_comes_later_finds_its_call(world: &World) {
    let offline = world.offline();
    let syncer = world.syncer_of(&offline);
    world.log(&offline, &[world.start(1, "f"), world.start(2, "f")]);
    assert!(syncer.sync().await.unwrap().is_complete());
    world.log(&offline, &[world.end(1)]);
    assert!(syncer.sync().await.unwrap().is_complete());
    drop((syncer, offline));
    // The next process has to ask.
    let offline = world.offline();
    world.log(&offline, &[world.rename(2, "two"), world.end(2)]);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[5], (2, 0));
    let calls = world.calls().await;
    assert_eq!(calls[0]["output"], json!({"answer": 1}));
    assert_eq!(calls[1]["output"], json!({"answer": 2}));
    assert_eq!(calls[1]["display_name"], "two");
}

async fn a_version_that_is_brought_back_does_not_become_the_latest(world: &World) {
    let offline = world.offline();
    let old = world.publish(&offline, "thing", json!({"version": 1}));
    let new = world.publish(&offline, "thing", json!({"version": 2}));
    settle_first(world, &offline, Kind::Objects, Settled::new(State::Rejected).reason("no"));
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    assert_eq!(world.versions("thing").await, [(new.clone(), true)]);
    let spool = offline.spool(&world.project, Kind::Objects).unwrap().unwrap();
    assert_eq!(spool.requeue_all().unwrap(), 1);
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    assert_eq!(world.versions("thing").await, [(new, true), (old, false)]);
}

async fn the_last_that_was_published_is_the_latest_though_it_was_there_before(world: &World) {
    let offline = world.offline();
    let first = world.publish(&offline, "thing", json!({"version": 1}));
    let second = world.publish(&offline, "thing", json!({"version": 2}));
    world.publish(&offline, "thing", json!({"version": 1}));
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    assert_eq!(world.versions("thing").await, [(first, true), (second, false)]);
}

async fn what_somebody_else_has_published_since_stays_the_latest(world: &World) {
    let offline = world.offline();
    let ours = world.publish(&offline, "thing", json!({"version": 1}));
    // It arrived, and its process died before it heard.
    let project = world.project.to_string();
    let create =
        |value| json!({"obj": {"project_id": project, "object_id": "thing", "val": value}});
    world.ask("/obj/create", create(json!({"version": 1}))).await;
    let theirs = world.ask("/obj/create", create(json!({"version": 9}))).await;
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    let theirs = theirs["digest"].as_str().unwrap().to_owned();
    assert_eq!(world.versions("thing").await, [(ours, false), (theirs, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_at_0_52_42() {
    let world = World::new("0.52.42");
    an_end_waits_for_its_start_at_no_cost(&world).await;
    calls_meet_only_within_what_was_not_deleted_between(&world.beside()).await;
    an_end_that_comes_later_finds_its_call(&world.beside()).await;
    a_version_that_is_brought_back_does_not_become_the_latest(&world.beside()).await;
    the_last_that_was_published_is_the_latest_though_it_was_there_before(&world.beside()).await;
    what_somebody_else_has_published_since_stays_the_latest(&world.beside()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_at_0_52_23() {
    let world = World::new("0.52.23");
    an_end_waits_for_its_start_at_no_cost(&world).await;
    calls_meet_only_within_what_was_not_deleted_between(&world.beside()).await;
    an_end_that_comes_later_finds_its_call(&world.beside()).await;
}
