//! What is in the way, where it is neither the link nor the destination.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Batch, Flush, Options, Spool};
use backhaul_sync::{
    BandwidthManager, BandwidthOptions, BlockedKind, Deliver, Destination, SyncManager, SyncReport,
    Verdict,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk};
use tokio::time::Instant;

use crate::support::{Device, append, pass, plain, record};

// --- The rate --------------------------------------------------------------------------

/// Sends its batches in pieces, as the rate allows.
struct Paced {
    budget: BandwidthManager,
    piece: u64,
}

impl Destination for Paced {
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
        Box::pin(async move {
            for offer in &batch.records {
                for piece in offer.record.body.chunks(usize::try_from(self.piece).unwrap()) {
                    self.budget.pace(piece.len() as u64).await;
                }
            }
            Ok(vec![Verdict::Delivered; batch.records.len()])
        })
    }

    fn bandwidth(&self) -> Option<&BandwidthManager> {
        Some(&self.budget)
    }
}

/// A courier of a device with a rate, or none, and how long its 60,000 bytes take. In every
/// second of that time it has to say the same.
async fn drains(rate_limit_kbps: Option<u64>, says: Option<BlockedKind>) -> (SyncReport, Duration) {
    let device = Device::new();
    let options = BandwidthOptions { rate_limit_kbps, ..BandwidthOptions::default() };
    let budget = BandwidthManager::new("/nowhere", options).unwrap();
    let destination = Arc::new(Paced { budget, piece: 1_000 });
    let courier = SyncManager::new(device.open(), destination, plain()).unwrap();
    for _ in 0..6 {
        append(&courier, &"x".repeat(10_000));
    }
    assert_eq!(courier.status().blocked_by, None);
    let began = Instant::now();
    let sync = tokio::spawn({
        let courier = courier.clone();
        async move { (courier.sync_now().await, began.elapsed()) }
    });
    pass(1).await;
    while !sync.is_finished() {
        let status = courier.status();
        assert!(status.is_syncing && status.last_error.is_none(), "{status:?}");
        assert_eq!(status.blocked_by.map(|blocked| blocked.kind), says);
        pass(1).await;
    }
    assert_eq!(courier.status().blocked_by, None);
    sync.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_rate_slows_says_so_until_it_is_done() {
    let (report, took) = drains(Some(48), Some(BlockedKind::Rate)).await;
    // 60,000 bytes at 6,000 a second, less the burst.
    assert_eq!((report.synced, report.blocked_by), (6, None));
    assert!((9..=10).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_nothing_is_slowed() {
    let (report, took) = drains(None, None).await;
    assert_eq!((report.synced, took), (6, Duration::ZERO));
}

// --- The disk --------------------------------------------------------------------------

/// A courier on a disk that fails as it is told, with three records.
fn on_a_faulty_disk(device: &Device, flush: Flush) -> (SyncManager, Faults) {
    let faults = Faults::new();
    let disk = Arc::new(FaultyDisk::new(device.disk.clone(), faults.clone()));
    let options = Options { maintenance_thread: false, ..Options::default() };
    let spool = Spool::open_on("/spool", options, disk, device.clock.clone()).unwrap();
    let courier = SyncManager::new(spool, device.hub.clone(), plain()).unwrap();
    for n in 0..3 {
        courier.spool().submit_with(record(&n.to_string()), flush).unwrap().wait().unwrap();
    }
    (courier, faults)
}

/// A sync that the disk keeps from its end: it says so, nothing is lost, and the background
/// task goes on by itself when the disk does.
async fn is_blocked_by_the_disk(device: &Device, courier: &SyncManager, faults: &Faults) {
    let report = courier.sync_now().await;
    let blocked = report.blocked_by.unwrap();
    assert_eq!((blocked.kind, blocked.kind.name()), (BlockedKind::Storage, "storage"));
    assert_eq!((report.synced, report.failed, report.remaining), (0, 0, 3), "{blocked}");
    let status = courier.status();
    assert_eq!(status.blocked_by.unwrap(), blocked);
    assert_eq!(status.last_error.unwrap(), blocked.reason);
    assert_eq!(device.hub.requests(), 0);

    courier.start().await;
    pass(60).await;
    assert_eq!(courier.status().pending_count, 3);
    faults.clear();
    pass(60).await;
    let status = courier.status();
    assert_eq!((status.pending_count, status.blocked_by, status.last_error), (0, None, None));
    assert_eq!(device.hub.bodies(), ["0", "1", "2"]);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_read_blocks_until_it_can() {
    let device = Device::new();
    let (courier, faults) = on_a_faulty_disk(&device, Flush::Always);
    faults.add(Fault::any(&[Call::Open, Call::Read], EIO));
    is_blocked_by_the_disk(&device, &courier, &faults).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_the_disk_does_not_make_durable_do_not_leave() {
    let device = Device::new();
    let (courier, faults) = on_a_faulty_disk(&device, Flush::Never);
    faults.add(Fault::new(Call::Flush, EIO));
    is_blocked_by_the_disk(&device, &courier, &faults).await;
}

/// The accounts hold what became of records, whatever the disk says.
#[tokio::test(start_paused = true)]
async fn verdicts_that_the_disk_does_not_take_hold_up_nothing_and_are_written_down_later() {
    let device = Device::new();
    let (courier, faults) = on_a_faulty_disk(&device, Flush::Always);
    faults.add(Fault::any(&Call::CHANGES, EIO));
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining, report.blocked_by), (3, 0, None));
    assert!(faults.failures(Call::Write) > 0, "nobody wrote anything");
    assert_eq!(courier.sync_now().await.synced, 0);
    faults.clear();
    courier.spool().maintain().unwrap();
    drop(courier);
    // Another process knows it too.
    let report = device.courier(plain()).sync_now().await;
    assert_eq!((report.synced, report.remaining), (0, 0));
    assert_eq!(device.hub.sizes(), [3]);
}
