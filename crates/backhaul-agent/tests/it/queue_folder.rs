//! The queue as people find it on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backhaul_agent::{OfflineQueue, QueueErrorKind};
use backhaul_store::{Limits, Standing};
use backhaul_testkit::{Call, Fault, errno};

use crate::device::{Device, PATH, all_records, record, run_ids};

fn open(dir: &Path) -> OfflineQueue {
    OfflineQueue::builder(dir).maintenance_thread(false).open().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_record_is_a_file_of_compact_upstream_json_that_only_its_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/queue");
    let queue = open(&path);
    let written = record("run_001");
    queue.enqueue(&written).unwrap();
    let names = names(&path.join("pending"));
    assert_eq!(names.len(), 1);
    assert!(names[0].ends_with("Z_000001_run_001.json"), "{names:?}");
    let file = path.join("pending").join(&names[0]);
    assert_eq!(std::fs::read(&file).unwrap(), written.to_json());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&path), mode(&path.join("pending"))), (0o600, 0o700, 0o700));
}

#[test]
fn a_folder_that_cannot_be_made_is_named_with_the_user() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = OfflineQueue::new(file.join("queue")).unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::Storage);
    let uid = rustix_uid();
    let message = error.to_string();
    assert!(message.contains(file.to_str().unwrap()), "{message}");
    assert!(message.contains(&format!("user id {uid}")), "{message}");
}

#[test]
fn a_folder_without_permission_is_named_with_the_user() {
    let device = Device::new();
    device.faults.add(Fault::new(Call::CreateDir, errno::EACCES));
    let message = device.builder().open().unwrap_err().to_string();
    assert!(message.contains(PATH), "{message}");
    assert!(message.contains(&format!("user id {}", rustix_uid())), "{message}");
    assert!(message.to_lowercase().contains("permission denied"), "{message}");
}

fn rustix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn hostile_run_ids_stay_in_the_folder_and_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue");
    let queue = open(&path);
    let long = "x/".repeat(5000);
    let ids = [
        "",
        ".",
        "..",
        "/",
        "../../../etc/passwd",
        "/etc/passwd",
        "a:b",
        "a/b",
        "a-b",
        "a\\b",
        "nul\0",
        "new\nline",
        "run_2024-01-15T10:30:00.123456+00:00",
        "ü 😀",
        "%2F",
        "~",
        "CON",
        " ",
        "a.json",
        ".hidden",
        "_",
        &long,
    ];
    for id in ids {
        queue.enqueue(&record(id)).unwrap();
    }
    assert_eq!(names(dir.path()), ["queue"]);
    for name in names(&path.join("pending")) {
        let portable = |c: char| c.is_ascii_alphanumeric() || "-_.%~".contains(c);
        assert!(name.len() <= 255 && name.chars().all(portable), "{name}");
    }
    drop(queue);
    let queue = open(&path);
    let read: Vec<String> = all_records(&queue).into_iter().map(|it| it.run_id).collect();
    assert_eq!(read, ids);
    assert_eq!(run_ids(&queue, Standing::Pending), ids);
}

#[test]
fn files_with_the_documents_colon_names_are_read_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let pending = dir.path().join("pending");
    std::fs::create_dir_all(&pending).unwrap();
    for (name, run_id) in [
        ("2024-01-15T10:31:00_run_002.json", "run_002"),
        ("2024-01-15T10:30:00_run_001.json", "run_001"),
    ] {
        std::fs::write(pending.join(name), record(run_id).to_json_pretty()).unwrap();
    }
    let queue = open(dir.path());
    assert_eq!(run_ids(&queue, Standing::Pending), ["run_001", "run_002"]);
    let batch = queue.spool().take(&Limits::default()).unwrap().unwrap();
    assert_eq!(batch.records.len(), 2);
    let wall = batch.records[0].record.stamp.wall.to_string();
    assert_eq!(wall, "2024-01-15T10:30:00Z");
}

#[test]
fn half_written_empty_and_mangled_files_go_to_quarantine_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    for run_id in ["torn", "good", "emptied", "edited"] {
        queue.enqueue(&record(run_id)).unwrap();
    }
    drop(queue);
    let pending = dir.path().join("pending");
    let path = |id: &str| {
        pending.join(names(&pending).into_iter().find(|name| name.contains(id)).unwrap())
    };
    let json = std::fs::read(path("torn")).unwrap();
    std::fs::write(path("torn"), &json[..json.len() / 2]).unwrap();
    std::fs::write(path("emptied"), b"").unwrap();
    std::fs::write(path("edited"), b"{\"run_id\": \"edited\", oops}").unwrap();
    std::fs::write(pending.join("half.json"), b"{\"run_id\": \"ha").unwrap();
    std::fs::write(pending.join("note.txt"), b"not ours").unwrap();

    let queue = open(dir.path());
    let batch = queue.spool().take(&Limits::default()).unwrap().unwrap();
    assert_eq!(batch.records.len(), 1);
    assert_eq!(batch.records[0].record.facts.labels["run_id"], "good");
    drop(batch);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.pending, stats.failed, stats.quarantined), (1, 0, 4));
    assert!(stats.books.balance());
    assert_eq!(names(&dir.path().join("failed")).len(), 0);
    assert!(pending.join("note.txt").exists());
}

#[test]
fn a_hand_edited_record_that_is_still_json_goes_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    queue.enqueue(&record("run_001")).unwrap();
    let file = dir.path().join("pending").join(&names(&dir.path().join("pending"))[0]);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("21.5", "22.5")).unwrap();
    let (_, record) = queue.get("normal/1".parse().unwrap()).unwrap();
    assert_eq!(record.tool_calls[0].output["celsius"].to_string(), "22.5");
}

#[test]
fn json_that_is_no_run_record_is_told_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("pending")).unwrap();
    std::fs::write(dir.path().join("pending/x.json"), b"{\"hello\": 1}").unwrap();
    let queue = open(dir.path());
    let id = queue.peek().unwrap().unwrap().id;
    let error = queue.get(id.into()).unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::NotARecord);
    assert!(error.to_string().contains("`run_id`"), "{error}");
}
