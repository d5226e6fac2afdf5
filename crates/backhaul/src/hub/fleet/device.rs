//! A device of the fleet: the courier's own decisions, and a backlog that is only counted.

use std::time::Duration;

use backhaul_store::{Chain, DeviceId, Epoch, Lane};
use backhaul_sync::SyncOptions;
use backhaul_sync::decisions::{Outage, Pace};
use backhaul_testkit::Prng;

use super::super::admission::Sender;
use super::super::origin::Source;
use super::plan::Plan;

/// What one exchange with the hub takes, at least and at most.
const ROUND_TRIP_MILLIS: (u64, u64) = (20, 200);
/// A courier that is told of the link begins within this time.
const NOTICED_MILLIS: u64 = 500;
/// How soon one that does not listen comes again.
const RUDE_MILLIS: (u64, u64) = (1_000, 5_000);

pub(super) struct Device {
    source: Source,
    listens: bool,
    /// When its first record was made; the others follow in `Plan::record_every`.
    phase: Duration,
    pub(super) delivered: u64,
    pace: Pace,
    outage: Outage,
    chance: Prng,
}

impl Device {
    pub(super) fn new(plan: &Plan, lots: &mut Prng) -> Self {
        let mut chance = lots.fork();
        let mut id = [0; 16];
        chance.fill(&mut id);
        let options =
            SyncOptions { fleet_spread_seconds: plan.spread.as_secs(), ..SyncOptions::default() };
        let mut outage = Outage::none(plan.spread, &id);
        outage.link_fails(Duration::ZERO);
        let mut pace = Pace::new(plan.batch_size, options.batch_bytes);
        if plan.begins_small && outage.is_long(plan.outage) {
            pace.begin_small();
        }
        let device = DeviceId(uuid::Uuid::from_bytes(id));
        let chain = Chain { lane: Lane::Normal, writer: 0 };
        Self {
            source: Source { device, epoch: Epoch(1), chain },
            listens: !chance.chance(plan.rude),
            phase: plan.record_every.mul_f64(share(&mut chance)),
            delivered: 0,
            pace,
            outage,
            chance,
        }
    }

    pub(super) fn sender(&self) -> Sender {
        Sender { source: Some(self.source), is_critical: false }
    }

    /// Records made until `now`.
    pub(super) fn made(&self, plan: &Plan, now: Duration) -> u64 {
        match now.checked_sub(self.phase) {
            Some(time) => {
                1 + u64::try_from(time.as_nanos() / plan.record_every.as_nanos()).unwrap()
            }
            None => 0,
        }
    }

    pub(super) fn next_record(&self, plan: &Plan, now: Duration) -> Duration {
        self.phase + plan.record_every * u32::try_from(self.made(plan, now)).unwrap()
    }

    /// How many it sends now.
    pub(super) fn batch(&self, plan: &Plan, now: Duration) -> usize {
        let waiting = usize::try_from(self.made(plan, now) - self.delivered).unwrap();
        waiting.min(self.pace.records())
    }

    /// How many it says that it sends after this batch.
    pub(super) fn next_batch(&self, plan: &Plan, now: Duration, records: usize) -> usize {
        let waiting = usize::try_from(self.made(plan, now) - self.delivered).unwrap() - records;
        waiting.min(self.pace.next(plan.batch_size))
    }

    /// When it comes after the link is up.
    pub(super) fn link_is_up(&mut self, now: Duration) -> Duration {
        let chance = share(&mut self.chance);
        let noticed = Duration::from_millis(self.chance.below(NOTICED_MILLIS));
        now + self.outage.link_is_up(now, chance) + noticed
    }

    /// When it comes after it was told to wait for whole seconds.
    pub(super) fn told(&mut self, plan: &Plan, now: Duration, after: Duration) -> Duration {
        let back = self.between(ROUND_TRIP_MILLIS);
        if !self.listens {
            return now + back + self.between(RUDE_MILLIS);
        }
        let chance = if plan.jitter { share(&mut self.chance) } else { 0.0 };
        now + back + Outage::asked(after, chance)
    }

    /// A batch was stored. When it comes with the next one.
    pub(super) fn stored(
        &mut self,
        plan: &Plan,
        now: Duration,
        records: usize,
        next: Option<Duration>,
    ) -> Duration {
        self.delivered += records as u64;
        self.pace.grow(plan.batch_size);
        let chance = share(&mut self.chance);
        let spread = self.outage.ends(now, chance);
        match next.filter(|_| self.listens) {
            Some(after) => self.told(plan, now, after),
            None => now + spread + self.between(ROUND_TRIP_MILLIS),
        }
    }

    fn between(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.chance.below(most - least))
    }
}

/// From 0 to 1.
fn share(lots: &mut Prng) -> f64 {
    f64::from(u32::try_from(lots.below(1 << 32)).unwrap()) / f64::from(u32::MAX)
}
