//! Answers that are lost: what was sent is sent again, and is there once.

use backhaul_testkit::{FaultLink, LinkFault, Point};
use backhaul_weave::{EntryType, OfflineDataSyncer, OfflineTraceServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{World, ids, quickly, remote};

/// Each row of "Sent twice", as a folder.
fn log_everything(world: &World, offline: &OfflineTraceServer, takes_costs: bool) {
    let project = world.project.to_string();
    if takes_costs {
        let costs = json!({"m": {"prompt_token_cost": 0.5, "completion_token_cost": 1.5}});
        let costs = json!({"project_id": project, "costs": costs});
        world.log(offline, &[(EntryType::CostCreate, costs)]);
    }
    offline.create_file(&world.project, "f", None, b"content").unwrap();
    let table = json!({"project_id": project, "rows": [{"z": 1, "a": 2}]});
    let table = offline.create_table(&world.project, &table).unwrap();
    let rows = format!("weave:///{project}/table/{}", table.digest);
    world.publish(offline, "data", json!({"z": rows, "a": 1}));
    world.publish(offline, "thing", json!({"version": 1}));
    world.publish(offline, "thing", json!({"version": 2}));
    let (_, mut complete) = world.start(3, "complete");
    let (_, end) = world.end(3);
    complete.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    world.log(
        offline,
        &[
            world.start(1, "pair"),
            world.end(1),
            world.start(2, "alone"),
            (EntryType::CallComplete, complete),
            world.start(4, "deleted"),
            world.end(4),
            world.rename(1, "renamed"),
            world.deletion(&[4]),
            world.note(1, 1),
            world.note(2, 1),
        ],
    );
}

/// What the server holds of it, but for what differs each time.
async fn holdings(world: &World, takes_costs: bool) -> Value {
    let mut calls = world.calls().await;
    for call in &mut calls {
        call.as_object_mut().unwrap().retain(|key, _| key != "storage_size_bytes");
    }
    let costs = match takes_costs {
        true => world.ask("/cost/query", json!({"project_id": "local/mine"})).await,
        false => json!({"results": []}),
    };
    json!({
        "calls": calls,
        "notes": world.notes().await,
        "thing": world.versions("thing").await,
        "data": world.versions("data").await,
        "costs": costs["results"].as_array().unwrap().len(),
    })
}

async fn any_answer_may_be_lost(version: &str, takes_costs: bool) {
    let clean = World::new(version);
    log_everything(&clean, &clean.offline(), takes_costs);
    assert!(clean.sync().await.is_complete());
    let expected = holdings(&clean, takes_costs).await;
    assert_eq!(ids(expected["calls"].as_array().unwrap()).len(), 3);

    let mut lost = 0;
    loop {
        let world = World::new(version);
        let offline = world.offline();
        log_everything(&world, &offline, takes_costs);
        let link = FaultLink::to(([127, 0, 0, 1], world.server.port()).into()).unwrap();
        link.pass(lost);
        link.next(1, LinkFault::reset(Point::AnswerLost));
        let syncer = |offline: &OfflineTraceServer| {
            let remote = remote(&link.url());
            OfflineDataSyncer::of_server(remote, offline.clone(), quickly()).unwrap()
        };
        // Half of the time it is the same process that tries again.
        let same = syncer(&offline);
        let first = same.sync().await.unwrap();
        let offline = if lost % 2 == 0 {
            assert!(same.sync().await.unwrap().is_complete(), "{lost}");
            offline
        } else {
            drop((same, offline));
            let offline = world.offline();
            assert!(syncer(&offline).sync().await.unwrap().is_complete(), "{lost}");
            offline
        };
        drop(offline);
        assert_eq!(
            holdings(&world, takes_costs).await,
            expected,
            "answer {lost} of {version} was lost"
        );
        if first.is_complete() {
            // There are no more answers than that.
            break;
        }
        lost += 1;
    }
    assert!(lost > 12, "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_answer_may_be_lost_of_0_52_42() {
    any_answer_may_be_lost("0.52.42", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_answer_may_be_lost_of_0_52_23() {
    any_answer_may_be_lost("0.52.23", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_deleted_since_is_not_begun_again() {
    for version in ["0.52.42", "0.52.23"] {
        let world = World::new(version);
        let offline = world.offline();
        let (kind, mut child) = world.start(2, "child");
        child["parent_id"] = json!(super::id(1));
        let (_, parent) = world.start(1, "parent");
        world.log(
            &offline,
            &[(kind, parent.clone()), (kind, child.clone()), world.end(2), world.deletion(&[1])],
        );
        // All of it arrived, and nothing of that was written down.
        for start in [parent, child] {
            world.ask("/call/start", json!({"start": start})).await;
        }
        let deletion = json!({"project_id": "local/mine", "call_ids": [super::id(1)]});
        world.ask("/calls/delete", deletion).await;
        let statistics = world.syncer_of(&offline).sync().await.unwrap();
        assert!(statistics.is_complete(), "{version} {statistics:?}");
        assert!(world.calls().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_once() {
    let world = World::new("0.52.42");
    let offline = world.offline();
    let field = |number: u8, content: &[u8]| {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    };
    let time = |number: u8| {
        let nanos = 1_767_323_045_000_000_000_u64.to_le_bytes();
        [&[number << 3 | 1], &nanos[..]].concat()
    };
    let span = [
        field(1, &[7; 16]),
        field(2, &[1, 2, 3, 4, 5, 6, 7, 8]),
        field(5, b"spanned"),
        time(7),
        time(8),
    ];
    let resource = field(1, &[]);
    let export = field(1, &[resource, field(2, &field(2, &span.concat()))].concat());
    let body = STANDARD.encode(export);
    let entry = json!({"project_id": "local/mine", "path": "/otel/v1/traces",
        "content_type": "application/x-protobuf", "content_encoding": null, "body": body});
    world.log(&offline, &[(EntryType::OtelExport, entry)]);
    let link = FaultLink::to(([127, 0, 0, 1], world.server.port()).into()).unwrap();
    let syncer =
        OfflineDataSyncer::of_server(remote(&link.url()), offline.clone(), quickly()).unwrap();
    // The project, its internal name, the question for the span, and the span.
    link.pass(3);
    link.next(1, LinkFault::reset(Point::AnswerLost));
    assert!(!syncer.sync().await.unwrap().is_complete());
    assert!(syncer.sync().await.unwrap().is_complete());
    assert_eq!(ids(&world.calls().await), ["0102030405060708"]);
}
