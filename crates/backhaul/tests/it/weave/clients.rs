//! Real clients log to a collector, with no real server anywhere, and what is on disk is
//! counted.

use std::collections::BTreeSet;
use std::path::Path;

use backhaul::weave::{EntryType, Kind, digest, refs};
use backhaul_testkit::weave_agent;
use serde_json::Value;
use tempfile::tempdir;

use super::{counts, entries, offline};

const PROJECT: &str = "local/scenario";

/// Has the agent log one of everything, and checks what every version of the client leaves.
#[track_caller]
fn logs_everything(client: &str, base: &str) -> Vec<(String, usize)> {
    let dir = tempdir().unwrap();
    let hub = offline(dir.path());
    let url = format!("http://{}{base}", hub.address);
    let mut agent = weave_agent(client).unwrap();
    if base.is_empty() {
        agent.args(["--url", &url]);
    } else {
        // The one variable that a client needs: it looks for traces below it.
        let base_url = format!("http://{}", hub.address);
        agent.env("WANDB_BASE_URL", base_url).env("WANDB_API_KEY", "any");
    }
    let agent = agent.env_remove("WF_TRACE_SERVER_URL").output().unwrap();
    let said = String::from_utf8_lossy(&agent.stderr);
    assert!(agent.status.success(), "{said}");
    assert!(!said.contains("Error") && !said.contains("retry"), "{said}");
    drop(hub);
    calls_are_whole(dir.path());
    files_have_their_digests(dir.path());
    refs_lead_somewhere(dir.path());
    counts(dir.path(), PROJECT)
}

/// Fifty calls and one that was deleted with the two below it, each with its start and its end.
#[track_caller]
fn calls_are_whole(dir: &Path) {
    let (mut starts, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries(dir, PROJECT, Kind::Calls) {
        let id = entry.value()["id"].as_str().unwrap_or_default().to_owned();
        match entry.entry_type() {
            EntryType::CallStart => assert!(starts.insert(id)),
            EntryType::CallEnd => assert!(ends.insert(id)),
            EntryType::CallComplete => assert!(starts.insert(id.clone()) && ends.insert(id)),
            _ => {}
        }
    }
    assert_eq!(starts, ends);
    assert_eq!(starts.len(), 53);
}

#[track_caller]
fn files_have_their_digests(dir: &Path) {
    let files = entries(dir, PROJECT, Kind::Files);
    let folder = dir.join("weave").join(PROJECT).join("files");
    let mut largest = 0;
    for file in files {
        let named = file.value()["digest"].as_str().unwrap().to_owned();
        let content = std::fs::read(folder.join(&named)).unwrap();
        largest = largest.max(content.len());
        assert_eq!(digest::of_file(&content), named);
    }
    assert_eq!(largest, 5_000_000);
}

/// Each version of an object that is referred to is stored under the digest of the reference.
#[track_caller]
fn refs_lead_somewhere(dir: &Path) {
    let mut stored = BTreeSet::new();
    let mut texts = Vec::new();
    for kind in Kind::ALL {
        for entry in entries(dir, PROJECT, kind) {
            let value = entry.value();
            match kind {
                Kind::Ops | Kind::Objects => {
                    stored.insert(digest::of_value(&value["val"]));
                }
                Kind::Tables => {
                    let rows = value["rows"].as_array().cloned().unwrap_or_default();
                    stored.insert(digest::of_table(rows.iter().map(digest::of_value)));
                    if let Some(rows) = value["row_digests"].as_array() {
                        stored
                            .insert(digest::of_table(rows.iter().map(|row| row.as_str().unwrap())));
                    }
                }
                _ => {}
            }
            collect_texts(&value, &mut texts);
        }
    }
    let mut versions = 0;
    for (_, rest) in texts.iter().filter_map(|text| refs::parts(text)) {
        let mut parts = rest.split('/');
        let version = match (parts.next(), parts.next()) {
            (Some("object" | "op"), Some(name)) => name.split_once(':').map(|(_, digest)| digest),
            (Some("table"), Some(digest)) => Some(digest),
            _ => None,
        };
        if let Some(digest) = version {
            versions += 1;
            assert!(stored.contains(digest), "{rest} leads nowhere");
        }
    }
    assert_eq!(versions, 93);
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|inner| collect_texts(inner, texts)),
        Value::Object(map) => map.values().for_each(|inner| collect_texts(inner, texts)),
        _ => {}
    }
}

/// What every version of the client leaves beside calls.
const OF_ALL: [(&str, usize); 8] = [
    ("call_update", 3),
    ("calls_delete", 1),
    ("feedback_create", 8),
    ("file_create", 20),
    ("obj_create", 12),
    ("op_create", 17),
    ("table_create", 3),
    ("table_create_from_digests", 2),
];

#[track_caller]
fn leaves(counts: &[(String, usize)], beside: &[(&str, usize)]) {
    // Which of a call's three forms a client sends is a matter of its batches.
    let is_call = |name: &str| ["call_start", "call_end", "call_complete"].contains(&name);
    let counts = counts.iter().map(|(name, count)| (name.as_str(), *count));
    let found: Vec<_> = counts.filter(|(name, _)| !is_call(name)).collect();
    let mut expected = [&OF_ALL, beside].concat();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn client_0_52_23_logs_everything_without_a_server() {
    leaves(&logs_everything("0.52.23", ""), &[]);
}

#[test]
fn client_0_52_42_logs_everything_without_a_server() {
    leaves(&logs_everything("0.52.42", ""), &[("obj_aliases", 1), ("obj_tags", 1)]);
}

#[test]
fn client_0_54_0_logs_everything_where_it_is_told_of_the_base_url_alone() {
    leaves(&logs_everything("0.54.0", "/traces"), &[("obj_aliases", 1), ("obj_tags", 1)]);
}
