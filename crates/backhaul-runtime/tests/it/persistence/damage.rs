//! Bits that flip, files that are cut or missing, disks that refuse.

use std::path::PathBuf;

use backhaul_agent::{Context, ContextPatch};
use backhaul_runtime::persistence::{
    NodeRecord, PersistenceErrorKind, Recovery, RunState, RunStep,
};
use backhaul_testkit::errno::{EIO, ENOSPC};
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, Prng, SimDisk};
use serde_json::json;

use super::support::{DIR, a_run, completed, open, steps};

/// A run of some checkpoints that goes on, and what it is at.
fn a_long_run(disk: &SimDisk) -> RunState {
    let mut random = Prng::new(7);
    let mut run = open(disk).begin(a_run("run_001")).unwrap();
    for number in 0..30 {
        let _ = run.take(&steps(&mut random, number));
    }
    run.state().clone()
}

fn files(disk: &SimDisk, suffix: &str) -> Vec<PathBuf> {
    let mut paths = disk.paths();
    paths.retain(|path| {
        path.to_string_lossy().ends_with(suffix) && path.parent() == Some(DIR.as_ref())
    });
    paths.sort();
    paths
}

#[test]
fn a_damaged_checkpoint_is_put_aside_and_the_one_before_and_the_journal_give_the_same() {
    let disk = SimDisk::new();
    let state = a_long_run(&disk);
    disk.kill_process();
    let all = files(&disk, ".json");
    assert_eq!(all.len(), 5, "{all:?}");
    for damaged in (1..=5).map(|count| &all[5 - count]) {
        let len = disk.read_file(damaged).unwrap().len() as u64;
        disk.flip_bit(damaged, len / 2, 0x10).unwrap();
        let recovered = open(&disk).recover_run(Recovery::any()).unwrap();
        assert_eq!(recovered.as_ref(), Some(&state));
        let name = damaged.file_name().unwrap();
        assert!(disk.read_file(PathBuf::from(DIR).join("quarantine").join(name)).is_ok());
    }
}

#[test]
fn a_flipped_bit_of_a_journal_loses_what_stands_after_it_and_nothing_is_made_up() {
    let disk = SimDisk::new();
    let state = a_long_run(&disk);
    disk.kill_process();
    let journal = files(&disk, ".jsonl").pop().unwrap();
    let whole = disk.read_file(&journal).unwrap();
    let mut random = Prng::new(3);
    for _ in 0..300 {
        let offset = random.index(whole.len());
        disk.flip_bit(&journal, offset as u64, 1 << random.below(8)).unwrap();
        let recovered = open(&disk).recover_run(Recovery::any()).unwrap().unwrap();
        assert!(recovered.nodes.iter().all(|node| state.nodes.contains(node)), "{offset}");
        disk.write_file(&journal, &whole).unwrap();
    }
    assert_eq!(open(&disk).recover_run(Recovery::any()).unwrap(), Some(state));
}

#[test]
fn a_journal_may_end_at_any_byte() {
    let disk = SimDisk::new();
    let mut run = open(&disk).begin(a_run("run_001")).unwrap();
    let mut contexts = vec![run.context().clone()];
    for number in 0..3 {
        run.apply(ContextPatch::set("n", number)).unwrap();
        contexts.push(run.context().clone());
    }
    drop(run);
    let journal = files(&disk, ".jsonl").pop().unwrap();
    let whole = disk.read_file(&journal).unwrap();
    let mut seen = 0;
    let text_ends = whole.iter().rposition(|byte| *byte != b'\n').unwrap() + 2;
    for len in (0..text_ends).chain([whole.len()]) {
        disk.write_file(&journal, &whole[..len]).unwrap();
        let Some(found) = open(&disk).recover_latest().unwrap() else {
            assert_eq!(seen, 0, "{len}");
            continue;
        };
        let at = contexts.iter().position(|context| *context == found).unwrap();
        assert!(at >= seen, "{len}");
        seen = at;
    }
    assert_eq!(seen, 3);
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name_and_left_alone() {
    let disk = SimDisk::new();
    let before = open(&disk).begin(a_run("before")).unwrap().state().clone();
    a_long_run(&disk);
    disk.kill_process();
    let newest = files(&disk, ".json").pop().unwrap();
    let text = String::from_utf8(disk.read_file(&newest).unwrap()).unwrap();
    let newer = text.replace("\"backhaul\":{\"format\":1", "\"backhaul\":{\"format\":9");
    disk.write_file(&newest, newer.as_bytes()).unwrap();
    let error = open(&disk).recover_latest().unwrap_err();
    assert_eq!(error.kind(), PersistenceErrorKind::Newer);
    assert!(error.to_string().contains("is of format 9, which a newer version wrote"), "{error}");
    assert_eq!(disk.read_file(&newest).unwrap(), newer.as_bytes());
    // A run that nobody asks for is not looked at.
    let which = Recovery::any().run("before");
    assert_eq!(open(&disk).recover_run(which.clone()).unwrap(), Some(before.clone()));
    assert_eq!(open(&disk).recover_latest_of(&which).unwrap(), Some(before.context));
}

#[test]
fn a_disk_that_refuses_is_told_of_and_what_it_missed_is_written_once_it_takes_something() {
    for (call, errno) in [(Call::Write, ENOSPC), (Call::Flush, EIO)] {
        let sim = SimDisk::new();
        let faults = Faults::new();
        let disk = FaultyDisk::new(sim.clone(), faults.clone());
        let persistence = open(&disk);
        let mut run = persistence.begin(a_run("run_001")).unwrap();
        run.apply(ContextPatch::set("before", 1)).unwrap();
        faults.add(Fault::new(call, errno));
        let error = run.apply(ContextPatch::set("meanwhile", 2)).unwrap_err();
        assert_eq!(error.kind(), PersistenceErrorKind::Storage);
        assert_eq!(run.context().get("meanwhile"), Some(json!(2)));
        run.apply(ContextPatch::set("still", 3)).unwrap_err();
        faults.clear();
        run.apply(ContextPatch::set("after", 4)).unwrap();
        let state = run.state().clone();
        run.take(&[completed()]).unwrap();
        drop(run);
        let found = open(&sim).recover_latest().unwrap().unwrap();
        assert_eq!(found, state.context);
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_nothing_behind() {
    for call in [Call::Write, Call::Flush, Call::Rename, Call::SyncDir] {
        let sim = SimDisk::new();
        let faults = Faults::new();
        let disk = FaultyDisk::new(sim.clone(), faults.clone());
        let mut run = open(&disk).begin(a_run("run_001")).unwrap();
        faults.add(Fault::new(call, ENOSPC));
        for n in 0..20 {
            let _ = run.apply(ContextPatch::set("n", n));
        }
        let kept = files(&sim, "");
        assert!(kept.len() < 5, "{call:?}: {kept:?}");
        faults.clear();
        run.apply(ContextPatch::set("after", 4)).unwrap();
        let state = run.state().clone();
        run.take(&[completed()]).unwrap();
        drop(run);
        assert_eq!(open(&sim).recover_latest().unwrap().unwrap(), state.context);
        assert_eq!(open(&sim).recover_run(Recovery::any()).unwrap(), None);
        let open_journals = files(&sim, ".jsonl").len() - files(&sim, ".ended.jsonl").len();
        assert_eq!(open_journals, 0, "{call:?}: {:?}", files(&sim, ""));
        assert_eq!(files(&sim, ".tmp"), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_checkpoint_whose_writing_was_interrupted_goes_with_its_run() {
    let disk = SimDisk::new();
    drop(open(&disk).begin(a_run("run_001")).unwrap());
    let torn = PathBuf::from(DIR).join("0000000002_run_001.json.tmp");
    disk.write_file(&torn, b"{\"run_id\"").unwrap();
    drop(open(&disk).begin(a_run("run_001")).unwrap());
    assert_eq!(files(&disk, ""), [PathBuf::from(DIR).join("0000000003_run_001.jsonl")]);
}

#[test]
fn what_is_nested_too_deep_to_be_read_again_is_refused_and_nothing_is_lost() {
    let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!({"k": value}));
    for (path, depth) in [("a".to_owned(), 999), ("a".to_owned(), 1_500), ("p.".repeat(255), 900)] {
        let disk = SimDisk::new();
        let mut run = open(&disk).begin(a_run("run_001")).unwrap();
        run.apply(ContextPatch::set("before", 1)).unwrap();
        let deep = run.apply(ContextPatch::set(path.clone(), nested(depth)));
        assert_eq!(deep.unwrap_err().kind(), PersistenceErrorKind::TooDeep);
        let mut node = NodeRecord::succeeded("n", nested(1_001));
        let error = run.take(&[RunStep::NodeFinished(node.clone())]).unwrap_err();
        assert_eq!(error.kind(), PersistenceErrorKind::TooDeep);
        node.output = nested(1_000);
        run.take(&[RunStep::NodeFinished(node)]).unwrap();
        run.apply(ContextPatch::append("deepest", nested(998))).unwrap();
        for n in 0..9 {
            run.apply(ContextPatch::set("after", n)).unwrap();
        }
        let state = run.state().clone();
        disk.kill_process();
        let found = open(&disk).recover_run(Recovery::any()).unwrap();
        assert_eq!(found, Some(state), "{path} {depth}");
    }
    let context = Context::new().set("a", nested(1_000));
    let error = open(&SimDisk::new()).begin(RunState::new("r", "d", context)).unwrap_err();
    assert_eq!(error.kind(), PersistenceErrorKind::TooDeep);
}

#[test]
fn a_number_of_a_program_is_the_same_after_a_crash() {
    let disk = SimDisk::new();
    let mut run = open(&disk).begin(a_run("run_001")).unwrap();
    for number in [1e16, 1e300, -2.5e22, 1e-7, -0.0, 1.0, f64::MAX] {
        run.apply(ContextPatch::append("numbers", number)).unwrap();
    }
    run.apply(ContextPatch::set("big", u64::MAX)).unwrap();
    let state = run.state().clone();
    disk.kill_process();
    let found = open(&disk).recover_run(Recovery::any()).unwrap();
    assert_eq!(found, Some(state));
}
