//! What of the data cap is kept for critical records is there for them when normal records
//! have used up all the rest. The bytes are those that a proxy has counted.

use std::sync::Arc;
use std::time::Duration;

use backhaul::sync::{BandwidthManager, BandwidthOptions, BlockedKind, ClockCheck};
use backhaul_testkit::SimDisk;

use crate::journey::Journey;

const MB: u64 = 1_000_000;
const LIMIT_MB: u64 = 2;
/// All records are of one size, so that no critical one fits where a normal one does not.
const BYTES: usize = 150_000;

/// A clock that is known to be right.
#[derive(Debug)]
struct Right;

impl ClockCheck for Right {
    fn max_error(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// A day on which normal records use up their part, and critical ones come only then: how
/// much the normal ones sent, and how many of five critical ones passed on that day.
async fn a_day(priority_reserve_mb: u64) -> (u64, u64) {
    let mut journey = Journey::begin();
    journey.next_device(0);
    let options = BandwidthOptions {
        daily_limit_mb: Some(LIMIT_MB),
        priority_reserve_mb,
        ..BandwidthOptions::default()
    };
    let clock = Arc::new(journey.device.clock.clone());
    let disk = Arc::new(SimDisk::new());
    let budget = BandwidthManager::new_on("/data/bandwidth", options, disk, clock, Arc::new(Right));
    journey.budget = Some(budget.unwrap());
    // A batch that the cap denies was compressed in vain: let it be of one record.
    journey.options.batch_bytes = BYTES;

    for _ in 0..30 {
        journey.write_noise(BYTES);
    }
    let report = journey.sync().await;
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Cap);
    let normal = carried(&journey);

    for _ in 0..5 {
        journey.write_critical(BYTES);
    }
    let critical = journey.sync().await.synced;
    // More of them than the reserve holds: it is a part of the cap, and nothing beyond it.
    for _ in 0..20 {
        journey.write_critical(BYTES);
    }
    let report = journey.sync().await;
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Cap);
    assert!(carried(&journey) <= LIMIT_MB * MB, "{} bytes in a day", carried(&journey));
    journey.arrives().await;
    journey.end();
    (normal, critical)
}

fn carried(journey: &Journey) -> u64 {
    let counts = journey.link.counts();
    counts.bytes_up + counts.bytes_down
}

#[tokio::test]
async fn critical_records_pass_within_the_reserve_when_normal_ones_have_used_up_the_rest() {
    let (normal, critical) = a_day(1).await;
    assert!(normal <= MB, "normal records took {normal} bytes, of them some of the reserve");
    assert!(normal >= MB * 3 / 4, "normal records stopped after {normal} bytes");
    assert_eq!(critical, 5);
}

#[tokio::test]
async fn without_a_reserve_critical_records_that_come_late_wait_for_the_next_day() {
    let (normal, critical) = a_day(0).await;
    assert!(normal >= MB * 7 / 4, "normal records stopped after {normal} bytes");
    assert_eq!(critical, 0);
}
