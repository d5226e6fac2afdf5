//! Run records that no data cap holds, on their way over TCP: a summary arrives once,
//! whatever breaks off, and the record itself when the cap is raised.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_agent::{CloudRunLogger, OfflineQueue, RunRecord};
use backhaul_store::{RecordId, Standing};
use backhaul_sync::{BandwidthManager, BandwidthOptions, Oversized, SyncManager, SyncOptions};
use backhaul_testkit::{
    Answer, Call, CrashStyle, Fault, FaultServer, Intake, Prng, SimDisk, SimSnapshot, errno,
    hub_answer,
};

use crate::cap::Kernel;
use crate::device::{Device, noise, record};

/// More than the cap of a megabyte, also in gzip.
const BYTES: usize = 1_300_000;
const PATIENCE: Duration = Duration::from_secs(20);
const LATER: Duration = Duration::from_secs(3601);

/// A process that delivers from the queue of a device.
struct Process {
    queue: OfflineQueue,
    courier: SyncManager,
    budget: BandwidthManager,
}

impl Process {
    /// With a data cap in megabytes.
    fn new(device: &Device, hub: &FaultServer, cap: u64) -> Self {
        let options = BandwidthOptions { daily_limit_mb: Some(cap), ..BandwidthOptions::default() };
        let clock = Arc::new(device.clock.clone());
        let kernel = Arc::new(Kernel::synchronised(true));
        // On a disk of its own: what is counted is not what is tried here.
        let disk = Arc::new(SimDisk::new());
        let budget = BandwidthManager::new_on("/bandwidth", options, disk, clock.clone(), kernel);
        let budget = budget.unwrap();
        let logger = CloudRunLogger::builder(hub.url()).timeout(PATIENCE).clock(clock);
        let logger = logger.bandwidth(budget.clone()).build().unwrap();
        let queue = device.queue();
        queue.bind(Arc::new(logger));
        let options = SyncOptions {
            oversized: Oversized::Summary,
            backoff_initial: Duration::from_millis(10),
            backoff_max: Duration::from_millis(40),
            ..SyncOptions::default()
        };
        let courier = queue.sync_manager(options).unwrap();
        Self { queue, courier, budget }
    }
}

/// What is wrong with what the hub has of a record: its summary, and itself or not.
fn check(intake: &Intake, id: RecordId, body: Option<&[u8]>) -> Result<(), String> {
    let of = |id: RecordId| {
        let items = intake.items().into_iter();
        items.filter(|item| item.key == id.to_string()).map(|item| item.body).collect::<Vec<_>>()
    };
    let summaries = of(id.of_summary());
    let [summary] = &*summaries else { return Err(format!("{} summaries", summaries.len())) };
    let summary = RunRecord::from_json(summary).map_err(|error| error.to_string())?;
    if summary.run_id != "large-summary" || summary.metadata["summary_of"]["run_id"] != "large" {
        return Err(format!("it is a summary of something else: {summary:?}"));
    }
    match (of(id).as_slice(), body) {
        ([], None) => Ok(()),
        ([arrived], Some(body)) if arrived == body => Ok(()),
        (found, _) => Err(format!("{} records beside the summary", found.len())),
    }
}

fn is_waiting(queue: &OfflineQueue, id: RecordId) -> bool {
    let waiting = queue.list(Some(Standing::Pending)).unwrap();
    waiting.iter().any(|entry| entry.id == id)
}

#[tokio::test]
async fn a_record_above_the_cap_is_summed_up_for_a_few_kilobytes_and_follows_when_it_is_raised() {
    let device = Device::new();
    let intake = Intake::new();
    let hub = FaultServer::hub(&intake).unwrap();
    let Process { queue, courier, budget } = Process::new(&device, &hub, 1);
    let large = noise("large", BYTES);
    let id = queue.enqueue(&large).unwrap();
    queue.enqueue(&record("after it")).unwrap();
    for _ in 0..5 {
        let report = courier.sync_now().await;
        assert_eq!((report.oversized, report.summarized, report.remaining), (1, 1, 1));
        device.clock.advance(LATER);
    }
    check(&intake, id, None).unwrap();
    assert_eq!(intake.items().len(), 2);
    assert!(intake.offers().into_values().all(|offers| offers == 1), "{:?}", intake.offers());
    let used = budget.status().used_bytes;
    assert!(used < 12_000, "{used} bytes");
    let (entry, _) = queue.get(id.into()).unwrap();
    let why = entry.last_error.unwrap();
    assert!(why.contains("the data cap ever allows"), "{why}");
    assert!(why.ends_with("its summary was delivered"), "{why}");
    drop((queue, courier));

    let Process { queue, courier, .. } = Process::new(&device, &hub, 10);
    assert_eq!(courier.sync_now().await.remaining, 0);
    check(&intake, id, Some(&large.to_json())).unwrap();
    assert!(queue.stats().unwrap().books.balance());
}

#[tokio::test]
async fn a_summary_goes_as_critical_where_its_record_is() {
    let device = Device::new();
    let intake = Intake::new();
    let hub = FaultServer::hub(&intake).unwrap();
    let process = Process::new(&device, &hub, 1);
    let mut large = noise("large", BYTES);
    large.metadata.insert("critical".into(), true.into());
    let id = process.queue.enqueue(&large).unwrap();
    assert_eq!(process.courier.sync_now().await.summarized, 1);
    check(&intake, id, None).unwrap();
    let [item] = intake.items().try_into().unwrap();
    assert!(item.key.contains("/critical.32768/"), "{}", item.key);
    assert!(RunRecord::from_json(&item.body).unwrap().is_critical());
}

#[tokio::test]
async fn processes_that_take_turns_send_one_summary_of_a_record_whoever_stored_it() {
    let device = Device::new();
    let intake = Intake::new();
    let hub = FaultServer::hub(&intake).unwrap();
    let first = Process::new(&device, &hub, 1);
    let second = Process::new(&device, &hub, 1);
    let id = second.queue.enqueue(&noise("large", BYTES)).unwrap();
    assert_eq!(first.courier.sync_now().await.summarized, 1);
    drop(first);
    device.clock.advance(LATER);
    assert_eq!(second.courier.sync_now().await.summarized, 1);
    check(&intake, id, None).unwrap();
    assert_eq!(intake.offers().into_values().collect::<Vec<_>>(), [1]);
    assert!(intake.keys()[0].contains("/normal.32769/"), "{:?}", intake.keys());
}

/// Delivers from what a crash has left, to the end.
async fn recover(
    device: &Device,
    intake: &Intake,
    large: &RunRecord,
    id: RecordId,
) -> Result<(), String> {
    let hub = FaultServer::hub(intake).unwrap();
    device.clock.advance(LATER);
    let process = Process::new(device, &hub, 1);
    if !is_waiting(&process.queue, id) {
        return Err("the record does not wait".to_owned());
    }
    process.courier.sync_now().await;
    check(intake, id, None)?;
    let status = process.courier.status();
    assert_eq!((status.oversized_count, status.summarized_count), (1, 1));
    drop(process);
    device.clock.advance(LATER);
    let process = Process::new(device, &hub, 10);
    process.courier.sync_now().await;
    check(intake, id, Some(&large.to_json()))?;
    let books = process.queue.stats().unwrap().books;
    assert!(books.balance() && books.pending == 0, "{books:?}");
    Ok(())
}

#[tokio::test]
async fn a_kill_between_any_two_steps_leaves_one_summary_and_the_record() {
    let large = noise("large", BYTES);
    let mut offers = Vec::new();
    for calls in 0..4 {
        let device = Device::new();
        let intake = Intake::new();
        let hub = FaultServer::hub(&intake).unwrap();
        let process = Process::new(&device, &hub, 1);
        let id = process.queue.enqueue(&large).unwrap();
        // From here on the process does nothing to the disk any more.
        device.faults.add(Fault::any(&Call::CHANGES, errno::EIO).after(calls));
        process.courier.sync_now().await;
        device.kill(process);
        device.faults.clear();
        recover(&device, &intake, &large, id).await.unwrap();
        offers.push(intake.offers()[&id.of_summary().to_string()]);
    }
    // Some of them died before they had written down that it arrived.
    assert!(offers.contains(&2), "{offers:?}");
    assert_eq!(offers.last(), Some(&1), "{offers:?}");
}

/// What a power cut would find, and what had arrived by then.
type Cuts = Arc<Mutex<Vec<(Intake, SimSnapshot)>>>;

/// Cuts the power at each flush and at each request of a sync that sends a summary. `Err`:
/// what is wrong then.
async fn cut_a_summary(sabotage: fn(&SimDisk), store: fn() -> Intake) -> Result<(), String> {
    let device = Device::new();
    sabotage(&device.disk);
    let (intake, cuts) = (store(), Cuts::default());
    let hub = FaultServer::hub(&intake).unwrap();
    let process = Process::new(&device, &hub, 1);
    let large = noise("large", BYTES);
    let id = process.queue.enqueue(&large).unwrap();
    let note = {
        let (cuts, intake) = (Arc::clone(&cuts), intake.clone());
        move |snapshot: SimSnapshot| {
            let arrived = store();
            intake.items().into_iter().for_each(|item| assert!(arrived.take(item)));
            cuts.lock().unwrap().push((arrived, snapshot));
        }
    };
    let at_flush = note.clone();
    device.disk.on_flush(Box::new(move |snapshot| at_flush(snapshot.clone())));
    let (at_request, disk, into) = (note.clone(), device.disk.clone(), intake.clone());
    hub.answers(move |request| -> Answer {
        at_request(disk.snapshot());
        let answer = hub_answer(&into, request);
        at_request(disk.snapshot());
        answer
    });
    assert_eq!(process.courier.sync_now().await.summarized, 1);
    device.disk.clear_on_flush();
    note(device.disk.snapshot());
    drop(process);

    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    assert!(cuts.len() > 3, "{} cuts", cuts.len());
    let mut prng = Prng::new(7);
    for (arrived, snapshot) in cuts {
        for _ in 0..4 {
            let style = CrashStyle::random(&mut prng);
            let image = Device::with(snapshot.crash_image(&mut prng, &style));
            let intake = store();
            arrived.items().into_iter().for_each(|item| assert!(intake.take(item)));
            recover(&image, &intake, &large, id).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_power_cut_at_any_moment_leaves_one_summary_and_the_record() {
    cut_a_summary(|_| {}, Intake::new).await.unwrap();
}

#[tokio::test]
async fn the_cuts_notice_a_hub_that_knows_no_names_and_a_missing_flush() {
    let error = cut_a_summary(|_| {}, Intake::that_forgets).await.unwrap_err();
    assert_eq!(error, "2 summaries");
    cut_a_summary(|disk| disk.ignore_flushes(true), Intake::new).await.unwrap_err();
}
