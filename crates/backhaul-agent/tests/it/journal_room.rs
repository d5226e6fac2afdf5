//! The journals of open runs count in the queue's cap, and never stop a run.

use backhaul_agent::{Enqueued, OfflineQueue, OfflineRunLogger, RunHandle, RunLogger, ToolCall};
use backhaul_agent::{RunEnd, RunStart};
use backhaul_store::{Limits, Settled, Standing, State, WhenFull};
use backhaul_testkit::{Call, CrashStyle, Fault, Prng, errno};
use serde_json::json;

use crate::device::{Device, all_records, large_record, run_ids};

const CAP: u64 = 1_000_000;
const POLICIES: [WhenFull; 3] =
    [WhenFull::Reject, WhenFull::DropOldest, WhenFull::DropLowestPriority];

fn call(bytes: usize) -> ToolCall {
    ToolCall::new("camera", json!({}), json!({"image": "x".repeat(bytes)}))
}

fn small_queue(device: &Device, when_full: WhenFull) -> OfflineQueue {
    device.builder().max_queue_size_mb(1).when_full(when_full).open().unwrap()
}

fn logger(queue: OfflineQueue) -> OfflineRunLogger {
    OfflineRunLogger::builder().queue(queue).build().unwrap()
}

/// Bytes on disk of the files in the queue's folder, by looking at each of them.
fn bytes_on_disk(device: &Device, is_counted: impl Fn(&str) -> bool) -> u64 {
    let paths = device.disk.paths();
    let counted = paths.iter().filter(|path| is_counted(path.to_str().unwrap()));
    let len = |path| device.disk.read_file(path).unwrap().len() as u64;
    counted.map(|path| len(path).next_multiple_of(4096)).sum()
}

/// The ledger's newest lines are written whatever the cap says.
fn assert_within_cap(device: &Device, when: &str) {
    let bytes = bytes_on_disk(device, |path| !path.contains("/state/ledger"));
    assert!(bytes <= CAP, "{when}: {bytes} bytes");
}

fn assert_exact(device: &Device, queue: &OfflineQueue, when: &str) {
    assert_eq!(queue.stats().unwrap().bytes, bytes_on_disk(device, |_| true), "{when}");
}

fn fill(queue: &OfflineQueue) -> usize {
    (0..).take_while(|n| queue.enqueue(&large_record(&format!("old_{n}"), 20_000)).is_ok()).count()
}

fn deliver_all(queue: &OfflineQueue) -> usize {
    let mut delivered = 0;
    while let Some(batch) = queue.spool().take(&Limits::default()).unwrap() {
        let positions = batch.records.iter().map(|offer| offer.record.id.position);
        let settled: Vec<_> =
            positions.map(|position| (position, Settled::new(State::Delivered))).collect();
        queue.spool().settle(&settled).unwrap();
        delivered += settled.len();
    }
    delivered
}

#[test]
fn the_cap_holds_on_the_byte_while_runs_are_open() {
    for when_full in POLICIES {
        for seed in 0..4 {
            let device = Device::new();
            let queue = small_queue(&device, when_full);
            let logger = logger(queue.clone());
            let mut prng = Prng::new(seed);
            let mut open: Vec<RunHandle> = Vec::new();
            let mut unjournaled = 0;
            for number in 0..400 {
                device.clock.advance(std::time::Duration::from_secs(5));
                match prng.index(20) {
                    0..3 => {
                        let start = RunStart::new(format!("run_{number}"));
                        open.push(logger.begin(start.critical(prng.chance(0.2))));
                    }
                    3 if open.len() > 5 => {
                        let index = prng.index(open.len());
                        open.swap_remove(index).end(RunEnd::new());
                    }
                    4 => drop(queue.enqueue(&large_record(&format!("r_{number}"), 30_000))),
                    5 => queue.spool().maintain().unwrap(),
                    _ if open.is_empty() => {}
                    _ => {
                        let index = prng.index(open.len());
                        open[index].record_tool_call(call(prng.index(9_000)));
                    }
                }
                assert_within_cap(&device, &format!("{when_full:?}, seed {seed}, {number}"));
                unjournaled = unjournaled.max(queue.stats().unwrap().unjournaled);
            }
            assert!(unjournaled > 0, "{when_full:?}: the journals always had room");
        }
    }
}

#[test]
fn the_room_of_a_journal_comes_back_after_its_run() {
    let device = Device::new();
    let queue = device.queue();
    let logger = logger(queue.clone());
    let before = queue.stats().unwrap().bytes;
    for number in 0..3 {
        logger.start_run(format!("run_{number}").into());
        for _ in 0..10 {
            logger.record_tool_call(call(3_000));
        }
        let journal = bytes_on_disk(&device, |path| path.contains("/running/"));
        assert!(journal > 30_000);
        let record = logger.end_run(RunEnd::new()).unwrap();
        let stored = (record.to_json().len() as u64).next_multiple_of(4096);
        let expected = before + stored * (number + 1);
        assert_eq!(queue.stats().unwrap().bytes, expected, "run {number}");
        assert_exact(&device, &queue, "the run has ended");
    }
}

#[test]
fn an_agent_with_a_full_queue_keeps_running_and_its_journal_catches_up() {
    let device = Device::new();
    let queue = small_queue(&device, WhenFull::Reject);
    let logger = logger(queue.clone());
    let waiting = fill(&queue);
    // Less than a record of these is left.
    let mut small = 0;
    while queue.enqueue(&large_record(&format!("small_{small}"), 100)).is_ok() {
        small += 1;
    }
    logger.start_run("run_001".into());
    for _ in 0..5 {
        logger.record_tool_call(call(10));
        assert_within_cap(&device, "full");
    }
    assert_eq!(device.files("running"), [""; 0]);
    assert_eq!(logger.get_current_record().unwrap().total_tool_calls(), 5);
    let stats = queue.stats().unwrap();
    assert_eq!(stats.unjournaled, 1);
    assert!(stats.trouble.is_some());

    assert_eq!(deliver_all(&queue), waiting + small);
    device.clock.advance(std::time::Duration::from_secs(2));
    logger.record_tool_call(call(10));
    assert_eq!(device.files("running").len(), 1);
    assert_eq!(queue.stats().unwrap().unjournaled, 0);
    device.kill((logger, queue));
    let queue = small_queue(&device, WhenFull::Reject);
    assert_eq!(run_ids(&queue, Standing::Pending), ["run_001"]);
    let records = all_records(&queue);
    assert_eq!(records.last().unwrap().total_tool_calls(), 6);
    assert_exact(&device, &queue, "taken over");
}

#[test]
fn a_run_that_ends_while_the_queue_is_full_is_stored_when_there_is_room() {
    let device = Device::new();
    let queue = small_queue(&device, WhenFull::Reject);
    let logger = logger(queue.clone());
    logger.start_run("run_001".into());
    logger.record_tool_call(call(10));
    fill(&queue);
    for _ in 0..10 {
        logger.record_tool_call(call(20_000));
        assert_within_cap(&device, "full");
    }
    let stats = queue.stats().unwrap();
    assert!(stats.trouble.is_some());
    assert_eq!(stats.unjournaled, 1);
    let record = logger.end_run(RunEnd::new()).unwrap();
    assert_eq!(record.total_tool_calls(), 11);
    assert_eq!(logger.last_enqueued(), Some(Enqueued::Held));

    deliver_all(&queue);
    queue.retry_held().unwrap();
    assert_eq!(all_records(&queue).last().unwrap().to_json(), record.to_json());
    assert_eq!(device.files("running"), [""; 0]);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.unjournaled, stats.trouble), (0, None));
    assert_exact(&device, &queue, "stored");
}

#[test]
fn the_floor_of_free_space_stops_a_journal_and_not_its_run() {
    let device = Device::new();
    let queue = device.queue();
    let logger = logger(queue.clone());
    device.disk.set_capacity(device.disk.total_bytes() + 10_000_000 + 20_000, u64::MAX);
    logger.start_run("run_001".into());
    for _ in 0..10 {
        logger.record_tool_call(call(4_000));
    }
    let journal = bytes_on_disk(&device, |path| path.contains("/running/"));
    assert!(journal > 0 && journal <= 5 * 4096, "{journal}");
    let trouble = queue.stats().unwrap().trouble.unwrap();
    assert!(trouble.contains("bytes free"), "{trouble}");
    device.disk.set_capacity(u64::MAX, u64::MAX);
    logger.record_tool_call(call(4_000));
    assert_eq!(queue.stats().unwrap().trouble, None);
    device.kill((logger, queue));
    assert_eq!(all_records(&device.queue())[0].total_tool_calls(), 11);
}

#[test]
fn waiting_records_give_way_to_a_journal_as_they_do_to_a_record() {
    for when_full in POLICIES {
        let device = Device::new();
        let queue = small_queue(&device, when_full);
        let logger = logger(queue.clone());
        for n in 0..60 {
            let _ = queue.enqueue(&large_record(&format!("old_{n}"), 20_000));
        }
        let evicted = queue.stats().unwrap().books.evicted;
        logger.start_run("run_001".into());
        for _ in 0..10 {
            logger.record_tool_call(call(20_000));
            assert_within_cap(&device, "running");
        }
        let stats = queue.stats().unwrap();
        let gave_way = when_full != WhenFull::Reject;
        assert_eq!(stats.books.evicted > evicted, gave_way, "{when_full:?}");
        assert_eq!(stats.unjournaled, usize::from(!gave_way), "{when_full:?}");
        assert!(stats.books.balance());
    }
}

/// Journals that filled the whole cap would keep each other's records out for ever.
#[test]
fn runs_in_parallel_leave_room_for_their_records() {
    let device = Device::new();
    let queue = small_queue(&device, WhenFull::Reject);
    let logger = logger(queue.clone());
    let runs: Vec<_> = (0..10).map(|n| logger.begin(format!("run_{n}"))).collect();
    while queue.stats().unwrap().unjournaled < runs.len() {
        runs.iter().for_each(|run| run.record_tool_call(call(5_000)));
    }
    let trouble = queue.stats().unwrap().trouble.unwrap();
    assert!(trouble.contains("half of the spool's cap"), "{trouble}");
    for run in runs {
        run.end(RunEnd::new());
        assert!(matches!(logger.last_enqueued(), Some(Enqueued::Stored(_))));
        assert_within_cap(&device, "one more is stored");
    }
    assert_eq!(queue.stats().unwrap().trouble, None);
}

#[test]
fn after_a_crash_nothing_is_counted_twice_and_nothing_is_forgotten() {
    let device = Device::new();
    let first = logger(device.queue());
    let runs = ["a", "b", "c"].map(|run_id| first.begin(run_id));
    runs.iter().for_each(|run| (0..5).for_each(|_| run.record_tool_call(call(7_000))));
    // Another process sees them end, and takes them over.
    let second = device.queue();
    device.kill((first, runs));
    drop(second);
    let second = device.queue();
    assert_eq!(run_ids(&second, Standing::Pending).len(), 3);
    assert_exact(&device, &second, "taken over");

    // A journal that grew since this process measured, and one in quarantine.
    let other = device.logger().0;
    other.start_run("d".into());
    (0..50).for_each(|_| other.record_tool_call(call(7_000)));
    let name = device.files("running").remove(0);
    let journal = device.disk.read_file(format!("{}/running/{name}", crate::device::PATH)).unwrap();
    let path = |name: &str| format!("{}/running/{name}.jsonl", crate::device::PATH);
    device.disk.write_file(path("alone"), &journal).unwrap();
    device.disk.write_file(path("damaged"), &[b'x'; 10_000]).unwrap();
    second.recover_interrupted();
    assert_eq!(run_ids(&second, Standing::Pending).len(), 4);
    assert_eq!(device.files("quarantine").len(), 2);
    assert_exact(&device, &second, "taken over from the living");
}

#[test]
fn recovery_into_a_full_queue_waits_for_room_and_takes_no_more() {
    let device = Device::new();
    let queue = small_queue(&device, WhenFull::Reject);
    let logger = logger(queue.clone());
    logger.start_run("run_001".into());
    (0..10).for_each(|_| logger.record_tool_call(call(10_000)));
    fill(&queue);
    device.kill((logger, queue));
    let queue = small_queue(&device, WhenFull::Reject);
    assert_eq!((device.files("running").len(), queue.stats().unwrap().interrupted), (1, 0));
    assert_within_cap(&device, "put off");
    deliver_all(&queue);
    queue.recover_interrupted();
    assert_eq!(run_ids(&queue, Standing::Pending), ["run_001"]);
    assert_within_cap(&device, "taken over");
    assert_exact(&device, &queue, "taken over");
}

#[test]
fn a_flush_of_the_journal_that_failed_is_made_good_by_the_next() {
    let device = Device::new();
    let logger = OfflineRunLogger::builder().queue(device.queue()).flush_events(true);
    let logger = logger.build().unwrap();
    logger.start_run("run_001".into());
    device.faults.add(Fault::new(Call::Flush, errno::EIO));
    logger.record_tool_call(call(1));
    assert_eq!(logger.offline_queue().stats().unwrap().unjournaled, 1);
    device.faults.clear();
    logger.record_tool_call(call(2));
    assert_eq!(logger.offline_queue().stats().unwrap().unjournaled, 0);
    let mut prng = Prng::new(3);
    for _ in 0..50 {
        let style = CrashStyle::random(&mut prng);
        let image = Device::with(device.disk.crash_image(&mut prng, &style));
        assert_eq!(all_records(&image.queue())[0].total_tool_calls(), 2);
    }
    device.kill(logger);
}

#[test]
fn a_disk_that_refuses_for_long_costs_no_room_in_the_end() {
    let device = Device::new();
    let queue = small_queue(&device, WhenFull::Reject);
    let before = queue.stats().unwrap().bytes;
    let logger = logger(queue.clone());
    device.faults.add(Fault::read_only());
    for number in 0..40 {
        logger.start_run(format!("run_{number}").into());
        (0..10).for_each(|_| logger.record_tool_call(call(1_000)));
        logger.end_run(RunEnd::new()).unwrap();
    }
    assert_eq!(queue.held_in_memory(), 40);
    device.faults.clear();
    queue.retry_held().unwrap();
    assert_eq!(queue.purge(Standing::Pending).unwrap(), 40);
    let ledger = bytes_on_disk(&device, |path| path.contains("/state/ledger"));
    assert!(queue.stats().unwrap().bytes <= before + ledger);
    assert_exact(&device, &queue, "all are gone");
}
