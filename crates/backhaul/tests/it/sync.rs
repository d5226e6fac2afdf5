//! From one hub's store to another's: by hand, and by itself.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, runs, stored, stored_bodies, wait_until};

fn sync(data_dir: &std::path::Path, url: &str) -> (i32, Value, String) {
    let (code, stdout, stderr) = backhaul(&["sync", "--json", "--runs-url", url], data_dir);
    let json = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code} {stdout} {stderr}"));
    (code, json, stderr)
}

#[test]
fn delivers_everything_once() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(from.path());
    assert_eq!(hub.post(&runs(1..=120)).receipt(), (120, 0));
    hub.terminate();
    let other = Hub::start(to.path());
    // The address of the hub, and that of its intake, are the same to the command.
    for (url, synced) in [
        (format!("http://{}", other.address), 120),
        (format!("http://{}/v1/runs", other.address), 0),
    ] {
        let (code, report, stderr) = sync(from.path(), &url);
        assert_eq!(code, 0, "{report} {stderr}");
        assert_eq!((&report["synced"], &report["remaining"]), (&synced.into(), &0.into()));
        assert_eq!(report["blocked_by"], Value::Null);
    }
    assert_eq!(stored_bodies(to.path()), stored_bodies(from.path()));
    let (_, stdout, _) = backhaul(&["status", "--json"], from.path());
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["spools"]["runs"]["synced"], 120);
    assert_eq!(status["spools"]["runs"]["books"]["balance"], true);
}

#[test]
fn what_cannot_be_delivered_is_left_behind_and_said() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    hub.terminate();
    let began = Instant::now();
    let (code, report, _) = sync(dir.path(), "http://127.0.0.1:9");
    assert_eq!((code, &report["remaining"]), (1, &3.into()));
    assert_eq!(report["blocked_by"], "offline");
    assert!(began.elapsed() < Duration::from_secs(10));
    let (code, stdout, _) = backhaul(&["sync", "--runs-url", "http://127.0.0.1:9"], dir.path());
    assert_eq!(code, 1);
    assert!(stdout.starts_with("runs: 0 delivered (0 B), 3 remaining: "), "{stdout}");
}

#[test]
fn beside_a_hub_that_delivers_to_nobody_it_delivers() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(from.path());
    let other = Hub::start(to.path());
    for round in 0..2 {
        assert_eq!(hub.post(&runs(round * 3 + 1..=round * 3 + 3)).receipt(), (3, 0));
        let (code, report, _) = sync(from.path(), &format!("http://{}", other.address));
        assert_eq!((code, &report["synced"]), (0, &3.into()), "{report}");
    }
    // The hub goes on meanwhile and afterwards.
    assert_eq!(hub.post(&runs(7..=9)).receipt(), (3, 0));
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
}

#[test]
fn beside_a_hub_that_forwards_it_has_that_one_deliver() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let other = Hub::start(to.path());
    let address = other.address;
    let url = format!("http://{address}");
    other.kill();
    let hub = Hub::start_with(from.path(), &["--runs-url", &url]);
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    let (code, report, _) = sync(from.path(), &format!("{url}/v1/runs"));
    assert_eq!((code, &report["remaining"]), (1, &3.into()), "{report}");
    assert_eq!(report["blocked_by"], "offline");
    // It goes where that one goes.
    let (code, stdout, stderr) = backhaul(&["sync", "--runs-url", "http://else:1"], from.path());
    assert_eq!((code, stdout.as_str()), (2, ""));
    let process = format!("({})", hub.process());
    assert!(stderr.contains(&process) && stderr.contains(&url), "{stderr}");
    let _other = Hub::start_at(to.path(), address);
    // Without saying where to: by hand, or by itself meanwhile, but not both.
    let (code, stdout, stderr) = backhaul(&["sync", "--json"], from.path());
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["remaining"]), (0, &0.into()), "{report} {stderr}");
    assert_eq!(stored_bodies(to.path()), stored_bodies(from.path()));
}

#[test]
fn a_key_is_shown_to_the_hub() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(from.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    hub.terminate();
    let other = Hub::try_start(command(&["serve"]).env("BACKHAUL_TOKEN", "s3cret"), to.path());
    let url = format!("http://{}", other.address);
    let (code, report, _) = sync(from.path(), &url);
    assert_eq!((code, &report["blocked_by"]), (1, &"refused".into()));
    assert_eq!((&report["failed"], &report["remaining"]), (&0.into(), &3.into()));
    let output = command(&["sync", "--runs-url", &url, "--data-dir"])
        .arg(from.path())
        .env("BACKHAUL_API_KEY", "s3cret")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stored(to.path()).len(), 3);
}

#[test]
fn usage_is_checked_before_anything_is_touched() {
    let dir = tempdir().unwrap();
    let (code, _, stderr) = backhaul(&["sync"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no spool in"), "{stderr}");
    let hub = Hub::start(dir.path());
    hub.terminate();
    let (code, _, stderr) = backhaul(&["sync"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("--runs-url"), "{stderr}");
    let (code, _, stderr) = backhaul(&["sync", "--runs-url", "ftp://hub"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("ftp://hub"), "{stderr}");
    for url in ["", "hub:7117"] {
        let (code, _, stderr) = backhaul(&["sync", "--runs-url", url], dir.path());
        assert_eq!(code, 2);
        assert!(stderr.contains("--runs-url") && stderr.contains("http://host:port"), "{stderr}");
    }
}

#[test]
fn an_empty_address_in_the_environment_is_none() {
    let dir = tempdir().unwrap();
    let hub = Hub::try_start(command(&["serve"]).env("BACKHAUL_RUNS_URL", ""), dir.path());
    assert_eq!(hub.post(&runs(1..=1)).receipt(), (1, 0));
    hub.terminate();
    let mut sync = command(&["sync", "--data-dir"]);
    let output = sync.arg(dir.path()).env("BACKHAUL_RUNS_URL", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("where to?"));
}

#[test]
fn damage_that_is_found_while_delivering_is_no_success() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(from.path());
    for number in 1..=3 {
        assert_eq!(hub.post(&runs([number])).receipt(), (1, 0));
    }
    assert!(hub.terminate().1);
    let mut files = std::fs::read_dir(from.path().join("runs")).unwrap();
    let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "gz");
    let file = files.find_map(|file| Some(file.unwrap().path()).filter(is_segment)).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // Each of the three has a page of its own, after the segment's first.
    bytes[8192 + 40..8192 + 80].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&file, bytes).unwrap();
    let other = Hub::start(to.path());
    let (code, report, stderr) = sync(from.path(), &format!("http://{}", other.address));
    assert_eq!(code, 1, "{report} {stderr}");
    assert_eq!((&report["damaged"], &report["synced"]), (&1.into(), &2.into()), "{report}");
    assert_eq!((&report["expired"], &report["evicted"]), (&0.into(), &0.into()));
    assert_eq!(report["trouble"], Value::Null);
}

#[test]
fn a_hub_forwards_what_it_stores_also_after_an_outage() {
    let (near, far) = (tempdir().unwrap(), tempdir().unwrap());
    let upstream = Hub::start(far.path());
    let address = upstream.address;
    let hub = Hub::start_with(near.path(), &["--runs-url", &format!("http://{address}")]);
    assert_eq!(hub.offer(1, "1-5", &runs(1..=5)).receipt(), (5, 0));
    wait_until(|| stored(far.path()).len() == 5);
    upstream.kill();
    assert_eq!(hub.offer(6, "6-10", &runs(6..=10)).receipt(), (5, 0));
    let upstream = Hub::start_at(far.path(), address);
    wait_until(|| stored(far.path()).len() == 10);
    drop(upstream);
    assert_eq!(stored_bodies(far.path()), stored_bodies(near.path()));
}
