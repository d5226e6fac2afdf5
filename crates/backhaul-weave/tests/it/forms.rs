//! Files that are not compressed.

use std::collections::BTreeSet;

use backhaul_store::Options;
use backhaul_weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId};
use serde_json::Value;

/// Names of the files with calls.
fn files(folder: &std::path::Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.contains(".jsonl")).collect()
}

#[test]
fn without_compression_files_are_json_lines_and_compression_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let project: ProjectId = "team/project".parse().unwrap();
    let calls = dir.path().join("team/project/calls");
    let log = |compress: bool, id: &str| {
        let store = Options { maintenance_thread: false, ..Options::default() };
        let options = OfflineOptions {
            compress,
            min_free_bytes: Some(0),
            store,
            ..OfflineOptions::default()
        };
        let server = OfflineTraceServer::open(dir.path(), options).unwrap();
        let start =
            format!(r#"{{"project_id": "team/project", "id": "{id}", "op_name": "greet"}}"#);
        server
            .log(&project, &[Entry::new(EntryType::CallStart, start.as_bytes()).unwrap()])
            .unwrap();
    };
    log(false, "one");
    log(false, "two");
    let names = files(&calls);
    let name = names.first().unwrap();
    assert!(names.len() == 1 && name.ends_with("_0000.jsonl"), "{names:?}");
    let text = std::fs::read_to_string(calls.join(name)).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.iter().map(|line| &line["data"]["id"]).collect::<Vec<_>>(), ["one", "two"]);
    log(true, "three");
    assert!(files(&calls).iter().any(|name| name.ends_with("_0001.jsonl.gz")));
}
