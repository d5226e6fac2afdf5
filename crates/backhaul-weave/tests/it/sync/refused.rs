//! Records that a server will not take, and servers that take nothing.

use backhaul_store::Standing;
use backhaul_weave::{Kind, OfflineDataSyncer};
use serde_json::json;
use std::ops::ControlFlow;

use super::{World, ids, numbers, quickly, remote};

/// A text that begins like a reference makes a server refuse the whole request.
const POISON: &str = "weave:///nowhere";

/// 0.52.23 has stored the first calls of a batch when it refuses a later one.
async fn one_bad_call_spoils_no_other(world: &World) {
    let offline = world.offline();
    let mut entries = Vec::new();
    for number in 0..20 {
        let (kind, mut start) = world.start(number, "f");
        let (end_kind, mut end) = world.end(number);
        match number {
            7 => start["inputs"] = json!({"bad": POISON}),
            13 => end["output"] = json!([POISON]),
            _ => {}
        }
        entries.extend([(kind, start), (end_kind, end)]);
    }
    world.log(&offline, &entries);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    // The start and the end of one, and the end of the other.
    assert_eq!(numbers(&statistics)[5], (37, 3));
    let calls = world.calls().await;
    let expected: Vec<String> =
        (0..20).filter(|number| *number != 7).map(|number| world.id(number)).collect();
    assert_eq!(ids(&calls), expected);
    let unfinished = calls.iter().filter(|call| call["ended_at"].is_null());
    assert_eq!(unfinished.count(), 1);

    let spool = offline.spool(&world.project, Kind::Calls).unwrap().unwrap();
    let mut reasons = Vec::new();
    spool
        .each(Some(Standing::Failed), &mut |entry| {
            reasons.push(entry.last_error.clone().unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(reasons[0].contains("400"), "{reasons:?}");
    assert!(reasons[1].contains("does not have the call"), "{reasons:?}");
    assert!(reasons[2].contains("400"), "{reasons:?}");

    // Brought back, they are tried again and set aside again, and nothing is doubled.
    assert_eq!(spool.requeue_all().unwrap(), 3);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[5], (0, 3));
    assert_eq!(world.calls().await.len(), 19);
}

async fn bad_feedback_and_bad_objects_are_set_aside_alone(world: &World) {
    let offline = world.offline();
    let (kind, mut bad) = world.note(2, 1);
    bad["weave_ref"] = json!(POISON);
    world.log(&offline, &[world.note(1, 1), (kind, bad), world.note(3, 1)]);
    world.publish(&offline, "good", json!(1));
    world.publish(&offline, "bad", json!({"a": POISON}));
    world.publish(&offline, "no/name", json!(2));
    world.publish(&offline, "good too", json!(3));
    world.publish(&offline, "good2", json!(3));
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[4], (2, 3));
    assert_eq!(numbers(&statistics)[6], (2, 1));
    assert_eq!(world.notes().await, ["note 1", "note 3"]);
    assert_eq!(world.versions("good2").await.len(), 1);
}

async fn feedback_about_something_that_is_not_there_is_set_aside_alone(world: &World) {
    let offline = world.offline();
    let (kind, mut bad) = world.note(2, 1);
    let absent = world.reference(&format!("object/absent:{}", "a".repeat(43)));
    bad["feedback_type"] = json!("wandb.annotation.absent");
    bad["annotation_ref"] = json!(absent);
    bad["payload"] = json!({"value": 1});
    world.log(&offline, &[world.note(1, 1), (kind, bad), world.note(3, 1)]);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[6], (2, 1));
    assert_eq!(world.notes().await, ["note 1", "note 3"]);
}

async fn a_sync_that_ends_in_the_middle_says_what_is_left_and_the_next_one_goes_on(world: &World) {
    let offline = world.offline();
    let link = world.link();
    world.publish(&offline, "thing", json!(1));
    world.log(&offline, &[world.start(1, "f"), world.end(1), world.note(1, 1)]);
    link.refuse();
    let options = quickly();
    let syncer =
        OfflineDataSyncer::of_server(remote(&link.url()), offline.clone(), options).unwrap();
    let statistics = syncer.sync().await.unwrap();
    let waiting = [(0, 1), (0, 0), (0, 0), (0, 0), (0, 1), (0, 2), (0, 1)];
    assert_eq!(numbers(&statistics), waiting);
    link.up();
    let statistics = syncer.sync().await.unwrap();
    let arrived = [(1, 0), (0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (1, 0)];
    assert_eq!(numbers(&statistics), arrived);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_0_52_42_refuses_is_set_aside_alone() {
    let world = World::new("0.52.42");
    one_bad_call_spoils_no_other(&world).await;
    bad_feedback_and_bad_objects_are_set_aside_alone(&world.beside()).await;
    feedback_about_something_that_is_not_there_is_set_aside_alone(&world.beside()).await;
    a_sync_that_ends_in_the_middle_says_what_is_left_and_the_next_one_goes_on(&world.beside())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_0_52_23_refuses_is_set_aside_alone() {
    one_bad_call_spoils_no_other(&World::new("0.52.23")).await;
}
