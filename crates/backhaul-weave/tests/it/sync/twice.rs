//! Answers that are lost: what was sent is sent again, and is there once.

use backhaul_testkit::{LinkFault, Point};
use backhaul_weave::{EntryType, OfflineDataSyncer, OfflineTraceServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{World, ids, quickly, remote};

/// Each row of "Sent twice", as a folder of one project. `names`: with tags, aliases and costs,
/// which older servers do not take.
fn log_everything(world: &World, offline: &OfflineTraceServer, names: bool) {
    let project = world.project.to_string();
    offline.create_file(&world.project, "f", None, b"content").unwrap();
    let table = offline.create_table(&world.project, &world.table(&[7])).unwrap();
    let row = &world.table(&[8])["rows"][0];
    let longer = json!({"project_id": project, "base_digest": table.digest,
        "updates": [{"append": {"row": row}}]});
    let longer = offline.update_table(&world.project, &longer.to_string()).unwrap();
    let rows = world.reference(&format!("table/{}", longer.digest));
    let data = world.publish(offline, "data", json!({"z": rows, "a": 1}));
    let one = world.publish(offline, "thing", json!({"version": 1}));
    let two = world.publish(offline, "thing", json!({"version": 2}));
    if names {
        let costs = json!({"m": {"prompt_token_cost": 0.5, "completion_token_cost": 1.5}});
        let named = |digest: &str, field: &str, names: &[&str]| json!({"project_id": project, "object_id": "thing", "digest": digest, field: names});
        world.log(
            offline,
            &[
                (EntryType::CostCreate, json!({"project_id": project, "costs": costs})),
                (EntryType::ObjTags, named(&one, "tags", &["tag"])),
                (EntryType::ObjAliases, named(&one, "aliases", &["first", "moved"])),
                (EntryType::ObjAliases, named(&two, "aliases", &["moved"])),
            ],
        );
    }
    let deletion = |name: &str, digest: &str| {
        let request = json!({"project_id": project, "object_id": name, "digests": [digest]});
        (EntryType::ObjDelete, request)
    };
    for name in ["deleted", "restored"] {
        let digest = world.publish(offline, name, json!({"name": name}));
        world.log(offline, &[deletion(name, &digest)]);
    }
    world.publish(offline, "restored", json!({"name": "restored"}));
    let (_, mut complete) = world.start(3, "complete");
    let (_, end) = world.end(3);
    complete.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    let (kind, mut late) = world.start(5, "late");
    late["parent_id"] = json!(world.id(4));
    let (_, mut pair) = world.start(1, "pair");
    pair["inputs"]["data"] = json!(world.reference(&format!("object/data:{data}")));
    let (_, mut replaced) = world.note(5, 1);
    replaced["feedback_id"] = world.note(4, 1).1["id"].clone();
    let purged = json!({"$literal": world.note(3, 1).1["id"]});
    let purged = json!({"project_id": project,
        "query": {"$expr": {"$eq": [{"$getField": "id"}, purged]}}});
    world.log(
        offline,
        &[
            (kind, pair),
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
            world.note(3, 1),
            (EntryType::FeedbackPurge, purged),
            world.note(4, 1),
            (EntryType::FeedbackReplace, replaced),
        ],
    );
}

/// That the server holds all of it, once.
async fn holds_everything_once(world: &World, names: bool, when: &str) {
    let project = world.project.to_string();
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
    let notes = ["note 1", "note 2", "note 5"];
    assert_eq!(world.notes().await, notes, "{when}");

    let is_latest = async |name: &str| -> Vec<bool> {
        world.versions(name).await.iter().map(|(_, latest)| *latest).collect()
    };
    assert_eq!(is_latest("thing").await, [false, true], "{when}");
    assert!(is_latest("deleted").await.is_empty(), "{when}");
    assert_eq!(is_latest("restored").await, [true], "{when}");
    // What refers to something leads to it, whatever the server calls it.
    let reference = calls[0]["inputs"]["data"].as_str().unwrap();
    let data = world.ask("/refs/read_batch", json!({"refs": [reference]})).await;
    let table = data["vals"][0]["z"].as_str().expect(when).rsplit_once('/').unwrap().1;
    let rows = world.ask("/table/query", json!({"project_id": project, "digest": table})).await;
    let rows = rows["rows"].as_array().unwrap().iter();
    assert_eq!(rows.map(|row| &row["val"]["z"]).collect::<Vec<_>>(), [7, 8], "{when}");
    if names {
        let costs = world.ask("/cost/query", json!({"project_id": project})).await;
        assert_eq!(costs["results"].as_array().unwrap().len(), 1, "{when}");
        let asked = json!({"project_id": project, "filter": {"object_ids": ["thing"]},
            "include_tags_and_aliases": true});
        let things = world.ask("/objs/query", asked).await;
        let [one, two] = [&things["objs"][0], &things["objs"][1]];
        assert_eq!((&one["tags"], &one["aliases"]), (&json!(["tag"]), &json!(["first"])), "{when}");
        assert_eq!(two["aliases"], json!(["latest", "moved"]), "{when}");
    }
}

async fn any_answer_may_be_lost(first: &World, names: bool) {
    for lost in 0.. {
        let world = first.beside();
        let offline = world.offline();
        log_everything(&world, &offline, names);
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
        holds_everything_once(&world, names, &when).await;
        if link.counts().faults == 0 {
            // There are no more answers than that.
            assert!(lost > 20, "{lost}");
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

/// Nor does a server, which would have it as often as it was told.
async fn what_a_client_sent_again_is_there_once(world: &World) {
    let offline = world.offline();
    let syncer = world.syncer_of(&offline);
    world.log(&offline, &[world.start(1, "f"), world.end(1)]);
    world.log(&offline, &[world.note(1, 1), world.note(2, 1), world.note(1, 1)]);
    assert!(syncer.sync().await.unwrap().is_complete());
    world.log(&offline, &[world.note(2, 1)]);
    assert!(syncer.sync().await.unwrap().is_complete());
    assert_eq!(world.notes().await, ["note 1", "note 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_is_lost_of_0_52_42_everything_is_there_once() {
    let world = World::new("0.52.42");
    any_answer_may_be_lost(&world, true).await;
    a_call_that_was_deleted_since_is_not_begun_again(&world.beside()).await;
    spans_arrive_once(&world.beside()).await;
    what_a_client_sent_again_is_there_once(&world.beside()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_answer_is_lost_of_0_52_23_everything_is_there_once() {
    let world = World::new("0.52.23");
    any_answer_may_be_lost(&world, false).await;
    a_call_that_was_deleted_since_is_not_begun_again(&world.beside()).await;
}
