//! Calls of tools, as the commands show and decide them: beside an agent, and without one.

use std::path::Path;
use std::sync::Arc;

use backhaul::config::OutageSetting;
use backhaul::offline::{ControlSocket, OutageSwitch, ToolQueue};
use backhaul::tools::{IdempotencyKey, ToolError, ToolRegistry, ToolRequest, tool};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{backhaul, wait_until};

/// Opens a valve, once. What comes of it is not heard.
#[tool(offline_policy = queue, on_unknown = ask_person)]
async fn open_valve(number: u32, key: IdempotencyKey) -> Result<(), ToolError> {
    Err(ToolError::unclear(format!("valve {number} does not answer to {key}")))
}

fn queue(data_dir: &Path) -> ToolQueue {
    let tools = ToolRegistry::new().with(open_valve::tool()).unwrap();
    ToolQueue::new(data_dir.join("tools"), tools).unwrap()
}

fn request(number: u32) -> ToolRequest {
    let arguments = json!({"number": number}).as_object().unwrap().clone();
    ToolRequest::new("open_valve", arguments, &format!("run_1/open/{number}")).run("run_1")
}

/// Leaves a call behind of which nobody knows whether it was done.
pub(crate) fn unknown_call(data_dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = queue(data_dir);
        queue.enqueue(request(7)).unwrap();
        queue.drain().await;
    });
}

fn list(data_dir: &Path) -> Vec<Value> {
    let (code, lines, _) = backhaul(&["queue", "list", "--spool", "tools", "--json"], data_dir);
    assert_eq!(code, 0);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_knows_of_are_shown_and_decided_beside_the_agent() {
    let dir = tempdir().unwrap();
    let queue = queue(dir.path());
    let outage = Arc::new(OutageSwitch::of(dir.path(), OutageSetting::Off));
    queue.start_processor(|_| {}, |_| {}).unwrap();
    let control = ControlSocket::serve_tools(&queue, outage);
    queue.enqueue(request(7)).unwrap();
    let data_dir = dir.path().to_owned();
    let decided = tokio::task::spawn_blocking(move || {
        wait_until(|| list(&data_dir).iter().any(|call| call["state"] == "unknown"));
        let call = list(&data_dir).remove(0);
        assert_eq!(call["run_id"], "run_1");
        let reason = call["last_error"].as_str().unwrap();
        assert!(reason.starts_with("the answer was lost: valve 7 does not answer to "), "{reason}");
        wait_until(|| data_dir.join("tools/state/control.sock").exists());
        let id = call["id"].as_str().unwrap();
        let (code, said, _) = backhaul(&["queue", "show", id, "--spool", "tools"], &data_dir);
        assert_eq!(code, 0);
        assert!(said.contains(r#""arguments":{"number":7}"#), "{said}");
        let (code, said, error) = backhaul(&["queue", "done", id], &data_dir);
        assert_eq!((code, said.trim()), (0, "1 records count as done"), "{error}");
        let (code, _, said) = backhaul(&["queue", "done", id], &data_dir);
        assert_eq!(code, 1);
        assert!(said.contains("it waits for nobody to say that it was done"), "{said}");
    });
    decided.await.unwrap();
    assert_eq!(queue.status().unwrap().books.delivered, 1);
    queue.stop(std::time::Duration::from_secs(5)).await;
    control.stop().await;
}

#[tokio::test]
async fn a_resting_queue_is_decided_by_the_commands_and_told_of_in_the_status() {
    let dir = tempdir().unwrap();
    let waiting = queue(dir.path());
    for number in 1..=3 {
        waiting.enqueue(request(number)).unwrap();
    }
    waiting.drain().await;
    drop(waiting);
    let unknown = list(dir.path()).remove(0);
    assert_eq!((&unknown["state"], &unknown["stream"]), (&json!("unknown"), &json!("open_valve")));
    let id = unknown["id"].as_str().unwrap();
    let (_, status, told) = backhaul(&["status"], dir.path());
    assert!(status.contains("UNKNOWN: nobody knows of 1 calls"), "{status} {told}");
    let (_, findings, _) = backhaul(&["doctor"], dir.path());
    assert!(findings.contains("nobody knows of 1 calls"), "{findings}");
    // It is to be done again, and nobody is asked about the others.
    let (code, _, error) = backhaul(&["queue", "retry", id, "--spool", "tools"], dir.path());
    assert_eq!(code, 0, "{error}");
    assert_eq!(list(dir.path())[0]["state"], "pending");
    let (code, _, error) = backhaul(&["queue", "drop", id, "--spool", "tools"], dir.path());
    assert_eq!(code, 0, "{error}");
    let (_, status, _) = backhaul(&["status", "--json"], dir.path());
    let status: Value = serde_json::from_str(&status).unwrap();
    let books = &status["spools"]["tools"]["books"];
    assert_eq!((&books["dropped"], &books["pending"]), (&json!(1), &json!(2)), "{status}");
    let runs = ["queue", "done", "normal/2", "--spool", "runs"];
    let (code, _, error) = backhaul(&runs, dir.path());
    assert_eq!(code, 2);
    assert!(error.contains("there is no spool runs in"), "{error}");
}
