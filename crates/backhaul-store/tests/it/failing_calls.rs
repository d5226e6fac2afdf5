//! Every single call to the disk fails once, and every kind of call fails from some
//! moment on: no panic, no hang, nothing acknowledged is lost or doubled, nothing
//! refused is stored, and once the fault is over the same open spool goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use backhaul_store::{
    Error, ErrorKind, Flush, Lane, Limits, Options, Position, Record, RecordId, Settled, Spool,
    Standing, State, Ticket,
};
use backhaul_testkit::errno::{EDQUOT, EIO, EMFILE, ENOSPC, EROFS};
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};

use crate::support::{LAYOUTS, Layout, number_of, numbered, open, open_at, options};

fn settings(layout: Layout) -> Options {
    Options { segment_bytes: 16 << 10, max_bytes: Some(4 << 20), ..options(layout) }
}

fn length(number: u64) -> usize {
    [30, 300, 3_000, 5_000][usize::try_from(number % 4).unwrap()]
}

/// One workload on one faulty disk, and what it was told.
struct Workload {
    disk: SimDisk,
    faults: Faults,
    clock: ManualClock,
    layout: Layout,
    spool: Option<Spool>,
    number: u64,
    acknowledged: BTreeMap<u64, RecordId>,
    refused: BTreeSet<u64>,
    /// Acknowledged without a flush, and not flushed since.
    relaxed: BTreeSet<u64>,
    /// Asked to be settled for good, whatever the answer was.
    settled: BTreeSet<u64>,
}

impl Workload {
    fn new(layout: Layout, fault: Option<Fault>) -> Self {
        let workload = Self {
            disk: SimDisk::new(),
            faults: Faults::new(),
            clock: ManualClock::new(),
            layout,
            spool: None,
            number: 0,
            acknowledged: BTreeMap::new(),
            refused: BTreeSet::new(),
            relaxed: BTreeSet::new(),
            settled: BTreeSet::new(),
        };
        fault.into_iter().for_each(|fault| workload.faults.add(fault));
        workload
    }

    fn open(&self) -> Result<Spool, Error> {
        let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
        open_at(Arc::new(disk), settings(self.layout), &self.clock)
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn record(&mut self) -> (u64, Record) {
        self.number += 1;
        let lane = if self.number.is_multiple_of(3) { Lane::Critical } else { Lane::Normal };
        let record = numbered(self.number, length(self.number)).lane(lane);
        let in_stream = self.number.is_multiple_of(5);
        (self.number, if in_stream { record.stream("s") } else { record })
    }

    fn note(&mut self, number: u64, result: Result<RecordId, Error>) {
        match result {
            Ok(id) => drop(self.acknowledged.insert(number, id)),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Full | ErrorKind::Io),
                    "append failed with {error:?}"
                );
                self.refused.insert(number);
            }
        }
    }

    fn append(&mut self, count: u64, flush: Flush) {
        for _ in 0..count {
            let (number, record) = self.record();
            let result = self.spool().submit_with(record, flush).and_then(Ticket::wait);
            self.note(number, result);
        }
    }

    fn burst(&mut self, count: u64) {
        let mut tickets = Vec::new();
        for _ in 0..count {
            let (number, record) = self.record();
            tickets.push((number, self.spool().submit(record).unwrap()));
        }
        for (number, ticket) in tickets {
            self.note(number, ticket.wait());
        }
    }

    /// Takes once, and settles what came in many ways. Gives those to requeue.
    fn deliver(&mut self) -> Vec<Position> {
        let limits = Limits { records: 8, bytes: 1 << 20, ..Limits::default() };
        let Ok(Some(batch)) = self.spool().take(&limits) else { return Vec::new() };
        let mut settlements = Vec::new();
        let mut rejected = Vec::new();
        for (index, offer) in batch.records.iter().enumerate() {
            let position = offer.record.id.position;
            let settled = match index % 4 {
                0 => Settled::new(State::Rejected).reason("422"),
                1 => Settled::new(State::Later).reason("503"),
                _ => Settled::new(State::Delivered),
            };
            if settled.state == State::Rejected {
                rejected.push(position);
            } else if settled.state.is_final() {
                self.settled.insert(number_of(&offer.record.body));
            }
            settlements.push((position, settled));
        }
        let _ = self.spool().settle(&settlements);
        rejected
    }

    /// The same calls every time, as far as the fault lets them happen.
    fn run(&mut self) {
        for _ in 0..3 {
            if let Ok(spool) = self.open() {
                self.spool = Some(spool);
                break;
            }
        }
        if self.spool.is_none() {
            // As a device does that starts while its disk is in trouble.
            self.faults.clear();
            self.spool = Some(self.open().unwrap());
        }
        self.append(5, Flush::Always);
        self.burst(6);
        let rejected = self.deliver();
        self.append(6, Flush::Always);
        self.clock.advance(Duration::from_secs(20));
        let _ = self.spool().maintain();
        for position in rejected {
            let _ = self.spool().requeue(position);
        }
        self.relaxed.extend([self.number + 1, self.number + 2]);
        self.append(2, Flush::Every(Duration::from_secs(1)));
        if self.spool().flush().is_ok() {
            self.relaxed.clear();
        }
        self.burst(5);
        let _ = self.deliver();
        self.clock.advance(Duration::from_secs(20));
        let _ = self.spool().maintain();
        let _ = self.spool().maintain();
        self.append(3, Flush::Always);
    }

    /// What waits or failed on a disk, each once and intact.
    fn check_disk(&self, disk: &SimDisk, leftovers_allowed: bool) -> Result<(), String> {
        self.check_image(disk, leftovers_allowed, &BTreeSet::new())
    }

    /// `may_be_gone`: what was never durable. It is missed where it was about to be offered.
    fn check_image(
        &self,
        disk: &SimDisk,
        leftovers_allowed: bool,
        may_be_gone: &BTreeSet<u64>,
    ) -> Result<(), String> {
        let spool = open(disk, settings(self.layout)).map_err(|error| error.to_string())?;
        let mut wanted = BTreeSet::new();
        for standing in [Standing::Pending, Standing::Failed] {
            let mut numbers = Vec::new();
            spool
                .each(Some(standing), &mut |entry| {
                    numbers.push(entry.id.position);
                    std::ops::ControlFlow::Continue(())
                })
                .map_err(|error| error.to_string())?;
            for position in numbers {
                let (_, record) = spool.get(position).map_err(|error| error.to_string())?;
                let number = number_of(&record.body);
                if record.body != numbered(number, length(number)).body() {
                    return Err(format!("{number} is damaged"));
                }
                if !wanted.insert(number) {
                    return Err(format!("{number} is there twice"));
                }
            }
        }
        for number in self.acknowledged.keys().filter(|number| !self.settled.contains(number)) {
            if !wanted.contains(number) && !may_be_gone.contains(number) {
                return Err(format!("{number} was acknowledged and is lost"));
            }
        }
        let stored: Vec<_> = self.refused.intersection(&wanted).collect();
        if !leftovers_allowed && !stored.is_empty() {
            return Err(format!("{stored:?} were refused and are stored"));
        }
        let books = spool.status().map_err(|error| error.to_string())?.books;
        if !books.balance() || books.damaged > may_be_gone.len() as u64 {
            return Err(format!("the books say {books:?}"));
        }
        Ok(())
    }

    /// After the fault: the same open spool takes and gives everything.
    fn check_live(&mut self, leftovers_allowed: bool) -> Result<(), String> {
        self.faults.clear();
        let before = self.acknowledged.len();
        self.append(2, Flush::Always);
        if self.acknowledged.len() < before + 2 {
            let trouble = self.spool().status().map_err(|error| error.to_string())?.trouble;
            return Err(format!("appending does not work again: {trouble:?}"));
        }
        let copy = self.disk.crash_image(&mut Prng::new(1), &CrashStyle::KEEP_ALL);
        self.check_disk(&copy, leftovers_allowed).map_err(|why| format!("reopened: {why}"))?;
        for seed in 0..2 {
            let style = if seed == 0 { CrashStyle::DROP_ALL } else { CrashStyle::WORST };
            let image = self.disk.crash_image(&mut Prng::new(seed), &style);
            self.check_image(&image, true, &self.relaxed)
                .map_err(|why| format!("after a power cut: {why}"))?;
        }
        self.spool().maintain().map_err(|error| format!("maintain: {error}"))?;
        self.drain()?;
        let books = self.spool().status().map_err(|error| error.to_string())?.books;
        let accounted = books.delivered + books.rejected;
        if !books.balance() || books.accepted != accounted || books.damaged > 0 {
            return Err(format!("in the end the books say {books:?}"));
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        self.clock.advance(Duration::from_secs(3600));
        let mut delivered = BTreeSet::new();
        while let Some(batch) =
            self.spool().take(&Limits::default()).map_err(|error| format!("take: {error}"))?
        {
            let mut settlements = Vec::new();
            for offer in &batch.records {
                let number = number_of(&offer.record.body);
                if !delivered.insert(number) {
                    return Err(format!("{number} was offered twice"));
                }
                settlements.push((offer.record.id.position, Settled::new(State::Delivered)));
            }
            self.spool().settle(&settlements).map_err(|error| format!("settle: {error}"))?;
        }
        let mut failed = BTreeSet::new();
        self.spool()
            .each(Some(Standing::Failed), &mut |entry| {
                failed.insert(entry.id.position);
                std::ops::ControlFlow::Continue(())
            })
            .map_err(|error| error.to_string())?;
        for (number, id) in &self.acknowledged {
            let known = delivered.contains(number) || self.settled.contains(number);
            if !known && !failed.contains(&id.position) {
                return Err(format!("{number} was acknowledged and never offered"));
            }
        }
        Ok(())
    }
}

/// How many calls of each kind the workload makes on a sound disk.
fn calls_of(layout: Layout) -> BTreeMap<Call, u64> {
    let mut workload = Workload::new(layout, None);
    workload.run();
    assert!(workload.refused.is_empty(), "a sound disk refused records");
    let counts = Call::ALL.map(|call| (call, workload.faults.calls(call))).into_iter().collect();
    workload.check_live(false).unwrap();
    if layout != Layout::Folder {
        let is_segment = |path: &std::path::PathBuf| crate::support::is_segment(path);
        assert!(workload.disk.paths().iter().filter(|path| is_segment(path)).count() >= 3);
    }
    counts
}

fn one_run(layout: Layout, fault: &Fault) -> Result<(), String> {
    let mut workload = Workload::new(layout, Some(fault.clone()));
    workload.run();
    // What could not be taken back after a refusal stays, and is a record like any other.
    let leftovers_allowed = layout == Layout::Folder && workload.faults.failures(Call::Remove) > 0;
    workload.check_live(leftovers_allowed)
}

/// Runs every fault, and panics with the list of those that did harm. A run that
/// hangs fails the test too.
fn sweep(layout: Layout) {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut runs = 0;
        for (call, count) in calls_of(layout) {
            for passing in 0..count {
                for fault in faults_at(call, passing) {
                    let name = format!("{call:?} {fault:?}");
                    sender.send(Err(name.clone())).unwrap();
                    let outcome = std::panic::catch_unwind(|| one_run(layout, &fault))
                        .unwrap_or_else(|panic| {
                            let why = panic.downcast_ref::<String>().cloned();
                            Err(format!("panicked: {}", why.unwrap_or_default()))
                        });
                    runs += 1;
                    sender
                        .send(Ok((runs, outcome.map_err(|why| format!("{name}: {why}")))))
                        .unwrap();
                }
            }
        }
    });
    let (mut runs, mut running, mut harm) = (0, String::new(), Vec::new());
    loop {
        match receiver.recv_timeout(Duration::from_secs(60)) {
            Ok(Err(name)) => running = name,
            Ok(Ok((so_far, outcome))) => {
                runs = so_far;
                harm.extend(outcome.err());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{layout:?}: hangs with {running}"),
        }
    }
    println!("{layout:?}: {runs} runs with a fault, {} did harm", harm.len());
    assert!(harm.is_empty(), "{layout:?}: {} of {runs} did harm:\n{}", harm.len(), harm.join("\n"));
    assert!(runs > 1_000, "{runs} runs are no sweep");
}

fn faults_at(call: Call, passing: u64) -> Vec<Fault> {
    let mut faults: Vec<Fault> = [ENOSPC, EIO, EROFS, EDQUOT]
        .into_iter()
        .map(|errno| Fault::new(call, errno).after(passing).times(1))
        .collect();
    // And from there on until somebody repairs it.
    faults.extend([ENOSPC, EIO].map(|errno| Fault::new(call, errno).after(passing)));
    if call == Call::Write {
        faults.extend(
            [ENOSPC, EIO].map(|errno| Fault::new(call, errno).after(passing).times(1).short()),
        );
        faults.push(Fault::new(call, ENOSPC).after(passing).short());
    }
    faults
}

#[test]
fn any_failing_call_is_survived_in_the_folder_layout() {
    sweep(Layout::Folder);
}

#[test]
fn any_failing_call_is_survived_in_the_segment_layout() {
    sweep(Layout::Segments);
}

#[test]
fn any_failing_call_is_survived_in_plain_segments() {
    sweep(Layout::Plain);
}

#[test]
fn the_sweep_notices_a_missing_flush() {
    for layout in LAYOUTS {
        let mut workload = Workload::new(layout, None);
        workload.disk.ignore_flushes(true);
        workload.run();
        workload.check_live(false).expect_err("flushes were ignored, and nothing was lost");
    }
}

#[test]
fn running_out_of_handles_damages_no_record() {
    for layout in LAYOUTS {
        let mut workload = Workload::new(layout, None);
        workload.spool = Some(workload.open().unwrap());
        workload.append(5, Flush::Always);
        workload.faults.add(Fault::any(&[Call::Open, Call::Create], EMFILE));
        for _ in 0..20 {
            assert!(workload.spool().take(&Limits::default()).is_err(), "{layout:?}");
        }
        workload.check_live(false).unwrap_or_else(|why| panic!("{layout:?}: {why}"));
    }
}
