//! What real clients sent to a real server is sent to the collector, and answered in the same
//! way. The recordings are of one agent: `{"method", "path", "headers", "request", "status",
//! "answer"}` a line; of two files the bytes are not in them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tempfile::tempdir;

use super::{counts, lines, offline};
use crate::support::{Hub, header};

/// What the recorded server called the project.
const INTERNAL_ID: &str = "UHJvamVjdEludGVybmFsSWQ6MjgxNjA3MDA=";

/// What nobody can know or say offline: compared by its form alone.
const INVENTED: &[(&str, &str)] = &[
    ("/server_info", "trace_server_version"),
    // Who a user is says the server.
    ("/graphql", "username"),
    ("/graphql", "defaultEntity"),
    // A new one each time.
    ("/feedback/create", "id"),
    ("/cost/create", "ids"),
    // The server counts what is below a call too.
    ("/calls/delete", "num_deleted"),
];

/// The server adds the names of an emoji to what it is told.
const EMOJI: [&str; 3] = ["alias", "detoned", "detoned_alias"];

/// Who wrote, what it weighs and when it came, as the server has it.
const OF_THE_SERVER: [&str; 4] = ["wb_user_id", "created_at", "size_bytes", "has_more"];

/// What the old server did not answer yet.
const OF_NEWER_SERVERS: [&str; 3] = ["expire_at", "tags", "aliases"];

/// Weave 0.52.23 makes other digests of objects and tables than all later versions.
const OF_OLD_DIGESTS: [&str; 2] = ["/obj/create", "/table/create"];

/// What is asked by such digests, which were never answered here.
const BY_OLD_DIGESTS: [&str; 2] = ["/obj/read", "/table/query"];

/// Gives what is on disk after it was sent to a collector, at `/` and at `/traces`.
#[track_caller]
fn replay(recording: &str, is_old_server: bool) -> Vec<(String, usize)> {
    let [at_root, below_traces] = ["", "/traces"].map(|prefix| {
        let dir = tempdir().unwrap();
        knows_the_project(dir.path());
        let hub = offline(dir.path());
        for line in recording.lines() {
            let recorded: Value = serde_json::from_str(line).unwrap();
            replay_one(&hub, prefix, &recorded, is_old_server);
        }
        drop(hub);
        counts(dir.path(), "local/demo")
    });
    assert_eq!(at_root, below_traces);
    at_root
}

/// As one that the real server has told before.
fn knows_the_project(data_dir: &Path) {
    let folder = data_dir.join("weave/.backhaul");
    std::fs::create_dir_all(&folder).unwrap();
    let said = json!({"internal_ids": {"local/demo": INTERNAL_ID}});
    std::fs::write(folder.join("server.json"), said.to_string()).unwrap();
}

#[track_caller]
fn replay_one(hub: &Hub, prefix: &str, recorded: &Value, is_old_server: bool) {
    let path = recorded["path"].as_str().unwrap();
    let (mut headers, body) = sent(recorded);
    headers.push(header("Authorization", "Basic YXBpOnJlZmVyZW5jZS1rZXk="));
    let prefix = if path == "/graphql" { "" } else { prefix };
    let method = recorded["method"].as_str().unwrap();
    let reply = hub.request(method, &format!("{prefix}{path}"), &headers, &body.bytes);
    if recorded["status"] == 404 {
        // The old server did not know the question, and its client asked it in another way.
        assert_eq!((path, reply.status), ("/feedback/batch/create", 200), "{reply:?}");
        return;
    }
    if is_old_server && BY_OLD_DIGESTS.contains(&path)
        || recorded["answer"].get("b64_head").is_some()
    {
        // Or of an answer that is not wholly in the recording.
        return;
    }
    assert_eq!(json!(reply.status), recorded["status"], "{path}: {reply:?}");
    let mut answer = match reply.head.contains("application/jsonl") {
        true => json!(lines(&reply)),
        false => reply.json(),
    };
    let mut expected = recorded["answer"].clone();
    if path == "/calls/stream_query" {
        // The recorder took one line for what it is.
        expected = match expected.get_mut("jsonl") {
            Some(lines) => lines.take(),
            None => json!([expected]),
        };
    }
    let is_other = is_old_server && OF_OLD_DIGESTS.contains(&path);
    if is_other || !body.is_whole {
        form_only(&mut answer, &["digest", "row_digests"]);
        form_only(&mut expected, &["digest", "row_digests"]);
    }
    let of_path = INVENTED.iter().filter(|(of, _)| *of == path);
    let invented: Vec<&str> = of_path.map(|(_, name)| *name).collect();
    form_only(&mut answer, &invented);
    form_only(&mut expected, &invented);
    without_emoji_names(&mut expected);
    for of_server in OF_THE_SERVER {
        without(&mut answer, of_server);
        without(&mut expected, of_server);
    }
    if is_old_server {
        OF_NEWER_SERVERS.iter().for_each(|name| without(&mut answer, name));
    }
    assert_eq!(answer, expected, "{path}");
}

struct Body {
    bytes: Vec<u8>,
    /// Not so where the recording does not hold the bytes of the file.
    is_whole: bool,
}

/// The headers and the body of a recorded request.
fn sent(recorded: &Value) -> (Vec<(String, String)>, Body) {
    let headers = recorded["headers"].as_object().unwrap();
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| header(name, value.as_str().unwrap())).collect();
    let request = &recorded["request"];
    let Some(parts) = request["multipart"].as_array() else {
        let bytes = if request.is_null() { Vec::new() } else { request.to_string().into_bytes() };
        return (headers, Body { bytes, is_whole: true });
    };
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    headers.push(header("Content-Type", "multipart/form-data; boundary=cut"));
    let mut body = Body { bytes: Vec::new(), is_whole: true };
    for part in parts {
        let content = part["base64"].as_str().map(|text| STANDARD.decode(text).unwrap());
        body.is_whole &= content.is_some();
        let content = content.unwrap_or_else(|| b"another".to_vec());
        body.bytes.extend(b"--cut\r\n");
        for line in part["headers"].as_array().unwrap() {
            body.bytes.extend(format!("{}\r\n", line.as_str().unwrap()).as_bytes());
        }
        body.bytes.extend([b"\r\n".as_slice(), &content, b"\r\n"].concat());
    }
    body.bytes.extend(b"--cut--\r\n");
    (headers, body)
}

/// Leaves of the fields of these names, wherever they are, no more than their form.
fn form_only(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map.iter_mut() {
                match names.contains(&name.as_str()) {
                    true => *inner = form_of(inner),
                    false => form_only(inner, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| form_only(inner, names)),
        _ => {}
    }
}

/// Leaves a field out wherever it is.
fn without(value: &mut Value, name: &str) {
    match value {
        Value::Object(map) => {
            map.shift_remove(name);
            map.values_mut().for_each(|inner| without(inner, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| without(inner, name)),
        _ => {}
    }
}

fn form_of(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => json!("(a boolean)"),
        Value::Number(_) => json!("(a number)"),
        Value::String(text) if text.ends_with('Z') && text.contains('T') => json!("(a time)"),
        Value::String(text) => json!(format!("(a text of {})", of_length(text))),
        Value::Array(items) => items.iter().map(form_of).collect(),
        Value::Object(map) => {
            let inner = map.iter().map(|(name, value)| (name.clone(), form_of(value)));
            Value::Object(inner.collect::<Map<_, _>>())
        }
    }
}

/// Digests and ids have theirs.
fn of_length(text: &str) -> String {
    match text.len() {
        len @ (36 | 43 | 64) => len.to_string(),
        _ => "any length".to_owned(),
    }
}

fn without_emoji_names(answer: &mut Value) {
    if let Some(payload) = answer.get_mut("payload").and_then(Value::as_object_mut) {
        EMOJI.iter().for_each(|name| drop(payload.remove(*name)));
    }
    answer
        .get_mut("res")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(without_emoji_names);
}

fn count(counts: &[(String, usize)], name: &str) -> usize {
    counts.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
}

#[test]
fn client_0_52_23_is_answered_as_by_its_server() {
    let counts = replay(include_str!("recorded/0.52.23.jsonl"), true);
    assert_eq!(count(&counts, "call_start"), count(&counts, "call_end"));
    // Those of the batch that the old server did not know are in there too.
    assert_eq!(count(&counts, "feedback_create"), 6);
}

#[test]
fn client_0_52_42_is_answered_as_by_its_server() {
    let counts = replay(include_str!("recorded/0.52.42.jsonl"), false);
    assert_eq!((count(&counts, "file_create"), count(&counts, "feedback_create")), (11, 3));
}

#[test]
fn client_0_54_0_is_answered_as_by_its_server() {
    let counts = replay(include_str!("recorded/0.54.0.jsonl"), false);
    assert_eq!((count(&counts, "cost_create"), count(&counts, "call_start")), (1, 0));
}

#[test]
fn client_0_54_0_without_complete_calls_is_answered_as_by_its_server() {
    let counts = replay(include_str!("recorded/0.54.0-upsert_batch.jsonl"), false);
    assert_eq!((count(&counts, "call_complete"), count(&counts, "table_create")), (0, 1));
}

#[test]
fn client_0_54_0_with_digests_of_its_own_is_answered_as_by_its_server() {
    let counts = replay(include_str!("recorded/0.54.0-client_digests.jsonl"), false);
    assert_eq!(count(&counts, "calls_delete"), 1);
}
