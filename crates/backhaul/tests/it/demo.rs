//! `backhaul demo` end to end: real processes, an outage, a kill, a crash.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::command;

fn demo(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let folder = tempdir().unwrap();
    let output =
        command(&["demo", "--json"]).args(arguments).env("TMPDIR", folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let result = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(processes_in(folder.path()), [""; 0]);
    (output.status.code(), result, stderr)
}

/// The command lines that name a folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    let began = Instant::now();
    let (code, result, stderr) = demo(&[]);
    assert_eq!(code, Some(0), "{result} {stderr}");
    let count = |name: &str| result[name].as_u64().unwrap_or_else(|| panic!("{name}: {result}"));
    assert_eq!((count("lost"), count("duplicates"), count("failed")), (0, 0, 0), "{result}");
    assert!(count("written") > 0 && count("delivered") == count("written"), "{result}");
    assert!(count("queued") > 0 && count("interrupted") >= 1, "{result}");
    // The crash between storing and answering made the agent send again.
    assert!(count("resent") > 0, "{result}");
    // Each run has one message, whether there was a network for it or not; the runs that were
    // cut short went on.
    assert!(count("messages") > 0, "{result}");
    assert!(count("messages") >= count("written") - count("interrupted"), "{result}");
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_hub_that_does_not_deduplicate_is_found_out() {
    let (code, result, stderr) = demo(&["--sabotage-dedupe"]);
    assert_eq!(code, Some(1), "{result} {stderr}");
    assert!(result["duplicates"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(result["lost"], 0);
    assert!(stderr.contains("everything is kept in"), "{stderr}");
}

#[test]
fn its_processes_end_with_it_even_by_kill() {
    let folder = tempdir().unwrap();
    let mut demo = command(&["demo", "--json"])
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until("both are there", || processes_in(folder.path()).len() == 2);
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait_until("both are gone", || processes_in(folder.path()).is_empty());
}

#[test]
fn an_interrupt_ends_it_and_says_where_everything_is() {
    let folder = tempdir().unwrap();
    let demo = command(&["demo"])
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("both are there", || processes_in(folder.path()).len() == 2);
    let pid = demo.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = demo.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("everything is kept in"), "{stderr}");
    wait_until("both are gone", || processes_in(folder.path()).is_empty());
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
