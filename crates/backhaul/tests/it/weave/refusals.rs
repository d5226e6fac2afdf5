//! What the collector does not take, and says so.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::json;
use tempfile::tempdir;

use backhaul::weave::Kind;

use super::{entries, form, logged, offline};
use crate::support::{Reply, command, header};

#[track_caller]
fn is_refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    let said = reply.json()["reason"].as_str().unwrap().to_owned();
    assert!(said.contains(reason), "{said}");
}

#[test]
fn what_a_server_refuses_is_refused_with_what_was_found_and_expected() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let end = r#"{"project_id": "e/p", "id": "1"}"#;
    for (path, body, reason) in [
        ("/obj/create", "", "not JSON"),
        ("/obj/create", "{\"obj\": ", "not JSON"),
        ("/obj/create", "[]", "expected an object, found []"),
        ("/obj/create", "{}", "obj is missing: expected an object"),
        ("/obj/create", r#"{"obj": {"object_id": "a", "val": 1}}"#, "obj.project_id is missing"),
        (
            "/obj/create",
            r#"{"obj": {"project_id": 7}}"#,
            "obj.project_id: expected a text, found 7",
        ),
        ("/obj/create", r#"{"obj": {"project_id": "e/p", "val": 1}}"#, "obj.object_id is missing"),
        ("/obj/create", r#"{"obj": {"project_id": "e/p", "object_id": "a"}}"#, "lacks"),
        ("/obj/create", r#"{"obj": {"project_id": "a/b/c", "object_id": "a", "val": 1}}"#, "a/b/c"),
        ("/obj/create", r#"{"obj": {"project_id": "", "object_id": "a", "val": 1}}"#, "project"),
        ("/call/start", r#"{"start": {"id": "1", "op_name": "f"}}"#, "start.project_id is missing"),
        ("/call/end", r#"{"end": {"project_id": "e/p"}}"#, "end.id is missing"),
        ("/call/update", r#"{"project_id": "e/p"}"#, "call_id is missing"),
        ("/calls/delete", r#"{"project_id": "e/p"}"#, "call_ids is missing"),
        ("/call/upsert_batch", r#"{"batch": [{"mode": "twist", "req": {}}]}"#, "start is missing"),
        ("/v2/e/p/calls/complete", r#"{"batch": 7}"#, "batch: expected a list, found 7"),
        ("/v2/e/p/calls/complete", r#"{"batch": [7]}"#, "batch[0]: expected an object, found 7"),
        ("/table/create", r#"{"table": {"project_id": "e/p"}}"#, "table.rows is missing"),
        ("/table/create_from_digests", r#"{"project_id": "e/p"}"#, "row_digests is missing"),
        (
            "/table/update",
            r#"{"project_id": "e/p", "base_digest": "x", "updates": [{}]}"#,
            "append",
        ),
        ("/feedback/create", r#"{"project_id": "e/p"}"#, "weave_ref is missing"),
        ("/feedback/batch/create", r#"{"batch": [{}]}"#, "batch[0].project_id is missing"),
        ("/cost/create", r#"{"project_id": "e/p"}"#, "costs is missing"),
        ("/service/projects_info", r#"{"project_ids": [1]}"#, "expected a list of texts"),
        ("/graphql", "{}", "query is missing"),
    ] {
        is_refused(&hub.post_json(path, body), 422, reason);
        is_refused(
            &hub.post_json(&format!("/traces{path}").replace("/traces/graphql", path), body),
            422,
            reason,
        );
    }
    // One bad item of a batch, and nothing of it is stored: the client halves it.
    let batch = format!(r#"{{"batch": [{end}, {{"project_id": "e/p"}}]}}"#);
    is_refused(&hub.post_json("/v2/e/p/calls/complete", &batch), 422, "batch[1].id is missing");
    drop(hub);
    assert!(logged(dir.path(), "e/p", Kind::Calls).is_empty());
}

#[test]
fn a_form_that_is_none_is_refused() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let send = |parts: &[(&str, &[u8])]| {
        let (headers, body) = form(parts);
        hub.request("POST", "/file/create", &headers, &body)
    };
    is_refused(&hub.post_json("/file/create", "{}"), 422, "expected multipart/form-data");
    is_refused(&send(&[("name=\"file\"; filename=\"a\"", b"x")]), 422, "no part project_id");
    is_refused(&send(&[("name=\"project_id\"", b"e/p")]), 422, "no part file");
    let (headers, body) = form(&[("name=\"project_id\"", b"e/p")]);
    let cut = hub.request("POST", "/file/create", &headers, &body[..body.len() - 6]);
    is_refused(&cut, 422, "the body is no form");
}

#[test]
fn other_methods_and_paths_are_no_secret() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    assert_eq!(hub.get("/obj/create").status, 405);
    is_refused(&hub.get("/nothing"), 404, "/v1/runs");
    for path in ["/calls/score", "/traces/calls/score", "/traces/nothing", "/v2/e/p/ops"] {
        let reply = hub.post_json(path, "{}");
        is_refused(&reply, 503, "is answered by the Weave server alone");
        assert!(reply.head.contains("retry-after: 5"), "{}", reply.head);
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_bodies_are_taken_and_bombs_are_not() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let body = json!({"end": {"project_id": "e/p", "id": "1"}}).to_string();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(body.as_bytes()).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(body.as_bytes()).unwrap();
    let (zlib, raw) = (zlib.finish().unwrap(), raw.finish().unwrap());
    let send = |coding: &str, body: &[u8]| {
        hub.request("POST", "/call/end", &[header("Content-Encoding", coding)], body)
    };
    for (coding, body) in [("gzip", &gzip(body.as_bytes())), ("deflate", &zlib), ("deflate", &raw)]
    {
        assert_eq!(send(coding, body).status, 200, "{coding}");
    }
    is_refused(&send("br", b"x"), 415, "send gzip, deflate, or none");
    is_refused(&send("gzip", body.as_bytes()), 400, "no gzip");
    is_refused(&send("deflate", b"\xff\xff"), 400, "no deflate");
    let before = hub.peak_resident_kb();
    is_refused(&send("gzip", &gzip(&vec![b' '; 300 << 20])), 413, "decompresses to more than");
    assert!(
        hub.peak_resident_kb() - before < 150_000,
        "{} KB more",
        hub.peak_resident_kb() - before
    );
    drop(hub);
    assert_eq!(entries(dir.path(), "e/p", Kind::Calls).len(), 3);
}

#[test]
fn sixty_four_mebibytes_are_taken_and_more_is_too_much() {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let content = vec![0x55; 64 << 20];
    let project: (&str, &[u8]) = ("name=\"project_id\"", b"e/p");
    let file = "name=\"file\"; filename=\"large\"";
    let (headers, body) = form(&[project, (file, &content)]);
    let reply = hub.request("POST", "/file/create", &headers, &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    let larger = vec![0x55; 66 << 20];
    let (headers, body) = form(&[project, (file, &larger)]);
    is_refused(
        &hub.request("POST", "/file/create", &headers, &body),
        413,
        "the body has more than",
    );
    let digest = reply.json()["digest"].as_str().unwrap().to_owned();
    let stored = dir.path().join("weave/e/p/files").join(digest);
    assert_eq!(std::fs::metadata(stored).unwrap().len(), 64 << 20);
}

#[test]
fn a_token_is_asked_for_as_the_clients_key_where_the_collector_has_one() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
    let mut serve =
        command(&["serve", "--weave-url", super::NOWHERE, "--wandb-url", super::NOWHERE]);
    serve.env("HOME", dir.path()).arg("--token-file").arg(dir.path().join("token"));
    let hub = crate::support::Hub::try_start(&mut serve, dir.path());
    let status = |authorization: &str| {
        hub.request("GET", "/server_info", &[header("Authorization", authorization)], b"").status
    };
    // api:s3cret, api:other, and what is no key at all.
    assert_eq!(status("Basic YXBpOnMzY3JldA=="), 200);
    assert_eq!(status("Bearer s3cret"), 200);
    assert_eq!(status("Basic YXBpOm90aGVy"), 401);
    assert_eq!(status("Basic !"), 401);
    assert_eq!(status("Bearer other"), 401);
    is_refused(&hub.get("/server_info"), 401, "WANDB_API_KEY");
    is_refused(&hub.post_json("/call/end", "{}"), 401, "WANDB_API_KEY");
    is_refused(&hub.post_json("/calls/score", "{}"), 401, "WANDB_API_KEY");
    assert_eq!(hub.get("/health").status, 200);
}
