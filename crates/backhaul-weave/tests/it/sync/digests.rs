//! Digests that are others on the server, and references to them.

use backhaul_weave::{DIGEST_LABEL, Entry, EntryType, digest};
use serde_json::{Value, json};

use super::{World, numbers};

/// What a reference leads to on the server.
async fn read(world: &World, reference: &Value) -> Value {
    let said = world.ask("/refs/read_batch", json!({"refs": [reference]})).await;
    said["vals"][0].clone()
}

/// 0.52.23 hashes keys in the order in which they come.
async fn references_lead_to_what_a_server_calls_otherwise(world: &World) {
    let offline = world.offline();
    let of_project = |rest: String| world.reference(&rest);
    let table = offline.create_table(&world.project, &world.table(&[1, 3])).unwrap();
    let rows = of_project(format!("table/{}", table.digest));
    let data = world.publish(&offline, "data", json!({"rows": rows, "_type": "Dataset"}));
    let row = format!("object/data:{data}/attr/rows/id/{}", table.row_digests[1]);
    let model = world.publish(&offline, "model", json!({"z": 1, "data": of_project(row.clone())}));
    let (kind, mut start) = world.start(1, "f");
    start["inputs"] =
        json!({"model": of_project(format!("object/model:{model}")), "row": of_project(row)});
    world.log(&offline, &[(kind, start), world.end(1)]);
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());

    let calls = world.calls().await;
    let inputs = &calls[0]["inputs"];
    assert_ne!(inputs["model"], of_project(format!("object/model:{model}")));
    assert_eq!(read(world, &inputs["row"]).await["z"], 3);
    let model_there = read(world, &inputs["model"]).await;
    assert_eq!(model_there["z"], 1);
    assert_eq!(read(world, &model_there["data"]).await["z"], 3);

    // What is logged by a later process refers to what was delivered by this one.
    drop(offline);
    let offline = world.offline();
    let (kind, mut start) = world.start(2, "f");
    start["output"] = json!(null);
    start["inputs"] = json!({"model": of_project(format!("object/model:{model}"))});
    world.log(&offline, &[(kind, start)]);
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    let calls = world.calls().await;
    assert_eq!(calls[1]["inputs"]["model"], inputs["model"]);
}

/// 0.52.23 makes no tables of rows that it has.
async fn a_table_of_known_rows_has_them(world: &World) {
    let offline = world.offline();
    let project = world.project.to_string();
    let table = offline.create_table(&world.project, &world.table(&[1, 3])).unwrap();
    let digests: Vec<&String> = table.row_digests.iter().rev().collect();
    let turned = digest::of_table(&digests);
    let entry = json!({"project_id": project, "row_digests": digests});
    let entry = Entry::of_value(EntryType::TableFromDigests, &entry);
    offline.log(&world.project, &[entry.label(DIGEST_LABEL, turned.clone())]).unwrap();
    let reference = world.reference(&format!("table/{turned}"));
    world.publish(&offline, "data", json!({"rows": reference}));
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[2], (2, 0));
    let asked = json!({"project_id": project, "object_id": "data", "digest": "latest"});
    let there = world.ask("/obj/read", asked).await;
    let digest = there["obj"]["val"]["rows"].as_str().unwrap().rsplit_once('/').unwrap().1;
    let rows = world.ask("/table/query", json!({"project_id": project, "digest": digest})).await;
    assert_eq!(rows["rows"][0]["val"]["z"], 3);
}

async fn what_the_server_calls_the_project_makes_later_digests_right(world: &World) {
    let offline = world.offline();
    let reference = json!({"itself": world.reference("call/1")});
    let before = world.publish(&offline, "before", reference.clone());
    assert!(world.syncer_of(&offline).sync().await.unwrap().is_complete());
    assert_ne!(world.versions("before").await, [(before, true)]);
    let after = world.publish(&offline, "after", reference.clone());
    drop(offline);
    let offline = world.offline();
    let syncer = world.syncer_of(&offline);
    let later = world.publish(&offline, "later", reference);
    assert!(syncer.sync().await.unwrap().is_complete());
    assert_eq!(world.versions("after").await, [(after.clone(), true)]);
    assert_eq!(world.versions("later").await, [(after, true)]);
    assert!(!later.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn references_hold_at_0_52_42() {
    let world = World::new("0.52.42");
    a_table_of_known_rows_has_them(&world).await;
    what_the_server_calls_the_project_makes_later_digests_right(&world.beside()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn references_hold_at_0_52_23() {
    let world = World::new("0.52.23");
    a_table_of_known_rows_has_them(&world).await;
    references_lead_to_what_a_server_calls_otherwise(&world.beside()).await;
}
