//! A device with a disk, a clock that a test moves, and a kernel that says what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_store::{Clock as _, Timestamp};
use backhaul_sync::{
    BandwidthManager, BandwidthOptions, ClockCheck, Criticality, Denied, Reservation,
};
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, ManualClock, SimDisk};

pub(crate) const DIR: &str = "/data/bandwidth";
pub(crate) const COPIES: [&str; 2] =
    ["/data/bandwidth/usage.json", "/data/bandwidth/usage.copy.json"];
pub(crate) const MB: u64 = 1_000_000;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Whether the kernel says that the clock is right.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel(Arc<AtomicBool>);

impl Kernel {
    pub(crate) fn set(&self, is_synchronised: bool) {
        self.0.store(is_synchronised, Ordering::SeqCst);
    }
}

impl ClockCheck for Kernel {
    fn max_error(&self) -> Option<Duration> {
        self.0.load(Ordering::SeqCst).then_some(Duration::ZERO)
    }
}

/// A process, which can be killed.
pub(crate) struct Process {
    budget: Option<BandwidthManager>,
    pub(crate) faults: Faults,
}

impl Process {
    /// Ends it without a chance to write anything. Its locks are free then.
    pub(crate) fn kill(self) {
        self.faults.add(Fault::any(&Call::ALL, backhaul_testkit::errno::EIO));
    }
}

impl std::ops::Deref for Process {
    type Target = BandwidthManager;

    fn deref(&self) -> &BandwidthManager {
        self.budget.as_ref().unwrap()
    }
}

pub(crate) struct Device {
    pub(crate) disk: SimDisk,
    pub(crate) clock: ManualClock,
    pub(crate) kernel: Kernel,
    pub(crate) options: BandwidthOptions,
}

impl Device {
    /// A device with a cap, at noon of a day in 2026. Its clock is right, and known to be.
    pub(crate) fn with_cap(limit_mb: u64, reserve_mb: u64) -> Self {
        let device = Self {
            disk: SimDisk::new(),
            clock: ManualClock::at(Timestamp::parse("2026-03-10T12:00:00Z").unwrap()),
            kernel: Kernel::default(),
            options: BandwidthOptions {
                daily_limit_mb: Some(limit_mb),
                priority_reserve_mb: reserve_mb,
                ..BandwidthOptions::default()
            },
        };
        device.kernel.set(true);
        device
    }

    /// The same, and nobody knows whether its clock is right.
    pub(crate) fn with_unknown_clock(limit_mb: u64) -> Self {
        let device = Self::with_cap(limit_mb, 0);
        device.kernel.set(false);
        device
    }

    pub(crate) fn start(&self) -> Process {
        let faults = Faults::new();
        let disk = Arc::new(FaultyDisk::new(self.disk.clone(), faults.clone()));
        let (clock, kernel) = (Arc::new(self.clock.clone()), Arc::new(self.kernel.clone()));
        let budget = BandwidthManager::new_on(DIR, self.options, disk, clock, kernel).unwrap();
        Process { budget: Some(budget), faults }
    }

    /// Lets time pass, and looks after the budget as a courier does.
    pub(crate) fn pass(&self, time: Duration, budget: &BandwidthManager) {
        let steps = u32::try_from(time.as_secs().div_ceil(60)).unwrap();
        for _ in 0..steps {
            self.clock.advance(time / steps);
            budget.maintain();
        }
    }

    /// Lets time pass that nobody watches.
    pub(crate) fn sleep(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Has the wall clock jump.
    pub(crate) fn jump(&self, days: i64) {
        let micros = days * 24 * 3600 * 1_000_000;
        let wall = self.clock.now().wall.as_micros() + micros;
        self.clock.set_wall(Timestamp::from_micros(wall));
    }

    pub(crate) fn set_wall(&self, wall: &str) {
        self.clock.set_wall(Timestamp::parse(wall).unwrap());
    }
}

/// Sends bytes of normal traffic, all of them or none.
pub(crate) fn send(budget: &BandwidthManager, bytes: u64) -> Result<(), Denied> {
    send_as(budget, bytes, Criticality::Normal)
}

pub(crate) fn send_as(
    budget: &BandwidthManager,
    bytes: u64,
    criticality: Criticality,
) -> Result<(), Denied> {
    budget.reserve(bytes, criticality).map(|reservation: Reservation| reservation.commit(bytes))
}

/// Sends pieces until one is denied. How many bytes went.
pub(crate) fn send_all(budget: &BandwidthManager, piece: u64) -> u64 {
    let mut sent = 0;
    while send(budget, piece).is_ok() {
        sent += piece;
        assert!(sent < 1 << 40, "nothing stops it");
    }
    sent
}

pub(crate) fn used(budget: &BandwidthManager) -> u64 {
    budget.status().used_bytes
}
