//! Damage on disk: seen, planned and mended by commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Hub, command, runs};

fn spool(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let output = command(&["spool"]).args(arguments).arg(dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn check(dir: &Path) -> (i32, Value) {
    let (code, stdout, stderr) = spool(&["check", "--json"], dir);
    (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}")))
}

/// Spoils the record with this in it.
fn spoil(data_dir: &Path, text: &str) -> PathBuf {
    let files = fs::read_dir(data_dir.join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments = files.filter(|path| path.is_file());
    let (path, mut bytes, at) = segments
        .find_map(|path| {
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(text.len()).position(|it| it == text.as_bytes())?;
            Some((path, bytes, at))
        })
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_repair_is_planned_then_done_after_a_copy_was_made() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    (0..6).for_each(|number| _ = hub.post(&runs([number])).receipt());
    assert_eq!(check(dir.path()).0, 0);
    hub.kill();
    let file = spoil(dir.path(), "\"run_3\"");
    let spoiled = fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();

    let (code, said) = check(dir.path());
    assert_eq!((code, &said["sound"]), (1, &Value::Bool(false)));
    let finding = &said["spools"]["runs"]["findings"][0];
    assert_eq!((&finding["path"], &finding["lost"]), (&name.into(), &1.into()));
    assert!(finding["offset"].as_u64().unwrap() >= 4_096);
    assert!(finding["found"].as_str().unwrap().contains("normal/4"), "{finding}");

    let (code, stdout, stderr) = spool(&["repair"], dir.path());
    assert_eq!(code, 1);
    assert!(stdout.contains("would be done: the file is written anew"), "{stdout}");
    assert!(stderr.contains("nothing was changed"), "{stderr}");
    assert!(fs::read(&file).unwrap() == spoiled);

    let backup = dir.path().join("copy");
    let apply = ["repair", "--apply", "--backup", backup.to_str().unwrap()];
    let (code, stdout, stderr) = spool(&apply, dir.path());
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("5 records") && stdout.contains("sound"), "{stdout}");
    assert!(fs::read(backup.join("runs").join(name)).unwrap() == spoiled);
    assert_eq!(check(dir.path()).0, 0);
    // Other programs read it again.
    let read = Command::new("zcat").arg(&file).output().unwrap();
    assert!(read.status.success());
    assert_eq!(read.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 5);
    let (code, _, stderr) = spool(&apply, dir.path());
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_running_hub_mends_its_spool_and_goes_on() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    (0..6).for_each(|number| _ = hub.post(&runs([number])).receipt());
    spoil(dir.path(), "\"run_3\"");
    assert_eq!(check(dir.path()).0, 1);
    let (code, stdout, stderr) = spool(&["repair", "--apply"], dir.path());
    assert_eq!(code, 0, "{stdout}{stderr}");
    let copies = fs::read_dir(dir.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("runs.before-repair-")
    });
    assert_eq!(copies.count(), 1);
    assert_eq!(hub.post(&runs([6])).receipt(), (1, 0));
    assert_eq!(check(dir.path()).0, 0);
}

#[test]
fn what_is_no_spool_is_said() {
    let dir = tempdir().unwrap();
    let (code, _, stderr) = spool(&["check"], &dir.path().join("nothing"));
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no data dir"), "{stderr}");
    fs::create_dir_all(dir.path().join("runs")).unwrap();
    fs::write(dir.path().join("runs/20260101_0000.jsonl.gz"), "x").unwrap();
    let (code, _, stderr) = spool(&["check"], dir.path());
    assert_eq!(code, 1);
    assert!(stderr.contains("state/identity.json"), "{stderr}");
}
