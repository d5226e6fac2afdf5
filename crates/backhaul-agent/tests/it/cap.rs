//! The data cap over a real link, whose bytes are counted outside of the courier.

use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::CloudRunLoggerBuilder;
use backhaul_store::Timestamp;
use backhaul_sync::{BandwidthManager, BandwidthOptions, BlockedKind, ClockCheck};
use backhaul_testkit::{FaultLink, LinkFault, Point, Prng, SimDisk};

use crate::device::{noise, record};
use crate::journey::Journey;

const MB: u64 = 1_000_000;
const QUARTER: Duration = Duration::from_secs(15 * 60);

/// What the kernel says of the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) is_synchronised: bool,
}

impl ClockCheck for Kernel {
    fn max_error(&self) -> Option<Duration> {
        self.is_synchronised.then_some(Duration::ZERO)
    }
}

/// A modem with a volume a day.
struct Modem {
    disk: SimDisk,
    options: BandwidthOptions,
    is_synchronised: bool,
}

impl Modem {
    fn with_cap(daily_limit_mb: u64, priority_reserve_mb: u64) -> Self {
        let options = BandwidthOptions {
            daily_limit_mb: Some(daily_limit_mb),
            priority_reserve_mb,
            ..BandwidthOptions::default()
        };
        Self { disk: SimDisk::new(), options, is_synchronised: true }
    }

    fn budget(&self, journey: &Journey) -> BandwidthManager {
        let clock = Arc::new(journey.device.clock.clone());
        let kernel = Arc::new(Kernel { is_synchronised: self.is_synchronised });
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

/// A day that the device is on.
fn pass_a_day(journey: &Journey, budget: &BandwidthManager) {
    for _ in 0..24 * 4 {
        journey.device.clock.advance(QUARTER);
        budget.maintain();
    }
}

#[tokio::test]
async fn no_day_carries_more_than_the_cap_and_critical_records_go_first() {
    let mut journey = Journey::of(0);
    for n in 0..60 {
        journey.enqueue(&noise(&format!("run_{n}"), 60_000));
    }
    for n in 0..8 {
        let mut critical = noise(&format!("critical_{n}"), 60_000);
        critical.metadata.insert("critical".into(), true.into());
        journey.enqueue(&critical);
    }
    let mut modem = Modem::with_cap(2, 1);
    let mut prng = Prng::new(7);
    let mut days = 0;
    loop {
        let (logger, budget) = modem.logger(&journey);
        journey.send_to(logger);
        let before = bytes(&journey.link);
        // Some requests break off: what they cost counts too.
        for _ in 0..prng.index(3) {
            journey
                .link
                .next(1, LinkFault::reset(*prng.pick(&[Point::Request, Point::AnswerHead])));
        }
        let mut report = journey.sync().await;
        for _ in 0..6 {
            if report.remaining == 0 {
                break;
            }
            journey.device.clock.advance(Duration::from_secs(60));
            report = journey.sync().await;
        }
        let carried = bytes(&journey.link) - before;
        assert!(carried <= 2 * MB, "{carried} bytes in a day");
        if days == 0 {
            let arrived = journey.intake.items();
            let arrived: Vec<String> = arrived
                .iter()
                .map(|item| String::from_utf8_lossy(&item.body).into_owned())
                .collect();
            let critical = arrived.iter().filter(|body| body.contains("\"critical\"")).count();
            assert_eq!(critical, 8, "critical records wait behind {}", arrived.len());
        }
        if report.remaining == 0 {
            break;
        }
        assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Cap);
        pass_a_day(&journey, &budget);
        match days % 4 {
            // The process dies, with all that it has taken ahead.
            1 => modem.disk.kill_process(),
            // The device boots in 1970, and nobody knows what time it is.
            2 => {
                journey.device.clock.set_wall(Timestamp::from_micros(0));
                modem.is_synchronised = false;
            }
            3 => journey.device.clock.set_wall(Timestamp::parse("2046-01-01T00:00:00Z").unwrap()),
            _ => {}
        }
        days += 1;
        assert!(days < 60, "it never arrives");
    }
    assert!(days >= 3, "all of it went in {days} days");
    journey.check();
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
        Arc::new(Kernel { is_synchronised: true }),
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
