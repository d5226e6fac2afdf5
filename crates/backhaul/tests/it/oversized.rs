//! A record that the data cap never holds, from one hub to another, each a process of its own.

use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, noise, run, stored_bodies};

/// `backhaul sync` with a cap of a megabyte: its exit code and what it says.
fn sync(data_dir: &Path, hub: &Hub, oversized: &str) -> (i32, Value) {
    let url = format!("http://{}", hub.address);
    let output = command(&["sync", "--json", "--runs-url", &url, "--data-dir"])
        .arg(data_dir)
        .envs([("BACKHAUL_DAILY_LIMIT_MB", "1"), ("BACKHAUL_OVERSIZED", oversized)])
        .output()
        .unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_record_above_the_cap_is_told_of_everywhere_and_its_summary_is_at_the_hub() {
    let (near, far) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(near.path());
    let large = format!(
        r#"{{"run_id": "large", "success": false, "error": "stuck", "metadata": {{"site": "north"}},
            "tool_calls": [{{"tool_id": "camera", "input": {{}}, "output": {{"noise": "{}"}}}}]}}"#,
        noise(1, 3_000_000)
    );
    assert_eq!(hub.post(&large).receipt(), (1, 0));
    assert_eq!(hub.post(&run(2)).receipt(), (1, 0));
    assert!(hub.terminate().1);

    let hub = Hub::start(far.path());
    let (code, said) = sync(near.path(), &hub, "summary");
    assert_eq!((code, &said["synced"], &said["remaining"]), (1, &1.into(), &1.into()));
    assert_eq!(
        said["reason"],
        "1 records wait for their next try, 1 of them for a larger data cap"
    );
    // It has its time: nothing goes twice.
    assert_eq!(sync(near.path(), &hub, "summary").0, 1);
    let bodies = stored_bodies(far.path());
    let summary = bodies.iter().find(|body| body.contains("large-summary")).unwrap();
    assert_eq!(bodies.len(), 2);
    let summary: Value = serde_json::from_str(summary).unwrap();
    assert_eq!((&summary["success"], &summary["error"]), (&false.into(), &"stuck".into()));
    assert_eq!(summary["metadata"]["site"], "north");
    let of = &summary["metadata"]["summary_of"];
    assert_eq!((&of["run_id"], &of["bytes"]), (&"large".into(), &large.len().into()));

    let (_, said, _) = backhaul(&["status", "--json"], near.path());
    let said: Value = serde_json::from_str(&said).unwrap();
    let runs = &said["spools"]["runs"];
    assert_eq!((&runs["oversized"], &runs["summarized"]), (&1.into(), &1.into()));
    assert_eq!(runs["books"]["balance"], true);
    let (_, said, _) = backhaul(&["status"], near.path());
    assert!(said.contains("TOO LARGE: 1 waiting records"), "{said}");
    let (_, said, _) = backhaul(&["queue", "list"], near.path());
    assert!(said.contains("the data cap ever allows; its summary was delivered"), "{said}");
}
