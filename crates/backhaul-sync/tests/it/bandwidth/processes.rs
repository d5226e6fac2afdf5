//! Real processes on a real folder.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use backhaul_store::{OsDisk, SystemClock};
use backhaul_sync::{BandwidthManager, BandwidthOptions};
use backhaul_testkit::said_by_a_fork;

use super::support::{Kernel, MB, send, used};

const FOLDER: &str = "BACKHAUL_CAP_CHILD_FOLDER";
const PIECE: u64 = 10_000;
const LIMIT_MB: u64 = 20;

/// Its clock is never known, so that midnight makes no difference to the test.
fn open(folder: &Path) -> BandwidthManager {
    let options =
        BandwidthOptions { daily_limit_mb: Some(LIMIT_MB), ..BandwidthOptions::default() };
    let (disk, clock) = (Arc::new(OsDisk), Arc::new(SystemClock::new()));
    BandwidthManager::new_on(folder, options, disk, clock, Arc::new(Kernel::default())).unwrap()
}

/// NOT A TEST. The test below starts this very program again with [`FOLDER`] set. It
/// sends until it is denied, and says so after each piece.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let budget = open(Path::new(&folder));
    std::io::stdout().write_all(b"\n").unwrap();
    while send(&budget, PIECE).is_ok() {
        std::io::stdout().write_all(b"sent\n").unwrap();
    }
}

fn start(folder: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bandwidth::processes::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn count(text: &str) -> u64 {
    PIECE * text.lines().filter(|line| *line == "sent").count() as u64
}

#[test]
fn processes_that_run_and_are_killed_share_one_cap() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data/bandwidth");
    let (mut killed, mut output) = start(&dir);
    let mut text = String::new();
    while count(&text) == 0 {
        assert!(output.read_line(&mut text).unwrap() > 0, "it ended by itself");
    }
    let others: Vec<_> = (0..3).map(|_| start(&dir)).collect();
    killed.kill().unwrap();
    killed.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    let mut sent = count(&text);
    for (mut process, mut output) in others {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert!(process.wait().unwrap().success());
        sent += count(&text);
    }
    let counted = used(&open(&dir));
    println!("{sent} bytes sent, {counted} counted");
    assert!(sent <= counted && counted <= LIMIT_MB * MB, "{sent} sent, {counted} counted");
    // What the killed one had taken ahead, and what each holds at the end that others want.
    assert!(sent >= LIMIT_MB * MB - 600_000, "{sent}");
}

#[test]
fn a_forked_child_has_nothing_of_what_its_parent_took() {
    let folder = tempfile::tempdir().unwrap();
    let budget = open(folder.path());
    send(&budget, 1).unwrap();
    // As much as the parent has left without asking the disk.
    assert_eq!(said_by_a_fork(|| format!("{:?}", send(&budget, 50_000))), "Ok(())");
    send(&budget, 50_000).unwrap();
    // The child ended without a word: all that it took counts.
    let counted = used(&budget);
    assert!((100_001..=100_001 + 64_000).contains(&counted), "{counted}");
    drop(budget);
    assert!(used(&open(folder.path())) >= 100_001);
}
