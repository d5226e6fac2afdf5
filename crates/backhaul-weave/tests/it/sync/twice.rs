//! Answers that are lost: what was sent is sent again, and is there once.

use backhaul_testkit::{FaultLink, LinkFault, Point};
use backhaul_weave::{EntryType, OfflineDataSyncer, OfflineTraceServer, ProjectId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{World, ids, quickly, remote};

/// Each row of "Sent twice", as a folder of one project. `base`: the numbers of its calls begin
/// behind it.
fn log_everything(world: &World, offline: &OfflineTraceServer, base: usize, takes_costs: bool) {
    let project = world.project.to_string();
    if takes_costs {
        let costs = json!({"m": {"prompt_token_cost": 0.5, "completion_token_cost": 1.5}});
        let costs = json!({"project_id": project, "costs": costs});
        world.log(offline, &[(EntryType::CostCreate, costs)]);
    }
    offline.create_file(&world.project, "f", None, b"content").unwrap();
    let table = json!({"project_id": project, "rows": [{"z": base, "a": 2}]});
    let table = offline.create_table(&world.project, &table).unwrap();
    let rows = format!("weave:///{project}/table/{}", table.digest);
    world.publish(offline, "data", json!({"z": rows, "a": 1}));
    world.publish(offline, "thing", json!({"version": 1}));
    world.publish(offline, "thing", json!({"version": 2}));
    let (_, mut complete) = world.start(base + 3, "complete");
    let (_, end) = world.end(base + 3);
    complete.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    world.log(
        offline,
        &[
            world.start(base + 1, "pair"),
            world.end(base + 1),
            world.start(base + 2, "alone"),
            (EntryType::CallComplete, complete),
            world.start(base + 4, "deleted"),
            world.end(base + 4),
            world.rename(base + 1, "renamed"),
            world.deletion(&[base + 4]),
            world.note(base + 1, base + 1),
            world.note(base + 2, base + 1),
        ],
    );
}

/// That the server holds all of it, once.
async fn holds_everything_once(world: &World, base: usize, takes_costs: bool, when: &str) {
    let calls = world.calls().await;
    let said: Vec<_> = calls
        .iter()
        .map(|call| (&call["op_name"], &call["output"]["answer"], &call["display_name"]))
        .collect();
    let none = Value::Null;
    let pair = (&json!("pair"), &json!(base + 1), &json!("renamed"));
    let complete = (&json!("complete"), &json!(base + 3), &none);
    assert_eq!(said, [pair, (&json!("alone"), &none, &none), complete], "{when}");
    let notes = [1, 2].map(|number| format!("note {}", base + number));
    assert_eq!(world.notes().await, notes, "{when}");
    let thing = world.versions("thing").await;
    let is_latest: Vec<bool> = thing.iter().map(|(_, latest)| *latest).collect();
    assert_eq!(is_latest, [false, true], "{when}");
    let project = world.project.to_string();
    let asked = json!({"project_id": project, "object_id": "data", "digest": "latest"});
    let data = world.ask("/obj/read", asked).await;
    let table = data["obj"]["val"]["z"].as_str().unwrap().rsplit_once('/').unwrap().1;
    let rows = world.ask("/table/query", json!({"project_id": project, "digest": table})).await;
    assert_eq!(rows["rows"][0]["val"]["z"], base, "{when}");
    if takes_costs {
        let costs = world.ask("/cost/query", json!({"project_id": project})).await;
        assert_eq!(costs["results"].as_array().unwrap().len(), 1, "{when}");
    }
}

async fn any_answer_may_be_lost(version: &str, takes_costs: bool) {
    let mut world = World::new(version);
    let address = ([127, 0, 0, 1], world.server.port()).into();
    for lost in 0.. {
        let base = usize::try_from(lost).unwrap() * 10;
        world.project = ProjectId::new("local", &format!("p{lost}")).unwrap();
        let offline = world.offline();
        log_everything(&world, &offline, base, takes_costs);
        let link = FaultLink::to(address).unwrap();
        link.pass(lost);
        link.next(1, LinkFault::reset(Point::AnswerLost));
        let syncer = |offline: &OfflineTraceServer| {
            let remote = remote(&link.url());
            OfflineDataSyncer::of_server(remote, offline.clone(), quickly()).unwrap()
        };
        let project = world.project.to_string();
        let when = format!("answer {lost} of {version} was lost");
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
        holds_everything_once(&world, base, takes_costs, &when).await;
        if link.counts().faults == 0 {
            // There are no more answers than that.
            assert!(lost > 12, "{lost}");
            break;
        }
    }
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
