//! What a client writes is on disk, as it was written.

use backhaul::weave::{EntryType, Kind, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{counts, entries, form, logged, offline};
use crate::support::header;

const UUID: usize = 36;

#[test]
fn a_call_is_kept_to_the_character() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let end = r#"{"id":"1",  "project_id":"e/p","output":{"n":1.50e3,"s":"é\u00e9\/"},"of_a_newer_client":[1 , 2]}"#;
    assert_eq!(hub.post_json("/call/end", &format!("{{\"end\": {end}}}")).status, 200);
    let batch = format!(r#"{{"batch": [{{"mode": "end", "req": {{"end": {end}}}}}], "more": 1}}"#);
    assert_eq!(hub.post_json("/call/upsert_batch", &batch).body, r#"{"res":[{}]}"#);
    // Python reads this, and so does a real server.
    let body = r#"{"batch": [{"project_id": "e/p", "id": "2", "output": NaN}]}"#;
    assert_eq!(hub.post_json("/v2/e/p/calls/complete", body).body, "{}");
    drop(hub);
    let stored = entries(dir.path(), "e/p", Kind::Calls);
    assert_eq!((stored[0].data(), stored[1].data()), (end, end));
    assert_eq!(stored[2].value()["output"], Value::Null);
}

#[test]
fn a_start_without_ids_gets_some_and_the_same_when_it_is_sent_again() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let body = json!({"start": {"project_id": "e/p", "op_name": "f", "id": null, "x": 1}});
    let retried = [header("X-Weave-Retry-Id", "01a200f8-d815-7a59-83b1-09a3fc3d295d")];
    let send = || hub.request("POST", "/call/start", &retried, body.to_string().as_bytes()).json();
    let (first, again) = (send(), send());
    assert_eq!(first["id"], "01a200f8-d815-7a59-83b1-09a3fc3d295d");
    assert_eq!((&first["id"], first["trace_id"].as_str().unwrap().len()), (&again["id"], UUID));
    let other = hub.answer("/call/start", &body);
    assert_ne!(other["id"], first["id"]);
    drop(hub);
    let stored = entries(dir.path(), "e/p", Kind::Calls);
    assert_eq!(stored[0].value()["trace_id"], first["trace_id"]);
    assert_eq!((&stored[2].value()["id"], &stored[2].value()["x"]), (&other["id"], &json!(1)));
}

#[test]
fn a_batch_over_several_projects_is_answered_in_its_order() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let start = |project: &str, id: &str| {
        let start = json!({"project_id": project, "id": id, "trace_id": "t", "op_name": "f"});
        json!({"mode": "start", "req": {"start": start}})
    };
    let end = json!({"mode": "end", "req": {"end": {"project_id": "e/b", "id": "9"}}});
    let batch = json!({"batch": [start("e/a", "1"), end, start("e/b", "2"), start("c", "3")]});
    let answer = hub.answer("/call/upsert_batch", &batch);
    let started = |id: &str| json!({"id": id, "trace_id": "t"});
    assert_eq!(answer, json!({"res": [started("1"), {}, started("2"), started("3")]}));
    drop(hub);
    let stored = |project: &str| logged(dir.path(), project, Kind::Calls).len();
    // Without an entity it is kept under `offline`.
    assert_eq!((stored("e/a"), stored("e/b"), stored("offline/c")), (1, 2, 1));
}

#[test]
fn an_item_of_a_batch_is_what_it_holds_whatever_its_mode_says() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let start = json!({"start": {"project_id": "e/p", "id": "1", "trace_id": "t"}});
    let end = json!({"end": {"project_id": "e/p", "id": "1"}});
    let batch = json!({"batch": [{"req": start}, {"req": end}, {"mode": "end", "req": end}]});
    let answer = hub.answer("/call/upsert_batch", &batch);
    assert_eq!(answer, json!({"res": [{"id": "1", "trace_id": "t"}, {}, {}]}));
    drop(hub);
    let expected = [("call_end".to_owned(), 2), ("call_start".to_owned(), 1)];
    assert_eq!(counts(dir.path(), "e/p"), expected);
}

#[test]
fn every_other_write_has_its_record() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    for (path, body, answer) in [
        ("/call/update", json!({"call_id": "1", "display_name": "x"}), json!({})),
        ("/calls/delete", json!({"call_ids": ["1", "2"]}), json!({"num_deleted": 2})),
        ("/obj/delete", json!({"object_id": "a", "digests": ["x"]}), json!({"num_deleted": 1})),
        ("/feedback/purge", json!({"query": {"$expr": {}}}), json!({})),
    ] {
        let body = with_project(body);
        assert_eq!(hub.answer(path, &body), answer, "{path}");
    }
    let put = |path: &str, body: Value| {
        let body = with_project(body).to_string();
        hub.request("PUT", path, &[], body.as_bytes()).body
    };
    assert_eq!(put("/objs/a%20b/versions/abc/tags", json!({"tags": ["x"]})), "{}");
    let aliases = json!({"digest": "abc", "aliases": ["best"]});
    assert_eq!(put("/traces/objs/a/aliases", aliases), "{}");
    let costs = json!({"costs": {"m1": {"prompt_token_cost": 1}, "m2": {}}});
    let ids = hub.answer("/cost/create", &with_project(costs));
    assert_eq!((&ids["ids"][0][1], &ids["ids"][1][1]), (&json!("m1"), &json!("m2")));
    drop(hub);
    let types = ["call_update", "calls_delete", "cost_create", "feedback_purge"];
    let types = types.into_iter().chain(["obj_aliases", "obj_delete", "obj_tags"]);
    let expected: Vec<_> = types.map(|name| (name.to_owned(), 1)).collect();
    assert_eq!(counts(dir.path(), "e/p"), expected);
    let objects = entries(dir.path(), "e/p", Kind::Objects);
    let tags = objects.iter().find(|entry| entry.entry_type() == EntryType::ObjTags).unwrap();
    assert_eq!(tags.value()["object_id"], "a b");
    assert_eq!((&tags.value()["digest"], &tags.value()["tags"]), (&json!("abc"), &json!(["x"])));
}

#[test]
fn all_versions_of_an_object_are_counted_when_they_are_deleted() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    for version in 1..=3 {
        let object = json!({"project_id": "e/p", "object_id": "a", "val": version});
        hub.answer("/obj/create", &json!({"obj": object}));
    }
    let all = with_project(json!({"object_id": "a", "digests": null}));
    let none_named = with_project(json!({"object_id": "b", "digests": []}));
    let object = json!({"project_id": "e/p", "object_id": "b", "val": 1});
    hub.answer("/obj/create", &json!({"obj": object}));
    assert_eq!(hub.answer("/obj/delete", &none_named), json!({"num_deleted": 1}));
    assert_eq!(hub.answer("/obj/delete", &all), json!({"num_deleted": 3}));
    assert_eq!(hub.answer("/obj/delete", &all), json!({"num_deleted": 0}));
}

fn with_project(mut body: Value) -> Value {
    body["project_id"] = json!("e/p");
    body
}

#[test]
fn feedback_gets_an_id_a_time_and_a_writer() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let feedback = |id: Value| {
        json!({"project_id": "e/p", "weave_ref": "weave:///e/p/call/1", "id": id,
               "feedback_type": "custom", "payload": {"n": 1.0}, "span_trace_id": ""})
    };
    let one = hub.answer("/feedback/create", &feedback(Value::Null));
    let batch = json!({"batch": [feedback(json!("mine")), feedback(Value::Null)]});
    let batch = hub.answer("/feedback/batch/create", &batch);
    let mut replacing = feedback(Value::Null);
    replacing["feedback_id"] = json!("mine");
    let replaced = hub.answer("/feedback/replace", &replacing);
    drop(hub);
    let stored = entries(dir.path(), "e/p", Kind::Feedback);
    let answers = [&one, &batch["res"][0], &batch["res"][1], &replaced];
    for (stored, answer) in stored.iter().zip(answers) {
        assert_eq!(stored.value()["id"], answer["id"]);
        assert_eq!(json!(stored.timestamp().unwrap().to_string()), answer["created_at"]);
        assert_eq!(
            (&answer["wb_user_id"], &answer["payload"]),
            (&json!("offline"), &json!({"n": 1.0}))
        );
    }
    assert_eq!((stored.len(), &batch["res"][0]["id"]), (4, &json!("mine")));
    assert_eq!(one["id"].as_str().unwrap().len(), UUID);
    assert_eq!(stored[3].value()["feedback_id"], "mine");
    assert_eq!(stored[3].entry_type(), EntryType::FeedbackReplace);
}

#[test]
fn feedback_that_a_client_sent_again_is_shown_once() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let feedback = json!({"project_id": "e/p", "weave_ref": "weave:///e/p/call/1", "id": "mine",
                          "feedback_type": "custom", "payload": {}});
    for _ in 0..3 {
        hub.answer("/feedback/batch/create", &json!({"batch": [feedback]}));
    }
    let shown = hub.answer("/feedback/query", &json!({"project_id": "e/p"}));
    assert_eq!(shown["result"].as_array().unwrap().len(), 1, "{shown}");
}

#[test]
fn spans_are_kept_as_they_come() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let of_project = [
        header("project_id", "e/p"),
        header("Content-Type", "application/x-protobuf"),
        header("Content-Encoding", "gzip"),
    ];
    let body = b"\x1f\x8b any bytes \x00\xff";
    for path in ["/agents/otel/v1/traces", "/traces/otel/v1/traces", "/otel/v1/trace"] {
        let reply = hub.request("POST", path, &of_project, body);
        assert_eq!((reply.status, reply.body.as_str()), (200, ""));
        assert!(reply.head.contains("content-type: application/x-protobuf"), "{}", reply.head);
    }
    let of_json = [header("project_id", "e/p"), header("Content-Type", "application/json")];
    assert_eq!(hub.request("POST", "/otel/v1/traces", &of_json, b"{}").body, "{}");
    assert_eq!(hub.post_json("/otel/v1/traces", "{}").status, 400);
    drop(hub);
    let stored = entries(dir.path(), "e/p", Kind::Calls);
    let expected = json!({
        "project_id": "e/p",
        "path": "/agents/otel/v1/traces",
        "content_type": "application/x-protobuf",
        "content_encoding": "gzip",
        "body": STANDARD.encode(body),
    });
    assert_eq!((stored.len(), stored[0].value()), (4, expected));
    assert_eq!(stored[1].value()["path"], "/otel/v1/traces");
}

#[test]
fn a_file_keeps_its_name_and_its_bytes() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let content: Vec<u8> = (0..=255).collect();
    let (headers, body) = form(&[
        ("name=\"project_id\"", b"e/p"),
        ("name=\"expected_digest\"", b"another"),
        ("name=\"file\"; filename=\"a b.bin\"\r\nContent-Type: image/png", &content),
    ]);
    let reply = hub.request("POST", "/files/create", &headers, &body);
    let named = digest::of_file(&content);
    assert_eq!(reply.body, json!({"digest": named}).to_string());
    drop(hub);
    let file = entries(dir.path(), "e/p", Kind::Files)[0].value();
    assert_eq!((&file["name"], &file["content_type"]), (&json!("a b.bin"), &json!("image/png")));
    assert_eq!(std::fs::read(dir.path().join("weave/e/p/files").join(named)).unwrap(), content);
}

#[test]
fn a_hostile_project_stays_inside() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    for project in ["../..", "..", ".backhaul/x", "a/..", "\u{0}/\n", "%2e%2e/%2f"] {
        let call = json!({"end": {"project_id": project, "id": "1"}});
        assert_eq!(hub.post_json("/call/end", &call.to_string()).status, 200, "{project:?}");
    }
    drop(hub);
    let mut beside: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    beside.sort();
    assert_eq!(beside, ["hub", "runs", "weave"]);
    assert!(!dir.path().join("weave/.backhaul/x").exists());
}
