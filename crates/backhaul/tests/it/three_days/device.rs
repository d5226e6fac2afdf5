//! A device in memory: its disk survives what becomes of its boots.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backhaul::observability::{
    CloudRunLogger, Enqueued, OfflineQueue, OfflineRunLogger, RunEnd, RunLogger as _, RunRecord,
    RunStart, ToolCall,
};
use backhaul::store::Timestamp;
use backhaul::sync::{
    BandwidthManager, BandwidthOptions, ClockCheck, SyncEvent, SyncEvents, SyncManager, SyncOptions,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};
use serde_json::json;

use super::{CAP, Sabotage};
use crate::support::noise;

/// What the kernel says of the clock in this boot.
#[derive(Debug)]
struct Synchronised(bool);

impl ClockCheck for Synchronised {
    fn max_error(&self) -> Option<Duration> {
        self.0.then_some(Duration::ZERO)
    }
}

/// A run that the device is to write.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) bytes: usize,
    pub(super) is_critical: bool,
    pub(super) stream: Option<&'static str>,
}

impl Run {
    pub(super) fn id(&self) -> String {
        format!("run_{}", self.number)
    }
}

/// A process from its start to its end, which the battery decides.
pub(super) struct Boot {
    faults: Faults,
    pub(super) budget: BandwidthManager,
    pub(super) logger: OfflineRunLogger,
    pub(super) courier: SyncManager,
    events: SyncEvents,
}

impl Boot {
    pub(super) fn queue(&self) -> &OfflineQueue {
        self.logger.offline_queue()
    }

    /// Begins a run, as the agent goes through it.
    pub(super) fn begin(&self, run: &Run) {
        let mut start = RunStart::new(run.id()).critical(run.is_critical);
        if let Some(stream) = run.stream {
            start = start.metadata("stream", stream);
        }
        self.logger.start_run(start);
        for call in 0..3 {
            let reading = noise(run.number * 3 + call, run.bytes / 3);
            self.logger.record_tool_call(ToolCall::new("sensor", json!({}), json!(reading)));
        }
    }

    /// Ends it. `Some`: it was acknowledged, if the power is still there.
    pub(super) fn end(&self) -> Option<RunRecord> {
        let record = self.logger.end_run(RunEnd::new()).unwrap();
        matches!(self.logger.last_enqueued(), Some(Enqueued::Stored(_))).then_some(record)
    }

    /// Records in each batch that was answered since the last call.
    pub(super) fn answered(&mut self) -> Vec<u64> {
        let mut answered = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(event)) = std::pin::pin!(self.events.next()).poll(&mut context) {
            if let SyncEvent::Settled { synced, .. } = event {
                answered.push(synced);
            }
        }
        answered
    }
}

pub(super) struct Device {
    pub(super) disk: SimDisk,
    pub(super) clock: ManualClock,
    pub(super) sabotage: Sabotage,
    /// What is left of the disk when the power goes at a flush.
    cut: Arc<Mutex<Option<SimDisk>>>,
}

impl Device {
    pub(super) fn new(sabotage: Sabotage) -> Self {
        let wall = Timestamp::parse("2026-03-10T06:00:00Z").unwrap();
        let (disk, clock) = (SimDisk::new(), ManualClock::at(wall));
        disk.ignore_flushes(sabotage == Sabotage::NoFlushes);
        Self { disk, clock, sabotage, cut: Arc::default() }
    }

    /// Starts the agent with its courier.
    pub(super) async fn boot(&self, url: &str, timeout: Duration, is_synchronised: bool) -> Boot {
        let faults = Faults::new();
        let disk = Arc::new(FaultyDisk::new(self.disk.clone(), faults.clone()));
        let clock = Arc::new(self.clock.clone());
        let trusted = self.sabotage == Sabotage::TrustTheWallClock;
        let options = BandwidthOptions {
            daily_limit_mb: Some(CAP.0),
            priority_reserve_mb: CAP.1,
            ..BandwidthOptions::default()
        };
        let kernel = Arc::new(Synchronised(is_synchronised || trusted));
        let budget = BandwidthManager::new_on(
            "/data/bandwidth",
            options,
            disk.clone(),
            clock.clone(),
            kernel,
        );
        let budget = budget.unwrap();
        let queue = OfflineQueue::builder("/data/queue")
            .disk(disk)
            .clock(clock.clone())
            .maintenance_thread(false)
            .open()
            .unwrap();
        let primary = CloudRunLogger::builder(url)
            .timeout(timeout)
            .clock(clock)
            .bandwidth(budget.clone())
            .build()
            .unwrap();
        let logger = OfflineRunLogger::builder()
            .primary(primary)
            .queue(queue)
            .flush_events(true)
            .build()
            .unwrap();
        // A batch that the cap denies was compressed in vain: let it be small.
        let options = SyncOptions { batch_bytes: 200_000, ..SyncOptions::default() };
        let courier = logger.offline_queue().sync_manager(options).unwrap();
        let events = courier.events();
        courier.start().await;
        Boot { faults, budget, logger, courier, events }
    }

    /// Has the power go at the flush after so many others.
    pub(super) fn cut_after(&self, mut flushes: u64, random: &mut Prng) {
        let (cut, mut random) = (Arc::clone(&self.cut), random.fork());
        let keeps_nothing = self.sabotage == Sabotage::NoFlushes;
        self.disk.on_flush(Box::new(move |snapshot| {
            if flushes == 0 {
                let style = style(keeps_nothing, &mut random);
                *cut.lock().unwrap() = Some(snapshot.crash_image(&mut random, &style));
            }
            flushes = flushes.wrapping_sub(1);
        }));
    }

    /// Whether the power has gone at a flush.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.lock().unwrap().is_some()
    }

    /// Ends the boot, with the disk as the cut at a flush left it, or as a cut now does.
    pub(super) fn power_cut(&mut self, boot: Boot, random: &mut Prng) {
        boot.faults.add(Fault::any(&Call::ALL, EIO));
        self.disk.clear_on_flush();
        let style = style(self.sabotage == Sabotage::NoFlushes, random);
        let cut = self.cut.lock().unwrap().take();
        self.disk = cut.unwrap_or_else(|| self.disk.crash_image(random, &style));
        self.clock.reboot();
        drop(boot);
    }

    /// Lets time pass, and has the boot's parts looked after, as their threads do.
    pub(super) fn pass(&self, time: Duration, boot: &Boot) {
        self.clock.advance(time);
        boot.budget.maintain();
        // The disk may be gone by now.
        let _ = boot.queue().spool().maintain();
    }
}

fn style(keeps_nothing: bool, random: &mut Prng) -> CrashStyle {
    let style = CrashStyle::random(random);
    if keeps_nothing { CrashStyle { keep: 0.0, tear: 0.0, ..style } } else { style }
}
