//! What is in the folder, for how long, and for whom.

use backhaul_agent::{Context, ContextPatch};
use backhaul_runtime::RunStatus;
use backhaul_runtime::persistence::{
    ContextPersistence, PersistenceErrorKind, PersistenceOptions, Recovery, RunState,
};
use backhaul_testkit::SimDisk;
use serde_json::{Value, json};

use super::support::open_with;

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_is_what_upstream_reads() {
    let dir = tempfile::tempdir().unwrap();
    let persistence = ContextPersistence::new(dir.path()).unwrap();
    let state = RunState::new("run_2024-01-15T10:30:00+00:00", "sensors", Context::new())
        .pending(["read".to_owned(), "act".to_owned()]);
    let mut run = persistence.begin(state).unwrap();
    for n in 0..10 {
        run.apply(ContextPatch::set("n", n)).unwrap();
    }
    let checkpoint = names(dir.path()).into_iter().find(|name| name.ends_with(".json")).unwrap();
    let bytes = std::fs::read(dir.path().join(checkpoint)).unwrap();
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["run_id"], "run_2024-01-15T10:30:00+00:00");
    assert_eq!(value["status"], "running");
    assert_eq!(value["pending_nodes"], json!(["read", "act"]));
    assert_eq!(value["context"]["data"], json!({"n": 9}));
    assert_eq!(value["context"]["patch_history"].as_array().unwrap().len(), 10);
    let keys: Vec<_> = value.as_object().unwrap().keys().take(9).map(String::as_str).collect();
    let upstream = ["run_id", "dag_name", "status", "completed_nodes", "pending_nodes", "context"];
    assert_eq!(keys[..6], upstream);
    assert_eq!(keys[6..], ["error", "failed_node", "fencing_token"]);
}

#[test]
fn upstream_checkpoints_are_read_where_there_is_nothing_newer() {
    let dir = tempfile::tempdir().unwrap();
    let persistence = ContextPersistence::new(dir.path()).unwrap();
    let upstream = json!({
        "run_id": "run_a", "dag_name": "sensors", "status": "failed",
        "completed_nodes": ["read"], "pending_nodes": ["act"],
        "context": {"data": {"celsius": 21.5}, "patch_history": []},
        "error": "boom", "failed_node": "act", "fencing_token": 3,
    });
    let text = serde_json::to_string_pretty(&upstream).unwrap();
    std::fs::write(dir.path().join("run_a.json"), text).unwrap();
    std::fs::write(dir.path().join("notes.json"), "[1, 2]").unwrap();
    std::fs::write(dir.path().join("run_a.json.lock"), "").unwrap();
    let theirs = Context::new().set("celsius", 21.5);
    assert_eq!(persistence.recover_latest().unwrap(), Some(theirs.clone()));
    let other = Recovery::any().dag("other");
    assert_eq!(persistence.recover_latest_of(&other).unwrap(), None);
    let ours = Context::new().set("mine", true);
    drop(persistence.begin(RunState::new("run_b", "mine", ours.clone())).unwrap());
    assert_eq!(persistence.recover_latest().unwrap(), Some(ours));
    let sensors = Recovery::any().dag("sensors");
    assert_eq!(persistence.recover_latest_of(&sensors).unwrap(), Some(theirs));
}

#[test]
fn the_latest_context_is_that_of_the_newest_run_whatever_became_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let persistence = ContextPersistence::new(dir.path()).unwrap();
    for (run_id, dag, status) in [
        ("run_1", "a", RunStatus::Completed),
        ("run_2", "b", RunStatus::Failed),
        ("run_3", "a", RunStatus::Cancelled),
    ] {
        let mut run = persistence.begin(RunState::new(run_id, dag, Context::new())).unwrap();
        run.apply(ContextPatch::set("last", run_id)).unwrap();
        run.end(status, None).unwrap();
    }
    let last = |which: &Recovery| {
        let found = persistence.recover_latest_of(which).unwrap();
        found.map(|context| context.get("last").unwrap())
    };
    assert_eq!(last(&Recovery::any()), Some(json!("run_3")));
    assert_eq!(last(&Recovery::any().dag("b")), Some(json!("run_2")));
    assert_eq!(last(&Recovery::any().run("run_1")), Some(json!("run_1")));
    assert_eq!(last(&Recovery::any().run("run_1").dag("b")), None);
    // The one that failed can go on; the one that was cancelled was told to stop.
    let resumable = persistence.recover_run(Recovery::any()).unwrap().unwrap();
    assert_eq!(resumable.run_id, "run_2");
    let error = persistence.resume("run_3").unwrap_err();
    assert_eq!(error.kind(), PersistenceErrorKind::NotResumable);
    assert!(error.to_string().contains("run \"run_3\" is cancelled: only one that"), "{error}");
    let error = persistence.resume("run_9").unwrap_err();
    assert_eq!(error.kind(), PersistenceErrorKind::NotFound);
}

#[test]
fn a_run_belongs_to_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let persistence = ContextPersistence::new(dir.path()).unwrap();
    let other = ContextPersistence::new(dir.path()).unwrap();
    let begin = |at: &ContextPersistence| at.begin(RunState::new("run_1", "a", Context::new()));
    let run = begin(&persistence).unwrap();
    for result in [begin(&other), other.resume("run_1"), begin(&persistence)] {
        assert_eq!(result.unwrap_err().kind(), PersistenceErrorKind::Busy);
    }
    assert_eq!(other.recover_run(Recovery::any()).unwrap(), None);
    assert!(other.recover_latest().unwrap().is_some());
    drop(run);
    assert!(other.recover_run(Recovery::any()).unwrap().is_some());
    let mut run = other.resume("run_1").unwrap();
    run.apply(ContextPatch::set("n", 1)).unwrap();
    drop(run);
    // Begun anew, nothing of before is in it.
    let run = begin(&persistence).unwrap();
    assert_eq!(run.context(), &Context::new());
    drop(run);
    assert_eq!(persistence.recover_latest().unwrap(), Some(Context::new()));
}

#[test]
fn the_folder_stays_small_over_months_of_runs() {
    let disk = SimDisk::new();
    let options = PersistenceOptions { keep_interrupted: 7, ..PersistenceOptions::default() };
    let persistence = open_with(&disk, options);
    for minute in 0..300 {
        let state = RunState::new(format!("run_{minute}"), "sensors", Context::new());
        let mut run = persistence.begin(state).unwrap();
        for n in 0..25 {
            run.apply(ContextPatch::set("n", n)).unwrap();
        }
        if minute % 3 > 0 {
            run.end(RunStatus::Completed, None).unwrap();
        }
    }
    let paths = disk.paths().into_iter().map(|path| path.to_string_lossy().into_owned());
    let names: Vec<_> = paths.filter(|path| path.contains("_run_")).collect();
    let runs = |suffix: &str| names.iter().filter(|name| name.ends_with(suffix)).count();
    assert_eq!(runs(".ended.jsonl"), 5, "{names:?}");
    assert_eq!(runs(".jsonl") - runs(".ended.jsonl"), 7, "{names:?}");
    assert!(names.len() <= 12 * 4, "{names:?}");
}

#[test]
fn the_history_of_a_context_that_is_carried_on_for_ever_stays_short() {
    let disk = SimDisk::new();
    let options = PersistenceOptions { history_limit: 30, ..PersistenceOptions::default() };
    let persistence = open_with(&disk, options);
    for round in 0..20 {
        let context = persistence.recover_latest().unwrap().unwrap_or_default();
        let mut run = persistence.begin(RunState::new(format!("r{round}"), "d", context)).unwrap();
        for n in 0..15 {
            run.apply(ContextPatch::set("n", n)).unwrap();
        }
        assert!(run.context().get_timeline().len() <= 30 + 10);
        run.end(RunStatus::Completed, None).unwrap();
    }
    let last = persistence.recover_latest().unwrap().unwrap();
    assert_eq!(last.get_timeline().len(), 30);
    assert_eq!(last.to_value(), json!({"n": 14}));
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |options| ContextPersistence::open(dir.path(), options).unwrap_err().to_string();
    let options = PersistenceOptions { checkpoint_interval: 0, ..PersistenceOptions::default() };
    assert_eq!(open(options), "checkpoint_interval is 0: expected at least 1");
    let options = PersistenceOptions { keep: 1, ..PersistenceOptions::default() };
    assert_eq!(open(options), "keep is 1: expected at least 2");
}
