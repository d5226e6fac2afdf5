//! A device whose true time is known to the test alone, and what went over its wire.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{Clock as _, Timestamp};
use backhaul_sync::{BandwidthOptions, Criticality, Denied, Refill, Reservation};
use backhaul_testkit::{CrashStyle, ManualClock, Prng, SimDisk, SimSnapshot};

use super::support::{Device, Kernel, MB, Process};

/// Processes at once.
pub(crate) const PROCESSES: usize = 3;
const DAY_MS: i64 = 24 * 3600 * 1000;

#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) limit_mb: u64,
    pub(crate) reserve_mb: u64,
    pub(crate) refill: Refill,
    /// How fast the device's monotonic clock runs, in millionths.
    pub(crate) drift_ppm: i64,
    pub(crate) seed: u64,
}

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Every clock counts as right.
    TrustTheWallClock,
    /// Flushes and folder syncs do nothing.
    KeepNothing,
}

/// Where the wall clock stands after a boot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WallAtBoot {
    /// It went on.
    Right,
    /// It stood still while the device was off.
    Stopped,
    /// It begins anew.
    In1970,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Send {
        process: usize,
        bytes: u64,
        critical: bool,
        percent: u64,
        end: End,
    },
    /// A part of what is open goes over the wire.
    GoOn {
        process: usize,
        percent: u64,
    },
    /// All that is open comes to its end.
    Finish {
        process: usize,
    },
    /// The process ends in good order, and is started again when it is needed.
    Restart {
        process: usize,
    },
    /// It is killed; a part of what was open went over the wire.
    Kill {
        process: usize,
        percent: u64,
    },
    PowerCut {
        off_minutes: u64,
        percent: u64,
        wall: WallAtBoot,
    },
    /// The power goes at a flush while something is reserved.
    CutAtFlush {
        process: usize,
        bytes: u64,
        flush: usize,
        off_minutes: u64,
        wall: WallAtBoot,
    },
    Reboot {
        off_minutes: u64,
        wall: WallAtBoot,
    },
    /// The wall clock jumps, and the kernel notices.
    Jump {
        minutes: i64,
    },
    /// The kernel is synchronised, or is not any more.
    Synchronise(bool),
    /// A server tells the time.
    ServerDate {
        process: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Commit,
    Drop,
    Keep,
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Time that passes before it.
    pub(crate) minutes: u64,
    /// Whether the processes look after their budget meanwhile.
    pub(crate) maintained: bool,
    pub(crate) action: Action,
}

struct Worker {
    open: Vec<Open>,
    process: Process,
}

struct Open {
    reservation: Reservation,
    kind: Criticality,
    bytes: u64,
    /// Of them: over the wire, whether or not it was told.
    wire: u64,
}

/// What the runs came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    pub(crate) cases: u64,
    pub(crate) steps: u64,
    pub(crate) days: u64,
    pub(crate) megabytes: u64,
    /// Of what the caps would have allowed, had everything been known.
    pub(crate) allowed_megabytes: u64,
    pub(crate) denied_by_cap: u64,
    pub(crate) denied_by_reserve: u64,
    pub(crate) critical_in_reserve: u64,
    pub(crate) kills: u64,
    pub(crate) power_cuts: u64,
    pub(crate) cuts_at_flushes: u64,
    pub(crate) jumps: u64,
    pub(crate) full_periods: u64,
}

pub(crate) struct World {
    setup: Setup,
    sabotage: Sabotage,
    device: Device,
    workers: [Option<Worker>; PROCESSES],
    truth_ms: i64,
    /// Bytes over the wire, by the true period in which they went: normal, critical.
    wire: BTreeMap<i64, (u64, u64)>,
    random: Prng,
    pub(crate) figures: Figures,
}

impl World {
    pub(crate) fn new(setup: &Setup, sabotage: Sabotage) -> Self {
        let truth_ms = millis(Timestamp::parse("2026-01-10T09:00:00Z").unwrap());
        let device = Device {
            disk: SimDisk::new(),
            clock: ManualClock::at(Timestamp::from_micros(truth_ms * 1000)),
            kernel: Kernel::default(),
            options: BandwidthOptions {
                daily_limit_mb: Some(setup.limit_mb),
                priority_reserve_mb: setup.reserve_mb,
                refill: setup.refill,
                ..BandwidthOptions::default()
            },
        };
        device.kernel.set(sabotage == Sabotage::TrustTheWallClock);
        let mut world = Self {
            setup: setup.clone(),
            sabotage,
            device,
            workers: [None, None, None],
            truth_ms,
            wire: BTreeMap::new(),
            random: Prng::new(setup.seed),
            figures: Figures::default(),
        };
        world.spoil_disk();
        world
    }

    fn spoil_disk(&mut self) {
        let spoiled = self.sabotage == Sabotage::KeepNothing;
        self.device.disk.ignore_flushes(spoiled);
        self.device.disk.ignore_dir_syncs(spoiled);
    }

    // --- Time ------------------------------------------------------------------

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        self.figures.steps += 1;
        let pieces = if step.maintained { step.minutes.div_ceil(10) } else { 1 };
        for _ in 0..pieces {
            self.pass(step.minutes * 60_000 / pieces.max(1));
            if step.maintained {
                self.workers.iter().flatten().for_each(|worker| worker.process.maintain());
            }
        }
        self.act(&step.action)
    }

    fn pass(&mut self, ms: u64) {
        let signed = i64::try_from(ms).unwrap();
        self.truth_ms += signed;
        let micros = signed * 1000 + signed * self.setup.drift_ppm / 1000;
        self.device.clock.advance(Duration::from_micros(u64::try_from(micros).unwrap()));
        self.correct_wall();
    }

    /// A kernel that is synchronised has the right time.
    fn correct_wall(&self) {
        if self.is_synchronised() {
            self.device.clock.set_wall(Timestamp::from_micros(self.truth_ms * 1000));
        }
    }

    fn is_synchronised(&self) -> bool {
        use backhaul_sync::ClockCheck as _;
        self.sabotage != Sabotage::TrustTheWallClock && self.device.kernel.max_error().is_some()
    }

    fn synchronise(&self, is_synchronised: bool) {
        if self.sabotage != Sabotage::TrustTheWallClock {
            self.device.kernel.set(is_synchronised);
            self.correct_wall();
        }
    }

    fn boot(&mut self, off_minutes: u64, wall: WallAtBoot) {
        self.synchronise(false);
        self.truth_ms += i64::try_from(off_minutes * 60_000).unwrap();
        self.device.clock.reboot();
        match wall {
            WallAtBoot::Right => {
                self.device.clock.set_wall(Timestamp::from_micros(self.truth_ms * 1000));
            }
            WallAtBoot::Stopped => {}
            WallAtBoot::In1970 => self.device.clock.set_wall(Timestamp::from_micros(0)),
        }
    }

    // --- Acting ----------------------------------------------------------------

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Send { process, bytes, critical, percent, end } => {
                let kind = if critical { Criticality::Critical } else { Criticality::Normal };
                self.send(process, bytes, kind, percent, end)
            }
            Action::GoOn { process, percent } => self.go_on(process, percent),
            Action::Finish { process } => {
                for open in self.open(process) {
                    self.finish(open, End::Commit);
                }
                Ok(())
            }
            Action::Restart { process } => {
                for open in self.open(process) {
                    self.finish(open, End::Commit);
                }
                self.workers[process] = None;
                Ok(())
            }
            Action::Kill { process, percent } => {
                self.figures.kills += 1;
                self.kill(process, percent)
            }
            Action::PowerCut { off_minutes, percent, wall } => {
                self.figures.power_cuts += 1;
                self.kill_all(percent)?;
                let style = CrashStyle::random(&mut self.random);
                self.device.disk.power_cut(&mut self.random, &style);
                self.boot(off_minutes, wall);
                Ok(())
            }
            Action::CutAtFlush { process, bytes, flush, off_minutes, wall } => {
                self.cut_at_flush(process, bytes, flush)?;
                self.boot(off_minutes, wall);
                Ok(())
            }
            Action::Reboot { off_minutes, wall } => {
                for process in 0..PROCESSES {
                    self.act(&Action::Restart { process })?;
                }
                self.boot(off_minutes, wall);
                Ok(())
            }
            Action::Jump { minutes } => {
                self.figures.jumps += 1;
                self.synchronise(false);
                let wall = self.device.clock.now().wall.as_micros() + minutes * 60_000_000;
                self.device.clock.set_wall(Timestamp::from_micros(wall));
                Ok(())
            }
            Action::Synchronise(is_synchronised) => {
                self.synchronise(is_synchronised);
                Ok(())
            }
            Action::ServerDate { process } => {
                let travelled = self.random.below(20_000_000);
                let micros = self.truth_ms * 1000 - i64::try_from(travelled).unwrap();
                self.worker(process).process.note_server_date(Timestamp::from_micros(micros));
                Ok(())
            }
        }
    }

    fn worker(&mut self, process: usize) -> &mut Worker {
        let device = &self.device;
        self.workers[process]
            .get_or_insert_with(|| Worker { open: Vec::new(), process: device.start() })
    }

    fn open(&mut self, process: usize) -> Vec<Open> {
        let worker = self.workers[process].as_mut();
        worker.map(|worker| std::mem::take(&mut worker.open)).unwrap_or_default()
    }

    fn send(
        &mut self,
        process: usize,
        bytes: u64,
        kind: Criticality,
        percent: u64,
        end: End,
    ) -> Result<(), String> {
        let reservation = match self.worker(process).process.reserve(bytes, kind) {
            Ok(reservation) => reservation,
            Err(denied) => return self.check_denied(process, bytes, &denied),
        };
        let mut open = Open { reservation, kind, bytes, wire: 0 };
        self.over_the_wire(&mut open, bytes * percent / 100)?;
        match end {
            End::Keep => self.worker(process).open.push(open),
            _ => self.finish(open, end),
        }
        Ok(())
    }

    fn check_denied(&mut self, process: usize, bytes: u64, denied: &Denied) -> Result<(), String> {
        match denied {
            Denied::Cap { .. } => self.figures.denied_by_cap += 1,
            Denied::Reserve { .. } => {
                self.figures.denied_by_reserve += 1;
                let critical = self.worker(process).process.reserve(bytes, Criticality::Critical);
                let reservation = critical.map_err(|denied| {
                    format!("critical traffic is denied its reserve: {denied}")
                })?;
                self.figures.critical_in_reserve += 1;
                let mut open = Open { reservation, kind: Criticality::Critical, bytes, wire: 0 };
                self.over_the_wire(&mut open, bytes)?;
                self.finish(open, End::Commit);
            }
            denied => return Err(format!("{bytes} bytes: {denied}")),
        }
        Ok(())
    }

    fn go_on(&mut self, process: usize, percent: u64) -> Result<(), String> {
        for mut open in self.open(process) {
            let bytes = (open.bytes - open.wire) * percent / 100;
            self.over_the_wire(&mut open, bytes)?;
            self.worker(process).open.push(open);
        }
        Ok(())
    }

    fn finish(&mut self, mut open: Open, end: End) {
        match end {
            End::Drop => open.reservation.sent(open.wire),
            End::Commit | End::Keep => open.reservation.commit(open.wire),
        }
    }

    /// Bytes leave the device. From then on they count, whatever it remembers.
    fn over_the_wire(&mut self, open: &mut Open, bytes: u64) -> Result<(), String> {
        open.wire += bytes;
        let period = self.period();
        let sent = self.wire.entry(period).or_default();
        match open.kind {
            Criticality::Normal => sent.0 += bytes,
            Criticality::Critical => sent.1 += bytes,
        }
        let (normal, critical) = *sent;
        let limit = self.setup.limit_mb * MB;
        let most_normal = limit - self.setup.reserve_mb * MB;
        if normal > most_normal || normal + critical > limit {
            let time = Timestamp::from_micros(self.truth_ms * 1000);
            return Err(format!(
                "at {time} the period has {normal} normal and {critical} critical bytes, of {most_normal} and {limit}"
            ));
        }
        Ok(())
    }

    /// The true period between two refills.
    fn period(&self) -> i64 {
        match self.setup.refill {
            Refill::Daily { at } => (self.truth_ms - shift(at)).div_euclid(DAY_MS),
            Refill::Monthly { day, at } => {
                let text = Timestamp::from_micros((self.truth_ms - shift(at)) * 1000).day();
                let number: i64 = text.parse().unwrap();
                let months = number / 10_000 * 12 + number / 100 % 100;
                months - i64::from(number % 100 < i64::from(day))
            }
        }
    }

    // --- Dying -----------------------------------------------------------------

    fn kill(&mut self, process: usize, percent: u64) -> Result<(), String> {
        self.go_on(process, percent)?;
        if let Some(Worker { open, process }) = self.workers[process].take() {
            process.kill();
            drop(open);
        }
        Ok(())
    }

    fn kill_all(&mut self, percent: u64) -> Result<(), String> {
        (0..PROCESSES).try_for_each(|process| self.kill(process, percent))
    }

    fn cut_at_flush(&mut self, process: usize, bytes: u64, flush: usize) -> Result<(), String> {
        let caught: Arc<Mutex<Vec<SimSnapshot>>> = Arc::default();
        let of_hook = Arc::clone(&caught);
        self.device.disk.on_flush(Box::new(move |snapshot| {
            of_hook.lock().unwrap().push(snapshot.clone());
        }));
        // What is granted after the cut is never sent.
        drop(self.worker(process).process.reserve(bytes, Criticality::Normal));
        self.device.disk.clear_on_flush();
        self.kill_all(100)?;
        let style = CrashStyle::random(&mut self.random);
        let caught = caught.lock().unwrap();
        match caught.get(flush) {
            Some(snapshot) => {
                self.figures.cuts_at_flushes += 1;
                self.device.disk = snapshot.crash_image(&mut self.random, &style);
                self.spoil_disk();
            }
            None => self.device.disk.power_cut(&mut self.random, &style),
        }
        Ok(())
    }

    /// Counts up what the run came to.
    pub(crate) fn end(mut self, start: i64) -> Figures {
        let bytes: u64 = self.wire.values().map(|(normal, critical)| normal + critical).sum();
        let periods = u64::try_from(self.period() - start + 1).unwrap();
        let limit = self.setup.limit_mb * MB;
        let nearly = |sent: &&(u64, u64)| (sent.0 + sent.1) * 10 >= limit * 8;
        let start_ms = millis(Timestamp::parse("2026-01-10T09:00:00Z").unwrap());
        self.figures.cases = 1;
        self.figures.days = u64::try_from((self.truth_ms - start_ms) / DAY_MS).unwrap();
        self.figures.megabytes = bytes / MB;
        self.figures.allowed_megabytes = periods * self.setup.limit_mb;
        self.figures.full_periods = self.wire.values().filter(nearly).count() as u64;
        self.figures.clone()
    }

    pub(crate) fn first_period(&self) -> i64 {
        self.period()
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.cases += other.cases;
        self.steps += other.steps;
        self.days += other.days;
        self.megabytes += other.megabytes;
        self.allowed_megabytes += other.allowed_megabytes;
        self.denied_by_cap += other.denied_by_cap;
        self.denied_by_reserve += other.denied_by_reserve;
        self.critical_in_reserve += other.critical_in_reserve;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.cuts_at_flushes += other.cuts_at_flushes;
        self.jumps += other.jumps;
        self.full_periods += other.full_periods;
    }
}

fn millis(time: Timestamp) -> i64 {
    time.as_micros() / 1000
}

fn shift(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap()
}
