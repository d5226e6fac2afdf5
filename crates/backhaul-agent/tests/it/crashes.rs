//! Crashes: nothing that was recorded is lost, and nothing comes twice.

use std::sync::{Arc, Mutex};

use backhaul_agent::{OfflineRunLogger, RunEnd, RunLogger, RunRecord, RunStart, ToolCall};
use backhaul_store::{Limits, Record, Settled, Standing, State};
use backhaul_testkit::{Call, CrashStyle, Fault, Prng, SimDisk, SimSnapshot, errno};
use serde_json::json;

use crate::device::{Device, PATH, all_records, record, run_ids};

fn call(n: usize) -> ToolCall {
    ToolCall::new("t", json!({"n": n}), json!({}))
}

fn begin(logger: &OfflineRunLogger, events: usize) {
    logger.start_run(RunStart::new("run_001").dag_name("dag").critical(true));
    (0..events).for_each(|n| logger.record_tool_call(call(n)));
}

fn assert_interrupted(record: &RunRecord, events: usize) {
    assert_eq!(record.run_id, "run_001");
    assert_eq!(record.total_tool_calls(), events);
    assert!(!record.success);
    assert!(record.error.as_deref().unwrap().starts_with("interrupted"));
    assert_eq!(record.metadata["interrupted"], json!(true));
    assert_eq!(record.metadata["critical"], json!(true));
    assert!(record.completed_at.is_some());
}

#[test]
fn a_run_that_a_kill_cut_short_is_queued_as_interrupted_with_all_its_events() {
    let device = Device::new();
    let (logger, _) = device.logger();
    begin(&logger, 25);
    device.kill(logger);
    let queue = device.queue();
    let records = all_records(&queue);
    assert_eq!(records.len(), 1);
    assert_interrupted(&records[0], 25);
    assert_eq!(queue.stats().unwrap().interrupted, 1);
    assert_eq!(device.files("running"), [""; 0]);
    // Once is enough.
    drop(queue);
    let queue = device.queue();
    assert_eq!((all_records(&queue).len(), queue.stats().unwrap().interrupted), (1, 0));
}

#[test]
fn runs_in_parallel_are_all_taken_over() {
    let device = Device::new();
    let (logger, _) = device.logger();
    let runs = ["a", "b", "c"].map(|run_id| logger.begin(run_id));
    runs.iter().for_each(|run| run.record_tool_call(call(0)));
    device.kill((logger, runs));
    let mut ids = run_ids(&device.queue(), Standing::Pending);
    ids.sort();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[test]
fn a_run_that_is_open_in_another_process_is_left_alone() {
    let device = Device::new();
    let (logger, _) = device.logger();
    begin(&logger, 2);
    let other = device.queue();
    assert_eq!(other.stats().unwrap().books.accepted, 0);
    assert_eq!(device.files("running").len(), 1);
    logger.end_run(RunEnd::new()).unwrap();
    other.recover_interrupted();
    let records = all_records(&other);
    assert_eq!((records.len(), records[0].success), (1, true));
}

/// A crash after any number of disk calls of `end_run`: the record is there, once.
#[test]
fn a_crash_between_any_two_steps_of_end_run_leaves_exactly_one_record() {
    let mut complete = 0;
    for calls in 0..60 {
        let device = Device::new();
        let (logger, _) = device.logger();
        begin(&logger, 3);
        // From here on the process does nothing to the disk any more.
        device.faults.add(Fault::any(&Call::CHANGES, errno::EIO).after(calls));
        let ended = logger.end_run(RunEnd::new()).unwrap();
        device.kill(logger);
        device.faults.clear();
        let queue = device.queue();
        let records = all_records(&queue);
        assert_eq!(records.len(), 1, "after {calls} calls");
        if records[0].success {
            assert_eq!(records[0].to_json(), ended.to_json(), "after {calls} calls");
            complete += 1;
        } else {
            assert_interrupted(&records[0], 3);
        }
        assert_eq!(device.files("running"), [""; 0], "after {calls} calls");
        assert!(queue.stats().unwrap().books.balance());
    }
    assert!((1..60).contains(&complete), "{complete}");
}

/// A power cut just before any flush, with any fate for what was not flushed.
/// Cuts the power at each flush of a run and after it. `Err`: what is wrong then.
fn cut_a_run(sabotage: fn(&SimDisk)) -> Result<(), String> {
    let device = Device::new();
    sabotage(&device.disk);
    let snapshots: Arc<Mutex<Vec<(bool, SimSnapshot)>>> = Arc::default();
    let (logger, _) = device.logger();
    let ended = Arc::new(Mutex::new(false));
    let (into, has_ended) = (snapshots.clone(), ended.clone());
    device.disk.on_flush(Box::new(move |snapshot| {
        into.lock().unwrap().push((*has_ended.lock().unwrap(), snapshot.clone()));
    }));
    begin(&logger, 3);
    let finished = logger.end_run(RunEnd::new()).unwrap();
    *ended.lock().unwrap() = true;
    logger.start_run("run_002".into());
    device.disk.clear_on_flush();
    snapshots.lock().unwrap().push((true, device.disk.snapshot()));
    let snapshots = std::mem::take(&mut *snapshots.lock().unwrap());
    assert!(snapshots.len() > 6);

    let mut prng = Prng::new(7);
    for (has_ended, snapshot) in snapshots {
        for _ in 0..40 {
            let style = CrashStyle::random(&mut prng);
            let image = Device::with(snapshot.crash_image(&mut prng, &style));
            let queue = image.queue();
            let records = all_records(&queue);
            let of_first: Vec<Vec<u8>> = records
                .iter()
                .filter(|record| record.run_id == "run_001")
                .map(RunRecord::to_json)
                .collect();
            if of_first.len() > 1 || (has_ended && of_first != [finished.to_json()]) {
                return Err(format!("ended: {has_ended}, found: {} records", of_first.len()));
            }
            assert!(queue.stats().unwrap().books.balance());
        }
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_moment_of_a_run_leaves_at_most_one_record_and_none_lost_that_ended() {
    cut_a_run(|_| {}).unwrap();
}

#[test]
fn the_cuts_of_a_run_notice_a_missing_flush_and_a_missing_directory_sync() {
    cut_a_run(|disk| disk.ignore_flushes(true)).unwrap_err();
    cut_a_run(|disk| disk.ignore_dir_syncs(true)).unwrap_err();
}

/// Cuts the power while a run with flushed events is open. `Err`: what is left of it.
fn cut_an_open_run(sabotage: fn(&SimDisk)) -> Result<(), String> {
    let device = Device::new();
    let logger = OfflineRunLogger::builder().queue(device.queue()).flush_events(true);
    let logger = logger.build().unwrap();
    sabotage(&device.disk);
    begin(&logger, 10);
    let mut prng = Prng::new(11);
    for _ in 0..50 {
        let style = CrashStyle::random(&mut prng);
        let image = Device::with(device.disk.crash_image(&mut prng, &style));
        let records = all_records(&image.queue());
        if records.len() != 1 || records[0].tool_calls.len() != 10 {
            return Err(format!("{records:?}"));
        }
        assert_interrupted(&records[0], 10);
    }
    device.kill(logger);
    Ok(())
}

#[test]
fn with_flushed_events_a_power_cut_loses_none_of_an_open_run() {
    cut_an_open_run(|_| {}).unwrap();
}

#[test]
fn the_cuts_of_an_open_run_notice_a_missing_flush() {
    cut_an_open_run(|disk| disk.ignore_flushes(true)).unwrap_err();
}

/// Puts the journal back that `end_run` had removed, as a power cut does.
fn with_journal_back(settle: impl Fn(&backhaul_agent::OfflineQueue)) -> Device {
    let device = Device::new();
    let (logger, _) = device.logger();
    begin(&logger, 3);
    let name = device.files("running").remove(0);
    let path = format!("{PATH}/running/{name}");
    let journal = device.disk.read_file(&path).unwrap();
    logger.end_run(RunEnd::new()).unwrap();
    settle(logger.offline_queue());
    drop(logger);
    device.disk.write_file(&path, &journal).unwrap();
    device
}

fn settle_as(queue: &backhaul_agent::OfflineQueue, state: State) {
    let batch = queue.spool().take(&Limits::default()).unwrap().unwrap();
    let settled = Settled::new(state).reason("told so");
    queue.spool().settle(&[(batch.records[0].record.id.position, settled)]).unwrap();
}

#[test]
fn a_journal_whose_record_is_stored_is_only_removed_wherever_the_record_stands() {
    for state in [None, Some(State::Delivered), Some(State::Rejected)] {
        let device = with_journal_back(|queue| {
            if let Some(state) = state {
                settle_as(queue, state);
            }
        });
        let queue = device.queue();
        let records = all_records(&queue);
        assert_eq!((records.len(), records[0].success), (1, true), "{state:?}");
        assert_eq!(queue.stats().unwrap().interrupted, 0);
        assert_eq!(device.files("running"), [""; 0]);
    }
}

/// Names that were cut or escaped tell the run as well.
#[test]
fn a_journal_whose_record_is_stored_is_found_whatever_its_run_is_called() {
    for run_id in ["x".repeat(50), "x/".repeat(150), "a:b/c ü~%41".into(), String::new()] {
        let device = Device::new();
        let (logger, _) = device.logger();
        logger.start_run(RunStart::new(run_id.as_str()));
        logger.record_tool_call(call(1));
        let path = format!("{PATH}/running/{}", device.files("running")[0]);
        let journal = device.disk.read_file(&path).unwrap();
        logger.end_run(RunEnd::new()).unwrap();
        drop(logger);
        device.disk.write_file(&path, &journal).unwrap();
        let records = all_records(&device.queue());
        assert_eq!((records.len(), records[0].success), (1, true), "{run_id}");
        assert_eq!(device.files("running"), [""; 0], "{run_id}");
    }
}

/// Reads of the disk when a queue with so many records is opened that takes over a
/// run which is stored already, and one which is not.
fn reads_of_recovery(stored: usize) -> u64 {
    let device = Device::new();
    let (logger, _) = device.logger();
    let queue = logger.offline_queue().clone();
    for n in 0..stored {
        let run_id = format!("run/{n} {}", "x".repeat(n % 150));
        let stored = Record::new("run", record(&run_id).to_json()).label("run_id", run_id);
        drop(queue.spool().submit(stored).unwrap());
    }
    queue.spool().flush().unwrap();
    logger.start_run("run_001".into());
    let path = format!("{PATH}/running/{}", device.files("running")[0]);
    let journal = device.disk.read_file(&path).unwrap();
    logger.end_run(RunEnd::new()).unwrap();
    logger.start_run("run_002".into());
    device.kill((logger, queue));
    device.disk.write_file(&path, &journal).unwrap();

    let before = device.faults.calls(Call::Read);
    let queue = device.queue();
    let reads = device.faults.calls(Call::Read) - before;
    assert_eq!(queue.stats().unwrap().interrupted, 1);
    assert_eq!(device.files("pending").len(), stored + 2);
    reads
}

#[test]
fn recovery_reads_a_handful_of_files_however_many_records_are_stored() {
    let reads = reads_of_recovery(4_000);
    assert!(reads < 20, "{reads} reads");
    assert_eq!(reads, reads_of_recovery(10));
}

#[test]
fn a_journal_is_not_taken_for_another_run_of_the_same_id() {
    let device = Device::new();
    device.queue().enqueue(&record("run_001")).unwrap();
    let (logger, _) = device.logger();
    begin(&logger, 1);
    device.kill(logger);
    let records = all_records(&device.queue());
    assert_eq!(records.len(), 2);
}

#[test]
fn a_torn_last_line_costs_that_event_alone() {
    let device = Device::new();
    let (logger, _) = device.logger();
    begin(&logger, 5);
    device.kill(logger);
    let path = format!("{PATH}/running/{}", device.files("running")[0]);
    let bytes = device.disk.read_file(&path).unwrap();
    device.disk.write_file(&path, &bytes[..bytes.len() - 7]).unwrap();
    let queue = device.queue();
    assert_interrupted(&all_records(&queue)[0], 4);
    assert_eq!(queue.stats().unwrap().quarantined, 0);
}

#[test]
fn a_damaged_line_costs_that_event_and_the_journal_is_kept_for_people() {
    let device = Device::new();
    let (logger, _) = device.logger();
    begin(&logger, 5);
    device.kill(logger);
    let path = format!("{PATH}/running/{}", device.files("running")[0]);
    let mut bytes = device.disk.read_file(&path).unwrap();
    let third = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    bytes[third + 1] = b'#';
    device.disk.write_file(&path, &bytes).unwrap();
    let queue = device.queue();
    assert_interrupted(&all_records(&queue)[0], 4);
    assert_eq!(queue.stats().unwrap().quarantined, 1);
    assert_eq!(device.files("running"), [""; 0]);
}

#[test]
fn a_journal_that_cannot_be_read_goes_to_quarantine_and_is_counted() {
    let device = Device::new();
    drop(device.queue());
    for (name, bytes) in [("empty", &b""[..]), ("zeros", &[0; 4096]), ("other", b"{}\n{}\n")] {
        device.disk.write_file(format!("{PATH}/running/{name}.jsonl"), bytes).unwrap();
    }
    let queue = device.queue();
    assert_eq!(queue.stats().unwrap().quarantined, 3);
    assert_eq!(queue.stats().unwrap().books.accepted, 0);
    assert_eq!(device.files("running"), [""; 0]);
    let reason = device.disk.read_file(format!("{PATH}/quarantine/other.jsonl.reason")).unwrap();
    assert!(!reason.is_empty());
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone() {
    let device = Device::new();
    drop(device.queue());
    let path = format!("{PATH}/running/newer.jsonl");
    device.disk.write_file(&path, b"{\"backhaul_journal\":9}\n").unwrap();
    assert_eq!(device.queue().stats().unwrap().quarantined, 0);
    assert_eq!(device.files("running"), ["newer.jsonl"]);
}

#[test]
fn a_journal_that_was_never_begun_is_removed() {
    let device = Device::new();
    drop(device.queue());
    device.disk.write_file(format!("{PATH}/running/x.jsonl.tmp"), b"{\"back").unwrap();
    let queue = device.queue();
    assert_eq!(device.files("running"), [""; 0]);
    assert_eq!(queue.stats().unwrap().quarantined, 0);
}

#[test]
fn recovery_that_the_disk_does_not_allow_is_done_the_next_time() {
    let device = Device::new();
    let (logger, _) = device.logger();
    begin(&logger, 2);
    device.kill(logger);
    device.faults.add(Fault::any(&Call::CHANGES, errno::EIO).on_path("pending/"));
    let queue = device.queue();
    assert_eq!((all_records(&queue).len(), device.files("running").len()), (0, 1));
    device.faults.clear();
    queue.recover_interrupted();
    assert_interrupted(&all_records(&queue)[0], 2);
    assert_eq!(device.files("running"), [""; 0]);
}
