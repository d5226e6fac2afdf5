//! `backhaul traces`, beside a process that logs.

use std::path::Path;

use backhaul::weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{backhaul, command};

const PROJECT: &str = "my_team/my_project";

fn id(number: usize) -> String {
    format!("0192f3a4-0000-7000-8000-{number:012}")
}

/// A call of the trace `trace` that took so many milliseconds, or goes on.
fn call(
    number: usize,
    parent: Option<usize>,
    trace: usize,
    op: &str,
    took: Option<usize>,
) -> Value {
    let mut call = json!({
        "project_id": PROJECT, "id": id(number), "trace_id": format!("trace-{trace}"),
        "parent_id": parent.map(id), "attributes": {}, "inputs": {"n": number},
        "op_name": format!("weave:///{PROJECT}/op/{op}:abc"),
        "started_at": format!("2026-01-01T00:00:{number:02}.000001Z"),
    });
    if let Some(took) = took {
        let at = format!(
            "2026-01-01T00:{:02}:{:02}.{:03}001Z",
            took / 60_000,
            number + took / 1000 % 60,
            took % 1000
        );
        call["ended_at"] = json!(at);
        call["output"] = json!(1);
        call["summary"] = json!({});
    }
    call
}

/// A process that logs: a trace that failed in a call of a call, one that goes on, and one
/// in another project.
fn logging(dir: &Path) -> OfflineTraceServer {
    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    let server = OfflineTraceServer::open(dir.join("weave"), options).unwrap();
    let mut root = call(1, None, 1, "agent_step", Some(12_345));
    root["summary"] = json!({"status_counts": {"success": 2, "error": 1}});
    let mut failed = call(3, Some(2), 1, "predict", Some(30));
    let exception = json!({"type": "ValueError", "message": "no\u{1b}[2J\nmore", "traceback": []});
    failed["exception"] = json!(exception.to_string());
    let mut named = call(5, None, 5, "agent_step", None);
    named["display_name"] = json!("the one that goes on");
    let log = |project: &str, calls: Vec<Value>| {
        let entries: Vec<Entry> = calls
            .iter()
            .map(|call| match call.get("ended_at") {
                Some(_) => Entry::of_value(EntryType::CallComplete, call),
                None => Entry::of_value(EntryType::CallStart, call),
            })
            .collect();
        server.log(&project.parse().unwrap(), &entries).unwrap();
    };
    // Children before their parents, as clients send them.
    log(
        PROJECT,
        vec![
            failed,
            call(2, Some(1), 1, "plan", Some(1_500)),
            call(4, Some(1), 1, "score", None),
            root,
            named,
        ],
    );
    let mut elsewhere = call(6, None, 6, "elsewhere", Some(61_000));
    elsewhere["op_name"] = json!("weave:///other/place/op/elsewhere:abc");
    log("other/place", vec![elsewhere]);
    server
}

#[test]
fn the_newest_traces_come_first_with_how_they_went() {
    let dir = tempdir().unwrap();
    let _server = logging(dir.path());
    let (code, stdout, stderr) = backhaul(&["traces", "list"], dir.path());
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> =
        stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["started", "took", "status", "calls"]);
    assert_eq!(lines[1][1..5], ["1", "m", "1", "s"]);
    assert_eq!(lines[1][5..], ["success", "1", &id(6), "other/place", "elsewhere"]);
    assert_eq!(lines[2][1..4], ["-", "running", "1"]);
    assert!(stdout.lines().nth(2).unwrap().ends_with("the one that goes on"));
    assert_eq!(
        lines[3],
        [
            "2026-01-01T00:00:01Z",
            "12.3",
            "s",
            "descendant_error",
            "4",
            &id(1),
            PROJECT,
            "agent_step"
        ]
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn traces_are_listed_by_project_op_and_failure_one_object_a_line() {
    let dir = tempdir().unwrap();
    let _server = logging(dir.path());
    let list = |options: &[&str]| -> Vec<Value> {
        let arguments = [&["traces", "list", "--json"], options].concat();
        let (code, stdout, stderr) = backhaul(&arguments, dir.path());
        assert_eq!((code, stderr.as_str()), (0, ""));
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ids =
        |traces: Vec<Value>| traces.iter().map(|one| one["call_id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(list(&[])), [id(6), id(5), id(1)]);
    assert_eq!(ids(list(&["--limit", "1"])), [id(6)]);
    assert_eq!(ids(list(&["--project", PROJECT])), [id(5), id(1)]);
    assert_eq!(ids(list(&["--op", "elsewhere"])), [id(6)]);
    let failed = list(&["--errors"]);
    assert_eq!(failed[0]["duration_ms"], 12_345);
    assert_eq!(
        (failed[0]["status"].as_str(), failed[0]["calls"].as_u64()),
        (Some("descendant_error"), Some(4))
    );
    assert_eq!(ids(failed), [id(1)]);
}

#[test]
fn a_trace_is_drawn_from_the_beginning_of_any_of_its_ids() {
    let dir = tempdir().unwrap();
    let _server = logging(dir.path());
    let (code, stdout, stderr) = backhaul(&["traces", "show", &id(3)], dir.path());
    assert_eq!((code, stderr.as_str()), (0, ""));
    let expected = [
        "trace trace-1 of my_team/my_project, 4 calls, started 2026-01-01T00:00:01.000001Z",
        "",
        "agent_step        12.3 s  (failed below)",
        "├─ plan            1.5 s",
        "│  └─ predict      30 ms  error  ValueError: no\\u{1b}[2J  <",
        "└─ score               -  running",
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected);
    // A part of it that only one begins with.
    let (code, stdout, _) = backhaul(&["traces", "show", &id(6)[..36]], dir.path());
    assert_eq!((code, stdout.lines().count()), (0, 3));
    let (code, stdout, _) = backhaul(&["traces", "show", &id(2), "--json"], dir.path());
    let trace: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &trace["trace_id"]), (0, &json!("trace-1")));
    let calls = trace["calls"].as_array().unwrap().iter();
    let calls: Vec<_> =
        calls.map(|call| (call["inputs"]["n"].as_u64(), call["depth"].as_u64())).collect();
    assert_eq!(
        calls,
        [(Some(1), Some(0)), (Some(2), Some(1)), (Some(3), Some(2)), (Some(4), Some(1))]
    );
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let dir = tempdir().unwrap();
    let (code, stdout, stderr) = backhaul(&["traces", "list"], dir.path());
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("is not there: it comes with the first trace"), "{stderr}");
    std::fs::create_dir(dir.path().join("weave")).unwrap();
    let (code, stdout, stderr) = backhaul(&["traces", "list"], dir.path());
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("there are no traces yet in"), "{stderr}");
    let (code, _, stderr) = backhaul(&["traces", "list", "--project", PROJECT], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("nothing was logged there yet"), "{stderr}");
    let _server = logging(dir.path());
    let (code, _, stderr) = backhaul(&["traces", "show", "nobody"], dir.path());
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no call nobody in"), "{stderr}");
    assert!(stderr.contains("backhaul traces list"), "{stderr}");
    let (code, _, stderr) = backhaul(&["traces", "show", "0192f3a4"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("0192f3a4 may be") && stderr.contains(&id(1)), "{stderr}");
    let (code, _, stderr) = backhaul(&["traces", "list", "--project", "my_team/his"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("what there is: my_team/my_project, other/place"), "{stderr}");
    let (code, stdout, stderr) = backhaul(&["traces", "list", "--op", "nothing"], dir.path());
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("there are no such traces"), "{stderr}");
}

#[test]
fn columns_stand_below_their_heads() {
    let dir = tempdir().unwrap();
    let _server = logging(dir.path());
    let (_, stdout, _) = backhaul(&["traces", "list"], dir.path());
    let lines: Vec<&str> = stdout.lines().collect();
    for (head, text) in [("status", "success"), ("call ", &id(6)), ("project", "other/place")] {
        assert_eq!(lines[0].find(head), lines[1].find(text), "{head}\n{stdout}");
    }
    assert_eq!(lines[0].find("calls").unwrap() + 4, lines[1].find("  1  ").unwrap() + 2);
}

#[test]
fn a_folder_that_is_a_file_and_a_limit_of_nothing_are_refused() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("weave"), "").unwrap();
    let (code, _, stderr) = backhaul(&["traces", "list"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("is a file"), "{stderr}");
    for refused in [&["list", "--limit", "0"][..], &["list", "--op", ""], &["show", ""]] {
        let (code, _, stderr) = backhaul(&[&["traces"], refused].concat(), dir.path());
        assert_eq!(code, 2, "{stderr}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let dir = tempdir().unwrap();
    let _server = logging(dir.path());
    let mut list = command(&["traces", "list", "--data-dir"]);
    let mut child = list.arg(dir.path()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
