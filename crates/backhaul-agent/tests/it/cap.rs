//! The data cap over a real link, whose bytes are counted outside of the courier.

mod days;
mod device;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_agent::CloudRunLoggerBuilder;
use backhaul_sync::{BandwidthManager, BandwidthOptions, ClockCheck};
use backhaul_testkit::{FaultLink, SimDisk};

use crate::device::{noise, record};
use crate::journey::Journey;

const MB: u64 = 1_000_000;

/// What the kernel says of the clock.
#[derive(Debug)]
pub(crate) struct Kernel(AtomicBool);

impl Kernel {
    pub(crate) fn synchronised(is_synchronised: bool) -> Self {
        Self(AtomicBool::new(is_synchronised))
    }

    fn set(&self, is_synchronised: bool) {
        self.0.store(is_synchronised, Ordering::SeqCst);
    }
}

impl ClockCheck for Kernel {
    fn max_error(&self) -> Option<Duration> {
        self.0.load(Ordering::SeqCst).then_some(Duration::ZERO)
    }
}

/// A modem with a volume a day.
struct Modem {
    disk: SimDisk,
    options: BandwidthOptions,
}

impl Modem {
    fn with_cap(daily_limit_mb: u64, priority_reserve_mb: u64) -> Self {
        let options = BandwidthOptions {
            daily_limit_mb: Some(daily_limit_mb),
            priority_reserve_mb,
            ..BandwidthOptions::default()
        };
        Self { disk: SimDisk::new(), options }
    }

    fn budget(&self, journey: &Journey) -> BandwidthManager {
        let clock = Arc::new(journey.device.clock.clone());
        let kernel = Arc::new(Kernel::synchronised(true));
        let disk = Arc::new(self.disk.clone());
        BandwidthManager::new_on("/data/bandwidth", self.options, disk, clock, kernel).unwrap()
    }

    fn logger(&self, journey: &Journey) -> (CloudRunLoggerBuilder, BandwidthManager) {
        let budget = self.budget(journey);
        (journey.logger(journey.link.url()).bandwidth(budget.clone()), budget)
    }
}

fn bytes(link: &FaultLink) -> u64 {
    let counts = link.counts();
    counts.bytes_up + counts.bytes_down
}

#[tokio::test]
async fn without_a_cap_a_budget_counts_what_the_link_carries() {
    let mut journey = Journey::of(30);
    journey.enqueue(&noise("large", 300_000));
    let budget = BandwidthManager::new_on(
        "/data/bandwidth",
        BandwidthOptions::default(),
        Arc::new(SimDisk::new()),
        Arc::new(journey.device.clock.clone()),
        Arc::new(Kernel::synchronised(true)),
    )
    .unwrap();
    journey.send_to(journey.logger(journey.link.url()).bandwidth(budget.clone()));
    assert_eq!(journey.sync().await.remaining, 0);
    let carried = bytes(&journey.link);
    let counted = budget.status().used_bytes;
    assert!(counted >= carried, "{counted} counted, {carried} carried");
    // Headers below HTTP, TLS and a connection come on top.
    assert!(counted <= carried * 11 / 10 + 10_000, "{counted} counted, {carried} carried");
    journey.check();
}

#[tokio::test]
async fn a_record_above_the_cap_waits_and_the_others_go() {
    let mut journey = Journey::of(5);
    journey.enqueue(&noise("too large", 3_000_000));
    journey.enqueue(&record("after it"));
    let modem = Modem::with_cap(1, 0);
    let (logger, _budget) = modem.logger(&journey);
    journey.send_to(logger);
    let report = journey.sync().await;
    assert_eq!((report.synced, report.oversized, report.failed), (6, 1, 0));
    assert!(bytes(&journey.link) < 100_000);
    // Somebody raises the cap.
    journey.device.clock.advance(Duration::from_secs(3601));
    journey.arrives_over_the_link().await;
}
