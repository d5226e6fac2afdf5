//! Answers that are lost: what was sent is sent again, and is there once.

use backhaul_testkit::{LinkFault, Point};
use backhaul_weave::{EntryType, OfflineDataSyncer, OfflineTraceServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{World, ids, quickly, remote};

/// Each row of "Sent twice", as a folder of one project.
fn log_everything(world: &World, offline: &OfflineTraceServer, takes_costs: bool) {
    let project = world.project.to_string();
    if takes_costs {
        let costs = json!({"m": {"prompt_token_cost": 0.5, "completion_token_cost": 1.5}});
        let costs = json!({"project_id": project, "costs": costs});
        world.log(offline, &[(EntryType::CostCreate, costs)]);
    }
    offline.create_file(&world.project, "f", None, b"content").unwrap();
    let table = offline.create_table(&world.project, &world.table(&[7])).unwrap();
    let rows = format!("weave:///{project}/table/{}", table.digest);
    world.publish(offline, "data", json!({"z": rows, "a": 1}));
    world.publish(offline, "thing", json!({"version": 1}));
    world.publish(offline, "thing", json!({"version": 2}));
    let (_, mut complete) = world.start(3, "complete");
    let (_, end) = world.end(3);
    complete.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    let (kind, mut late) = world.start(5, "late");
    late["parent_id"] = json!(world.id(4));
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
            // It begins after its parent was deleted, and stays.
            (kind, late),
            world.note(1, 1),
            world.note(2, 1),
        ],
    );
}

/// That the server holds all of it, once.
async fn holds_everything_once(world: &World, takes_costs: bool, when: &str) {
    let calls = world.calls().await;
    let said: Vec<_> = calls
        .iter()
        .map(|call| (&call["op_name"], &call["output"]["answer"], &call["display_name"]))
        .collect();
    let none = Value::Null;
    let pair = (&json!("pair"), &json!(1), &json!("renamed"));
    let complete = (&json!("complete"), &json!(3), &none);
    let alone = (&json!("alone"), &none, &none);
    assert_eq!(said, [pair, alone, complete, (&json!("late"), &none, &none)], "{when}");
    let notes = ["note 1", "note 2"];
    assert_eq!(world.notes().await, notes, "{when}");
    let thing = world.versions("thing").await;
    let is_latest: Vec<bool> = thing.iter().map(|(_, latest)| *latest).collect();
    assert_eq!(is_latest, [false, true], "{when}");
    let project = world.project.to_string();
    let asked = json!({"project_id": project, "object_id": "data", "digest": "latest"});
    let data = world.ask("/obj/read", asked).await;
    let table = data["obj"]["val"]["z"].as_str().unwrap().rsplit_once('/').unwrap().1;
    let rows = world.ask("/table/query", json!({"project_id": project, "digest": table})).await;
    assert_eq!(rows["rows"][0]["val"]["z"], 7, "{when}");
    if takes_costs {
        let costs = world.ask("/cost/query", json!({"project_id": project})).await;
        assert_eq!(costs["results"].as_array().unwrap().len(), 1, "{when}");
    }
}

async fn any_answer_may_be_lost(first: &World, takes_costs: bool) {
    for lost in 0.. {
        let world = first.beside();
        let offline = world.offline();
        log_everything(&world, &offline, takes_costs);
        let link = world.link();
        link.pass(lost);
        link.next(1, LinkFault::reset(Point::AnswerLost));
        let syncer = |offline: &OfflineTraceServer| {
            let remote = remote(&link.url());
            OfflineDataSyncer::of_server(remote, offline.clone(), quickly()).unwrap()
        };
        let project = world.project.to_string();
        let when = format!("answer {lost} was lost");
        let same = syncer(&offline);
        let first = same.sync_project(&project).await.unwrap();
        // Half of the time it is the same process that tries again.
        let second = if lost % 2 == 0 {
            same.sync_project(&project).await.unwrap()
        } else {
            drop((same, offline));
            syncer(&world.offline()).sync_project(&project).await.unwrap()
        };
        assert!(second.is_complete(), "{when}: {first:?} {second:?}");
        holds_everything_once(&world, takes_costs, &when).await;
        if link.counts().faults == 0 {
            // There are no more answers than that.
            assert!(lost > 12, "{lost}");
            break;
        }
    }
}

async fn a_call_that_was_deleted_since_is_not_begun_again(world: &World) {
    let offline = world.offline();
    let (kind, mut child) = world.start(2, "child");
    child["parent_id"] = json!(world.id(1));
    let (_, parent) = world.start(1, "parent");
    let deletion = world.deletion(&[1]);
    world.log(
        &offline,
        &[(kind, parent.clone()), (kind, child.clone()), world.end(2), deletion.clone()],
    );
    // All of it arrived, and nothing of that was written down.
    for start in [parent, child] {
        world.ask("/call/start", json!({"start": start})).await;
    }
    world.ask("/calls/delete", deletion.1).await;
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert!(statistics.is_complete(), "{statistics:?}");
    assert!(world.calls().await.is_empty());
}

async fn spans_arrive_once(world: &World) {
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
    let entry = json!({"project_id": world.project.to_string(), "path": "/otel/v1/traces",
        "content_type": "application/x-protobuf", "content_encoding": null, "body": body});
    world.log(&offline, &[(EntryType::OtelExport, entry)]);
    let link = world.link();
    let syncer =
        OfflineDataSyncer::of_server(remote(&link.url()), offline.clone(), quickly()).unwrap();
    // The project, its internal name, the question for the span, and the span.
    link.pass(3);
    link.next(1, LinkFault::reset(Point::AnswerLost));
    assert!(!syncer.sync().await.unwrap().is_complete());
    assert!(syncer.sync().await.unwrap().is_complete());
    assert_eq!(ids(&world.calls().await), ["0102030405060708"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_is_lost_of_0_52_42_everything_is_there_once() {
    let world = World::new("0.52.42");
    any_answer_may_be_lost(&world, true).await;
    a_call_that_was_deleted_since_is_not_begun_again(&world.beside()).await;
    spans_arrive_once(&world.beside()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_is_lost_of_0_52_23_everything_is_there_once() {
    let world = World::new("0.52.23");
    any_answer_may_be_lost(&world, false).await;
    a_call_that_was_deleted_since_is_not_begun_again(&world.beside()).await;
}
