//! Several processes, and several runs, in one folder.

use std::sync::atomic::{AtomicBool, Ordering};

use backhaul_agent::{Context, ContextPatch};
use backhaul_runtime::RunStatus;
use backhaul_runtime::persistence::{
    ContextPersistence, PersistenceErrorKind, PersistenceOptions, Recovery, RunState,
};
use backhaul_testkit::errno::ENOSPC;
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, Prng, SimDisk};
use serde_json::json;

use super::support::{DIR, a_run, completed, open, open_with};

#[test]
fn a_run_that_ends_after_many_of_another_process_is_the_newest() {
    let disk = SimDisk::new();
    let (one, other) = (open(&disk), open(&disk));
    let mut slow = one.begin(a_run("slow")).unwrap();
    for n in 0..20 {
        let mut quick = other.begin(a_run(&format!("quick-{n}"))).unwrap();
        quick.take(&[completed()]).unwrap();
    }
    slow.apply(ContextPatch::set("slow", true)).unwrap();
    slow.take(&[completed()]).unwrap();
    let latest = open(&disk).recover_latest().unwrap().unwrap();
    assert_eq!(latest.get("slow"), Some(json!(true)));
}

#[test]
fn a_run_that_is_begun_anew_is_not_the_one_before_whatever_a_power_cut_brings_back() {
    let disk = SimDisk::new();
    let mut before = open(&disk).begin(a_run("r")).unwrap();
    for n in 0..9 {
        before.apply(ContextPatch::set("before", n)).unwrap();
    }
    before.take(&[completed()]).unwrap();
    drop(before);
    let mut anew = open(&disk).begin(a_run("r")).unwrap();
    anew.apply(ContextPatch::set("anew", 1)).unwrap();
    anew.apply(ContextPatch::set("anew", 2)).unwrap();
    let state = anew.state().clone();
    for seed in 0..200 {
        let mut random = Prng::new(seed);
        let style = CrashStyle::random(&mut random);
        let image = disk.crash_image(&mut random, &style);
        let persistence = open(&image);
        let found = persistence.recover_run(Recovery::any()).unwrap();
        assert_eq!(found.as_ref(), Some(&state), "{style:?}");
        assert_eq!(persistence.recover_latest().unwrap().as_ref(), Some(&state.context));
        drop(persistence.resume("r").unwrap());
        assert_eq!(persistence.recover_latest().unwrap().as_ref(), Some(&state.context));
    }
}

#[test]
fn runs_of_a_process_that_crashes_again_and_again_do_not_fill_the_folder() {
    let disk = SimDisk::new();
    let options = PersistenceOptions { keep_interrupted: 4, ..PersistenceOptions::default() };
    for boot in 0..50 {
        let persistence = open_with(&disk, options.clone());
        let mut run = persistence.begin(a_run(&format!("run-{boot}"))).unwrap();
        run.apply(ContextPatch::set("n", boot)).unwrap();
        drop(run);
        disk.kill_process();
    }
    let mut files = disk.paths();
    files.retain(|path| path.parent() == Some(DIR.as_ref()));
    assert!(files.len() <= 5, "{} files", files.len());
    let latest = open(&disk).recover_latest().unwrap().unwrap();
    assert_eq!(latest.get("n"), Some(json!(49)));
}

#[test]
fn a_run_has_one_who_goes_on_with_it_while_others_who_came_too_late_leave() {
    let disk = SimDisk::new();
    let run = open(&disk).begin(a_run("r")).unwrap();
    let left = std::path::Path::new(DIR).join("0000000009_r.jsonl");
    disk.write_file(&left, b"").unwrap();
    let other = open(&disk);
    assert_eq!(other.recover_run(Recovery::any()).unwrap(), None);
    assert_eq!(other.resume("r").unwrap_err().kind(), PersistenceErrorKind::Busy);
    assert_eq!(other.begin(a_run("r")).unwrap_err().kind(), PersistenceErrorKind::Busy);
    drop(run);
    assert_eq!(other.resume("r").unwrap().state().run_id, "r");
}

#[test]
fn a_run_is_its_own_while_its_disk_refuses() {
    let sim = SimDisk::new();
    let faults = Faults::new();
    let mut run = open(&FaultyDisk::new(sim.clone(), faults.clone())).begin(a_run("r")).unwrap();
    faults.add(Fault::new(Call::Write, ENOSPC));
    for _ in 0..2 {
        run.apply(ContextPatch::set("meanwhile", 1)).unwrap_err();
        assert_eq!(open(&sim).resume("r").unwrap_err().kind(), PersistenceErrorKind::Busy);
    }
    faults.clear();
    run.take(&[completed()]).unwrap();
    assert_eq!(open(&sim).resume("r").unwrap_err().kind(), PersistenceErrorKind::NotResumable);
}

#[test]
fn what_cannot_go_on_is_not_touched() {
    let disk = SimDisk::new();
    let nothing = open(&disk).resume("r").unwrap_err();
    assert_eq!(nothing.kind(), PersistenceErrorKind::NotFound);
    assert_eq!(disk.paths(), Vec::<std::path::PathBuf>::new());
    open(&disk).begin(a_run("r")).unwrap().take(&[completed()]).unwrap();
    let before = disk.paths();
    let ended = open(&disk).resume("r").unwrap_err();
    assert_eq!(ended.kind(), PersistenceErrorKind::NotResumable);
    assert_eq!(disk.paths(), before);
}

#[test]
fn looking_at_a_folder_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let interrupted = ContextPersistence::new(dir.path()).unwrap();
    drop(interrupted.begin(RunState::new("old", "d", Context::new())).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let looking = ContextPersistence::new(dir.path()).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let found = looking.recover_run(Recovery::any().run("old"));
                    if found.as_ref().is_ok_and(Option::is_some) {
                        continue;
                    }
                    stop.store(true, Ordering::Relaxed);
                    panic!("{found:?}");
                }
            });
        }
        let persistence = ContextPersistence::new(dir.path()).unwrap();
        for n in 0..300 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let run = persistence.begin(RunState::new(format!("r{n}"), "d", Context::new()));
            let ended = run.and_then(|mut run| run.end(RunStatus::Completed, None));
            if let Err(error) = ended {
                stop.store(true, Ordering::Relaxed);
                panic!("{error}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let busy = interrupted.resume("r1").map(drop).map_err(|error| error.kind());
    assert_ne!(busy, Err(PersistenceErrorKind::Busy));
}
