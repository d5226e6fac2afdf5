//! Several processes, and several runs, in one folder.

use backhaul_agent::ContextPatch;
use backhaul_runtime::persistence::PersistenceOptions;
use backhaul_testkit::SimDisk;
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
