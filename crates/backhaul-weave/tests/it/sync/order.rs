//! What has to go before what.

use std::collections::BTreeMap;
use std::time::Duration;

use backhaul_store::{Clock as _, Limits, Settled, State, SystemClock, Timestamp, WINDOW};
use backhaul_sync::SyncOptions;
use backhaul_testkit::Prng;
use backhaul_weave::{EntryType, Kind, OfflineDataSyncer, OfflineTraceServer};
use serde_json::{Value, json};

use super::{World, ids, numbers, quickly, remote};

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
async fn ends_without_a_start_hold_up_nothing_that_comes_after() {
    let world = World::new("0.52.42");
    let offline = world.offline();
    // More than are ever on offer while an earlier one waits.
    let calls = usize::try_from(WINDOW).unwrap() + 1_000;
    let orphans: Vec<_> = (1..=31).map(|number| world.end(calls + number)).collect();
    world.log(&offline, &orphans);
    for number in 1..=calls {
        let (_, mut call) = world.start(number, "f");
        call["ended_at"] = json!("2026-01-02T03:04:06.000001Z");
        call["summary"] = json!({});
        world.log(&offline, &[(EntryType::CallComplete, call)]);
    }
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[5], (calls as u64, 31));
    let project = world.project.to_string();
    let stats = world.ask("/calls/query_stats", json!({"project_id": project})).await;
    assert_eq!(stats["count"], calls);
    let spool = offline.spool(&world.project, Kind::Calls).unwrap().unwrap();
    let books = spool.books().unwrap();
    assert_eq!((books.rejected, books.pending), (31, 0));
    // Its start has come from somewhere else since.
    world.log(&offline, &[world.start(calls + 1, "f")]);
    spool.requeue_all().unwrap();
    world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(spool.books().unwrap().rejected, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_ends_meet_though_many_calls_are_open_at_a_time() {
    let world = World::new("0.52.42");
    let offline = world.offline();
    let (calls, open) = (900, 64);
    for number in 1..=calls + open {
        let start = (number <= calls).then(|| world.start(number, "f"));
        let end = number.checked_sub(open).filter(|ended| *ended > 0).map(|ended| world.end(ended));
        let entries: Vec<_> = start.into_iter().chain(end).collect();
        world.log(&offline, &entries);
    }
    let link = world.link();
    let options = SyncOptions { batch_size: Some(200), ..quickly() };
    let syncer = OfflineDataSyncer::of_server(remote(&link.url()), offline.clone(), options);
    assert!(syncer.unwrap().sync().await.unwrap().is_complete());
    let held = world.calls().await;
    assert_eq!(held.len(), calls);
    assert!(held.iter().all(|call| call["output"]["answer"].is_number()));
    // Ten batches; the first ones are smaller, and a few requests ask what server it is.
    let requests = link.counts().requests;
    assert!(requests < 60, "{requests} requests");
}

/// Logs calls that begin and end in any order, some below others, and deletes some of them.
/// Gives the calls that are left, and those of them that ended.
fn log_at_random(world: &World, offline: &OfflineTraceServer, random: &mut Prng) -> Left {
    let (mut open, mut all): (Vec<usize>, Vec<(usize, Option<usize>)>) = (Vec::new(), Vec::new());
    let mut left = Left::new();
    for number in 1..=180 {
        let (kind, mut start) = world.start(number, "f");
        let parent = (!all.is_empty() && random.chance(0.4)).then(|| random.pick(&all).0);
        if let Some(parent) = parent {
            start["parent_id"] = json!(world.id(parent));
        }
        world.log(offline, &[(kind, start)]);
        all.push((number, parent));
        left.insert(world.id(number), false);
        open.push(number);
        while open.len() > 20 || !open.is_empty() && random.chance(0.3) {
            let at = random.index(open.len());
            let ended = open.swap_remove(at);
            world.log(offline, &[world.end(ended)]);
            left.entry(world.id(ended)).and_modify(|has_ended| *has_ended = true);
        }
        if random.chance(0.03) {
            let mut deleted = vec![random.pick(&all).0];
            world.log(offline, &[world.deletion(&deleted)]);
            while let Some(one) = deleted.pop() {
                left.remove(&world.id(one));
                open.retain(|number| *number != one);
                let below = all.iter().filter(|(_, parent)| *parent == Some(one));
                deleted.extend(below.map(|(number, _)| *number));
                all.retain(|(number, _)| *number != one);
            }
        }
    }
    left
}

/// By call, whether it ended.
type Left = BTreeMap<String, bool>;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_size_of_batches_the_same_calls_are_left() {
    let world = World::new("0.52.42");
    for seed in 0..4 {
        let mut random = Prng::new(seed);
        let world = world.beside();
        let offline = world.offline();
        let left = log_at_random(&world, &offline, &mut random);
        let batch_size = 2 + random.index(60);
        let options = SyncOptions { batch_size: Some(batch_size), ..quickly() };
        let syncer = OfflineDataSyncer::of_server(remote(&world.url()), offline, options).unwrap();
        let statistics = syncer.sync().await.unwrap();
        assert!(statistics.is_complete(), "seed {seed}, batches of {batch_size}: {statistics:?}");
        let held: Left = world.calls().await.iter().map(id_and_end).collect();
        assert_eq!(held, left, "seed {seed}, batches of {batch_size}");
    }
}

fn id_and_end(call: &Value) -> (String, bool) {
    (call["id"].as_str().unwrap().to_owned(), !call["ended_at"].is_null())
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
