//! What is done to tables, objects and feedback that are there already.

use backhaul_weave::{EntryType, OfflineTraceServer};
use serde_json::{Value, json};

use super::World;

/// The `z` of the rows of the table that an object refers to on the server.
async fn rows_of(world: &World, name: &str) -> Vec<Value> {
    let project = world.project.to_string();
    let asked = json!({"project_id": project, "object_id": name, "digest": "latest"});
    let object = world.ask("/obj/read", asked).await;
    let digest = object["obj"]["val"]["rows"].as_str().unwrap().rsplit_once('/').unwrap().1;
    let asked = json!({"project_id": project, "digest": digest});
    let rows = world.ask("/table/query", asked).await;
    rows["rows"].as_array().unwrap().iter().map(|row| row["val"]["z"].clone()).collect()
}

/// Appends a row to a table and publishes an object that refers to what came of it.
fn append(world: &World, offline: &OfflineTraceServer, base: &str, name: &str) {
    let project = world.project.to_string();
    let row = json!({"z": 9, "a": name});
    let request = json!({
        "project_id": project, "base_digest": base, "updates": [{"append": {"row": row}}],
    });
    let updated = offline.update_table(&world.project, &request.to_string()).unwrap();
    let rows = world.reference(&format!("table/{}", updated.digest));
    world.publish(offline, name, json!({"_type": "Dataset", "rows": rows}));
}

async fn a_table_that_was_updated_has_its_rows(world: &World) {
    let offline = world.offline();
    let here = offline.create_table(&world.project, &world.table(&[1, 2])).unwrap();
    append(world, &offline, &here.digest, "of-here");
    // Which rows this one has, only the server knows.
    let there = world.ask("/table/create", json!({"table": world.table(&[5, 6])})).await;
    append(world, &offline, there["digest"].as_str().unwrap(), "of-there");
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert!(statistics.is_complete(), "{statistics:?}");
    assert_eq!(rows_of(world, "of-here").await, [1, 2, 9]);
    assert_eq!(rows_of(world, "of-there").await, [5, 6, 9]);
}

async fn versions_that_were_deleted_are_gone_and_others_are_not(world: &World) {
    let offline = world.offline();
    let [first, second] = [1, 2].map(|value| world.publish(&offline, "both", json!(value)));
    world.publish(&offline, "all", json!(3));
    let deleted = |name: &str, digests: Value| {
        let project = world.project.to_string();
        let request = json!({"project_id": project, "object_id": name, "digests": digests});
        (EntryType::ObjDelete, request)
    };
    world.log(&offline, &[deleted("both", json!([first])), deleted("all", Value::Null)]);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert!(statistics.is_complete(), "{statistics:?}");
    assert_eq!(world.versions("both").await, [(second, true)]);
    assert!(world.versions("all").await.is_empty());
}

async fn feedback_that_was_purged_or_replaced_is_gone(world: &World) {
    let offline = world.offline();
    let (_, mut replacing) = world.note(4, 1);
    replacing["feedback_id"] = world.note(2, 1).1["id"].clone();
    let id = world.note(1, 1).1["id"].clone();
    let is_it = json!({"$eq": [{"$getField": "id"}, {"$literal": id}]});
    let purge = json!({"project_id": world.project.to_string(), "query": {"$expr": is_it}});
    world.log(
        &offline,
        &[
            world.note(1, 1),
            world.note(2, 1),
            world.note(3, 1),
            (EntryType::FeedbackPurge, purge),
            (EntryType::FeedbackReplace, replacing),
        ],
    );
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert!(statistics.is_complete(), "{statistics:?}");
    assert_eq!(world.notes().await, ["note 3", "note 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_so_at_0_52_42() {
    let world = World::new("0.52.42");
    a_table_that_was_updated_has_its_rows(&world).await;
    versions_that_were_deleted_are_gone_and_others_are_not(&world.beside()).await;
    feedback_that_was_purged_or_replaced_is_gone(&world.beside()).await;
}
