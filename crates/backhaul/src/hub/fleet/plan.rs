//! What is simulated.

use std::num::NonZeroU32;
use std::time::Duration;

/// A fleet, its outage, and its hub.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) devices: u32,
    pub(super) outage: Duration,
    /// Each device makes a record so often, also while it drains.
    pub(super) record_every: Duration,
    pub(super) batch_size: usize,
    /// `fleet_spread_seconds`.
    pub(super) spread: Duration,
    /// The share of devices that come again after 1 to 5 s whatever they are told.
    pub(super) rude: f64,
    pub(super) hub: HubKind,
    /// Whether waits that were asked for vary.
    pub(super) jitter: bool,
    /// Whether the first batch after the outage is small.
    pub(super) begins_small: bool,
    pub(super) seed: u64,
}

/// What stands before the hub's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HubKind {
    /// The hub's admission.
    Admission,
    /// Sabotage: nothing.
    Open,
    /// Sabotage: a limit for each second, and the same Retry-After for all.
    Limit,
}

impl Plan {
    /// Ten thousand devices make a record a minute each and lose the link for six hours. A
    /// smaller fleet has its records more often and a shorter outage, so that all else stays
    /// as it is: 360 records wait on each device, and the hub takes 333 a second.
    pub(super) fn new(devices: u32) -> Self {
        let record_every = Duration::from_millis(6) * devices;
        Self {
            devices,
            outage: record_every * 360,
            record_every,
            batch_size: 50,
            spread: Duration::ZERO,
            rude: 0.0,
            hub: HubKind::Admission,
            jitter: true,
            begins_small: true,
            seed: 1,
        }
    }

    /// Records a second that the fleet makes.
    pub(super) fn steady(&self) -> f64 {
        f64::from(self.devices) / self.record_every.as_secs_f64()
    }

    /// Records a second that the hub takes: twice as many.
    pub(super) fn capacity(&self) -> NonZeroU32 {
        let millis = u32::try_from(self.record_every.as_millis()).unwrap();
        NonZeroU32::new(2000 * self.devices / millis).unwrap()
    }

    /// What draining takes where the hub is busy all the time.
    pub(super) fn ideal(&self, backlog: u64) -> Duration {
        let spare = f64::from(self.capacity().get()) - self.steady();
        Duration::from_secs(1).mul_f64(backlog as f64 / spare)
    }
}
