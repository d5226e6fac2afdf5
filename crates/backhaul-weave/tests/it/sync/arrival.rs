//! One of everything, on each version of the server.

use backhaul_sync::Transport;
use backhaul_weave::{
    Credentials, EntryType, OfflineDataSyncer, ProjectId, Remote, TraceErrorKind,
};
use serde_json::json;
use std::time::Duration;

use super::{World, ids, numbers};

async fn one_of_everything_arrives(world: &World, takes_costs: bool) {
    let offline = world.offline();
    let project = world.project.to_string();
    let costs = json!({"m": {"prompt_token_cost": 0.5, "completion_token_cost": 1.5}});
    let costs = json!({"project_id": project, "costs": costs});
    world.log(&offline, &[(EntryType::CostCreate, costs)]);
    let file = offline.create_file(&world.project, "a \"b\".bin", None, b"\r\n--\0bytes").unwrap();
    let table = offline.create_table(&world.project, &world.table(&[1, 2])).unwrap();
    let op_value = json!({"_type": "CustomWeaveType", "weave_type": {"type": "Op"}, "files": {"obj.py": file}});
    let op = world.publish(&offline, "run", op_value);
    let rows = format!("weave:///{project}/table/{}", table.digest);
    world.publish(&offline, "data", json!({"_type": "Dataset", "rows": rows}));
    let op_name = format!("weave:///{project}/op/run:{op}");
    world.log(
        &offline,
        &[
            world.start(1, &op_name),
            world.start(2, "plain"),
            world.end(1),
            world.rename(1, "renamed"),
            world.start(3, "deleted"),
            world.end(3),
            world.deletion(&[3]),
            world.note(1, 1),
        ],
    );
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    // 0.52.23 fails over costs, which holds up nothing but themselves.
    let metadata = if takes_costs { (2, 0) } else { (1, 1) };
    let all = [metadata, (1, 0), (1, 0), (1, 0), (1, 0), (7, 0), (1, 0)];
    assert_eq!(numbers(&statistics), all);
    assert_eq!(statistics.is_complete(), takes_costs);

    let calls = world.calls().await;
    assert_eq!(ids(&calls), [world.id(1), world.id(2)]);
    assert_eq!(calls[0]["output"], json!({"answer": 1}));
    assert_eq!(calls[0]["started_at"], "2026-01-02T03:04:05.678901Z");
    assert_eq!(calls[0]["ended_at"], "2026-01-02T03:04:06.000001Z");
    assert_eq!(calls[0]["display_name"], "renamed");
    assert_eq!(calls[1]["ended_at"], json!(null));
    let named = calls[0]["op_name"].as_str().unwrap();
    let digest = named.rsplit_once(':').unwrap().1;
    assert_eq!(world.versions("run").await, [(digest.to_owned(), true)]);
    let asked = json!({"project_id": project, "object_id": "data", "digest": "latest"});
    let data = world.ask("/obj/read", asked).await;
    let rows = data["obj"]["val"]["rows"].as_str().unwrap();
    let digest = rows.rsplit_once('/').unwrap().1;
    let rows = world.ask("/table/query", json!({"project_id": project, "digest": digest})).await;
    assert_eq!(rows["rows"][1]["val"]["z"], 2);
    assert_eq!(world.notes().await, ["note 1"]);
    if takes_costs {
        let costs = world.ask("/cost/query", json!({"project_id": project})).await;
        assert_eq!(costs["results"].as_array().unwrap().len(), 1);
    }

    drop(offline);
    let again = world.sync().await;
    assert_eq!(numbers(&again), [(0, 0); 7]);
}

async fn tags_and_aliases_arrive_or_are_set_aside(world: &World, knows_them: bool) {
    let offline = world.offline();
    let project = world.project.to_string();
    let digest = world.publish(&offline, "named", json!({"a": 1}));
    let named = |field: &str, names: &[&str]| json!({"project_id": project, "object_id": "named", "digest": digest, field: names});
    let tags = (EntryType::ObjTags, named("tags", &["one"]));
    world.log(&offline, &[tags, (EntryType::ObjAliases, named("aliases", &["two"]))]);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[4], if knows_them { (3, 0) } else { (1, 2) });
    if knows_them {
        let asked = json!({"project_id": project, "object_id": "named", "digest": "two",
            "include_tags_and_aliases": true});
        assert_eq!(world.ask("/obj/read", asked).await["obj"]["tags"], json!(["one"]));
    }
}

async fn fields_that_a_server_does_not_know_are_left_out_and_nothing_else(world: &World) {
    let offline = world.offline();
    let (kind, mut note) = world.note(1, 1);
    note["span_id"] = json!("0123");
    note["scorer_tags"] = json!([]);
    note["creator"] = json!("somebody");
    world.log(&offline, &[(kind, note), world.note(2, 1)]);
    let statistics = world.syncer_of(&offline).sync().await.unwrap();
    assert_eq!(numbers(&statistics)[6], (2, 0));
    assert_eq!(world.notes().await, ["note 1", "note 2"]);
    let said = world.ask("/feedback/query", json!({"project_id": world.project.to_string()})).await;
    let creators = said["result"].as_array().unwrap().iter().map(|row| &row["creator"]);
    assert!(creators.into_iter().any(|creator| creator == "somebody"));
}

async fn a_project_without_an_entity_goes_to_the_default_entity(mut world: World) {
    world.project = "alone".parse().unwrap();
    let offline = world.offline();
    let table = offline.create_table(&world.project, &world.table(&[1])).unwrap();
    let rows = format!("weave:///offline/alone/table/{}", table.digest);
    let data = world.publish(&offline, "data", json!({"_type": "Dataset", "rows": rows}));
    let (kind, mut start) = world.start(1, "f");
    start["inputs"] = json!({"data": format!("weave:///offline/alone/object/data:{data}")});
    world.log(&offline, &[(kind, start), world.end(1), world.note(1, 1)]);
    let syncer = world.syncer_of(&offline);
    let statistics = syncer.sync_project("alone").await.unwrap();
    assert_eq!(statistics.keys().collect::<Vec<_>>(), ["local/alone"]);
    assert!(statistics.is_complete());

    let project: ProjectId = "local/alone".parse().unwrap();
    let calls = world.calls_of(&project).await;
    let reference = calls[0]["inputs"]["data"].as_str().unwrap();
    let read = world.ask("/refs/read_batch", json!({"refs": [reference]})).await;
    let rows = read["vals"][0]["rows"].as_str().unwrap();
    assert_eq!(rows, format!("weave:///local/alone/table/{}", table.digest));
    let said = world.ask("/feedback/query", json!({"project_id": "local/alone"})).await;
    assert_eq!(
        said["result"][0]["weave_ref"],
        format!("weave:///local/alone/call/{}", world.id(1))
    );
    let error = syncer.sync_project("elsewhere").await.unwrap_err();
    assert_eq!(error.kind(), TraceErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_arrives_at_0_52_42() {
    let world = World::new("0.52.42");
    one_of_everything_arrives(&world, true).await;
    tags_and_aliases_arrive_or_are_set_aside(&world.beside(), true).await;
    a_project_without_an_entity_goes_to_the_default_entity(world.beside()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_arrives_at_0_52_23_as_far_as_it_is_known_there() {
    let world = World::new("0.52.23");
    one_of_everything_arrives(&world, false).await;
    tags_and_aliases_arrive_or_are_set_aside(&world.beside(), false).await;
    fields_that_a_server_does_not_know_are_left_out_and_nothing_else(&world.beside()).await;
}

#[tokio::test]
async fn without_a_key_nothing_begins() {
    let dir = tempfile::tempdir().unwrap();
    let transport = Transport::new(Duration::from_secs(1)).unwrap();
    let none = Credentials::new(None).with_environment(None, None);
    let remote = Remote::new(transport, None, None, none.clone()).unwrap();
    let error = OfflineDataSyncer::new(remote.clone(), dir.path()).unwrap_err();
    assert_eq!(error.kind(), TraceErrorKind::NoCredentials);
    none.note_client_key("of a client");
    assert!(OfflineDataSyncer::new(remote, dir.path()).is_ok());
}
