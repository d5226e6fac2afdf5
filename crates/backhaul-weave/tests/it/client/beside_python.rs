//! What a program in Rust logged offline is, once it is synced, what the real client for Python
//! leaves that logs the same online.

use std::collections::BTreeMap;
use std::path::Path;

use backhaul_testkit::{WeaveServer, weave_holdings, weave_plain_agent};
use backhaul_weave::{self as weave, SyncArguments, TraceError};
use serde_json::Value;
use tempfile::tempdir;

use super::scenario::{self, Without};

const ALL: Without = Without { a_call: false, tags: false };

/// What a server holds that an agent in Python has logged to, online.
fn left_by_python(client: &str, server: &str, dir: &Path) -> Value {
    let server = WeaveServer::start(server, &dir.join("python.db")).unwrap();
    let agent = weave_plain_agent(client).unwrap().args(["--url", &server.url()]).output().unwrap();
    assert!(agent.status.success(), "{}", String::from_utf8_lossy(&agent.stderr));
    held_by(&server)
}

fn held_by(server: &WeaveServer) -> Value {
    serde_json::from_str(&weave_holdings(&server.url()).unwrap()).unwrap()
}

/// A field device logs, without a key or a server, and ends.
async fn logged_in_the_field(
    project: &str,
    dir: &Path,
    without: Without,
) -> Result<(), TraceError> {
    let client = weave::init(project).offline(true).offline_dir(dir).start()?;
    scenario::run(without).await?;
    client.finish()
}

/// What a server holds that it was synced to.
async fn left_by_rust(project: &str, server: &str, dir: &Path, without: Without) -> Value {
    let server = WeaveServer::start(server, &dir.join("rust.db")).unwrap();
    let offline_dir = dir.join("offline");
    logged_in_the_field(project, &offline_dir, without).await.unwrap();
    let arguments = SyncArguments {
        offline_dir: Some(offline_dir),
        api_key: Some("reference-key".into()),
        trace_url: Some(server.url()),
        wandb_url: Some(server.url()),
        ..SyncArguments::default()
    };
    let statistics = weave::sync_offline_data(arguments).await.unwrap();
    assert!(statistics.is_complete(), "{statistics}");
    assert!(statistics.contains_key("local/scenario"), "{statistics}");
    held_by(&server)
}

/// Takes out what only Python has: code that reads a file back, which its client stores as an
/// op and names beside each file, and which no client needs for files that Weave knows.
fn without_load_ops(mut holdings: Value) -> Value {
    if let Some(objects) = holdings["objects"].as_array_mut() {
        let is_load =
            |one: &Value| one["object_id"].as_str().is_some_and(|id| id.starts_with("load_"));
        objects.retain(|object| !is_load(object));
    }
    if let Some(refs) = holdings["refs"].as_object_mut() {
        refs.retain(|address, _| !address.contains("/op/load_"));
    }
    let mut left = vec![&mut holdings];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                fields.remove("load_op");
                left.extend(fields.values_mut());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    holdings
}

/// Takes out what is told of files beside their bytes.
fn without_metadata(mut holdings: Value) -> Value {
    if let Some(files) = holdings["files"].as_array_mut() {
        files.retain(|file| file["name"] != "metadata.json");
    }
    for call in holdings["calls"].as_array_mut().into_iter().flatten() {
        let files = call.pointer_mut("/output/files").and_then(Value::as_object_mut);
        files.map(|files| files.remove("metadata.json"));
    }
    holdings
}

/// Where two values differ: paths and what stands there.
fn differences(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeMap<&String, ()> =
                left.keys().chain(right.keys()).map(|key| (key, ())).collect();
            for key in keys.into_keys() {
                let of = |fields: &serde_json::Map<String, Value>| {
                    fields.get(key).cloned().unwrap_or("(nothing)".into())
                };
                differences(&format!("{path}.{key}"), &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (at, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}[{at}]"), left, right, found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => found.push(format!("{path}: {left:.300} and {right:.300}")),
    }
}

fn differences_of(left: Value, right: Value) -> Vec<String> {
    let mut found = Vec::new();
    differences("", &without_load_ops(left), &without_load_ops(right), &mut found);
    found
}

#[track_caller]
fn is_the_same(left: Value, right: Value) {
    assert!(left["count"].as_u64().is_some_and(|count| count > 40), "{}", left["count"]);
    let found = differences_of(left, right);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synced_program_leaves_what_the_newest_client_for_python_leaves_online() {
    let dir = tempdir().unwrap();
    let of_rust = left_by_rust("local/scenario", "0.52.42", dir.path(), ALL).await;
    is_the_same(left_by_python("0.54.0", "0.52.42", dir.path()), of_rust);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_a_server_and_a_client_of_before() {
    let dir = tempdir().unwrap();
    // That client and its server know none.
    let without = Without { tags: true, ..ALL };
    let of_rust = left_by_rust("local/scenario", "0.52.23", dir.path(), without).await;
    let of_python = left_by_python("0.52.23", "0.52.23", dir.path());
    // What that client writes beside a file's bytes has a field less.
    is_the_same(without_metadata(of_python), without_metadata(of_rust));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_was_logged_without_an_entity_is_the_same_one_after_the_sync() {
    let dir = tempdir().unwrap();
    let of_rust = left_by_rust("scenario", "0.52.42", dir.path(), ALL).await;
    is_the_same(left_by_python("0.54.0", "0.52.42", dir.path()), of_rust);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_left_out_is_noticed() {
    let dir = tempdir().unwrap();
    let of_rust =
        left_by_rust("local/scenario", "0.52.42", dir.path(), Without { a_call: true, ..ALL })
            .await;
    let of_python = left_by_python("0.54.0", "0.52.42", dir.path());
    assert!(!differences_of(of_python, of_rust).is_empty());
}
