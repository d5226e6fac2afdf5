//! Crash images: at every flush of a workload, disks as a power cut could leave
//! them; after reopening, every acknowledged record is there once, none damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use backhaul_store::{Lane, Limits, Options, Position, Settled, Spool, State, Ticket};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{
    Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk, SimSnapshot,
};

use crate::readers::Exported;
use crate::support::{DIR, FORMS, Layout, number_of, numbered, open, open_at, options};

/// Images per layout in the ordinary test run, half as many of each form of segments;
/// `BACKHAUL_CRASH_IMAGES` asks for more.
const IMAGES: u64 = 10_000;
/// Of them, how many Python and the real `zcat` or `grep` read too.
const EXPORTED: usize = 500;
/// Every so many images, the recovery itself is cut too.
const CUT_RECOVERY_EVERY: usize = 20;

/// What the workload was told so far.
#[derive(Debug, Clone, Default)]
struct Oracle {
    /// Acknowledged, with the length of their filling.
    acknowledged: BTreeMap<u64, usize>,
    /// Those of them that were settled for good, in any way.
    settled: BTreeSet<u64>,
    /// Handed over, acknowledged or not.
    attempted: BTreeMap<u64, usize>,
}

/// A moment at which the power may go.
struct Moment {
    snapshot: SimSnapshot,
    oracle: Oracle,
}

fn small(layout: Layout) -> Options {
    Options { segment_bytes: 16 << 10, max_bytes: Some(8 << 20), ..options(layout) }
}

struct Workload {
    spool: Spool,
    clock: ManualClock,
    random: Prng,
    oracle: Arc<Mutex<Oracle>>,
    in_flight: Vec<(u64, usize, Ticket)>,
    next: u64,
    /// Where flushes fail now and then.
    faults: Option<Faults>,
}

impl Workload {
    fn record(&mut self) -> (u64, usize, backhaul_store::Record) {
        self.next += 1;
        let len = [0, 40, 300, 3000, 9000][self.random.index(5)];
        self.oracle.lock().unwrap().attempted.insert(self.next, len);
        let lane = [Lane::Normal, Lane::Normal, Lane::Critical][self.random.index(3)];
        (self.next, len, numbered(self.next, len).lane(lane))
    }

    /// Only where flushes fail may a call fail.
    fn hears<T>(&self, result: backhaul_store::Result<T>) -> Option<T> {
        match result {
            Err(error) if self.faults.is_none() => panic!("{error}"),
            result => result.ok(),
        }
    }

    /// Sometimes a flush fails soon, or two do.
    fn plan_failures(&mut self) {
        let Some(faults) = self.faults.clone() else { return };
        if self.random.chance(0.1) {
            let fault = Fault::new(Call::Flush, EIO).after(self.random.below(3));
            faults.add(fault.times(1 + self.random.below(2)));
        }
    }

    fn acknowledge(&self, number: u64, len: usize) {
        self.oracle.lock().unwrap().acknowledged.insert(number, len);
    }

    fn settle(&self, settlements: Vec<(Position, u64, State)>) {
        // From the moment that a settlement is asked for it may be on disk.
        let mut oracle = self.oracle.lock().unwrap();
        oracle.settled.extend(settlements.iter().map(|(_, number, _)| *number));
        drop(oracle);
        let settled: Vec<_> = settlements
            .into_iter()
            .map(|(position, _, state)| (position, Settled::new(state).reason("test")))
            .collect();
        self.hears(self.spool.settle(&settled));
    }

    fn step(&mut self) {
        self.plan_failures();
        match self.random.below(12) {
            0..=4 => {
                let (number, len, record) = self.record();
                if self.hears(self.spool.append(record)).is_some() {
                    self.acknowledge(number, len);
                }
            }
            5 | 6 => {
                for _ in 0..self.random.below(12) {
                    let (number, len, record) = self.record();
                    self.in_flight.push((number, len, self.spool.submit(record).unwrap()));
                }
            }
            7 => {
                for (number, len, ticket) in std::mem::take(&mut self.in_flight) {
                    if self.hears(ticket.wait()).is_some() {
                        self.acknowledge(number, len);
                    }
                }
            }
            8 | 9 => self.deliver(),
            _ => {
                self.clock.advance(std::time::Duration::from_secs(12));
                self.hears(self.spool.maintain());
            }
        }
    }

    fn deliver(&mut self) {
        let limits =
            Limits { records: 1 + self.random.index(20), bytes: 1 << 20, ..Limits::default() };
        let Some(Some(batch)) = self.hears(self.spool.take(&limits)) else { return };
        let mut settlements = Vec::new();
        for offer in &batch.records {
            let state = match self.random.below(10) {
                0 => State::Rejected,
                1 => continue,
                _ => State::Delivered,
            };
            settlements.push((offer.record.id.position, number_of(&offer.record.body), state));
        }
        self.settle(settlements);
    }
}

/// Whether flushes fail now and then in the workload of a seed.
fn fails_flushes(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// Runs one seeded workload and returns every moment at which the power may go.
fn run_workload(layout: Layout, seed: u64, sabotage: fn(&SimDisk)) -> Vec<Moment> {
    let disk = SimDisk::new();
    sabotage(&disk);
    let clock = ManualClock::new();
    let oracle = Arc::new(Mutex::new(Oracle::default()));
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (of_hook, told) = (Arc::clone(&moments), Arc::clone(&oracle));
    disk.on_flush(Box::new(move |snapshot| {
        let oracle = told.lock().unwrap().clone();
        of_hook.lock().unwrap().push(Moment { snapshot: snapshot.clone(), oracle });
    }));
    let faults = Faults::new();
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let spool = open_at(Arc::new(faulty), small(layout), &clock).unwrap();
    let mut workload = Workload {
        spool,
        clock,
        random: Prng::new(seed),
        oracle,
        in_flight: Vec::new(),
        next: 0,
        faults: fails_flushes(seed).then_some(faults),
    };
    for _ in 0..60 {
        workload.step();
    }
    drop(workload);
    disk.clear_on_flush();
    let mut moments = moments.lock().unwrap();
    std::mem::take(&mut *moments)
}

/// Reopens a disk and compares it with what was acknowledged.
fn verify(disk: &SimDisk, layout: Layout, oracle: &Oracle) -> Result<Spool, String> {
    let spool = open(disk, small(layout)).map_err(|error| format!("does not open: {error}"))?;
    let mut waiting = BTreeSet::new();
    let mut failed = BTreeSet::new();
    let mut trouble = None;
    let mut batches = Vec::new();
    while let Some(batch) = spool
        .take(&Limits { records: 1000, bytes: 1 << 30, ..Limits::default() })
        .map_err(|e| e.to_string())?
    {
        for offer in &batch.records {
            let number = number_of(&offer.record.body);
            let Some(len) = oracle.attempted.get(&number) else {
                return Err(format!("record {number} was never written"));
            };
            if offer.record.body != numbered(number, *len).body() {
                trouble = Some(format!("record {number} is damaged"));
            }
            if !waiting.insert(number) {
                trouble = Some(format!("record {number} waits twice"));
            }
        }
        batches.push(batch);
    }
    drop(batches);
    spool
        .each(Some(backhaul_store::Standing::Failed), &mut |entry| {
            failed.insert(entry.facts.labels["run_id"].clone());
            std::ops::ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
    for number in oracle.acknowledged.keys().filter(|number| !oracle.settled.contains(number)) {
        if !waiting.contains(number) {
            return Err(format!("record {number} was acknowledged and is lost"));
        }
    }
    let books = spool.status().map_err(|error| error.to_string())?.books;
    if books.damaged > 0 || !books.balance() || books.pending != waiting.len() as u64 {
        trouble = Some(format!("{} wait, the books say {books:?}", waiting.len()));
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None => Ok(spool),
    }
}

/// Cuts the power while an image is being recovered, and verifies what that leaves.
fn cut_recovery(
    image: &SimDisk,
    layout: Layout,
    oracle: &Oracle,
    random: &mut Prng,
) -> Result<usize, String> {
    let snapshots = Arc::new(Mutex::new(Vec::<SimSnapshot>::new()));
    let of_hook = Arc::clone(&snapshots);
    image.on_flush(Box::new(move |snapshot| of_hook.lock().unwrap().push(snapshot.clone())));
    drop(open(image, small(layout)).map_err(|error| format!("does not open: {error}"))?);
    image.clear_on_flush();
    let snapshots = std::mem::take(&mut *snapshots.lock().unwrap());
    for snapshot in &snapshots {
        let style = CrashStyle::random(random);
        verify(&snapshot.crash_image(random, &style), layout, oracle)
            .map_err(|why| format!("during recovery at {:?}: {why}", snapshot.point()))?;
    }
    Ok(snapshots.len())
}

/// Makes and verifies images until there are `wanted`; `Err` names the first bad one.
fn campaign(
    layout: Layout,
    wanted: usize,
    first_seed: u64,
    sabotage: fn(&SimDisk),
    exported: &mut Exported,
) -> Result<usize, String> {
    let mut images = 0;
    for seed in first_seed.. {
        let moments = run_workload(layout, seed, sabotage);
        for (index, moment) in moments.iter().enumerate() {
            let mut random = Prng::new(seed << 20 | index as u64);
            for style in [
                CrashStyle::WORST,
                CrashStyle::random(&mut random),
                CrashStyle::random(&mut random),
            ] {
                let image = moment.snapshot.crash_image(&mut random, &style);
                let context = |why: String| {
                    format!(
                        "{layout:?} seed {seed} moment {index} {:?} {style:?}: {why}",
                        moment.snapshot.point()
                    )
                };
                images += 1;
                if images % CUT_RECOVERY_EVERY == 0 {
                    let again = moment.snapshot.crash_image(&mut random.clone(), &style);
                    images += cut_recovery(&again, layout, &moment.oracle, &mut random)
                        .map_err(context)?;
                }
                let spool = verify(&image, layout, &moment.oracle).map_err(context)?;
                if fails_flushes(seed) {
                    // What a failed commit left in a segment that was closed is there
                    // for others until it is sealed.
                    (0..4).for_each(|_| spool.maintain().unwrap());
                }
                exported.offer(&image, &spool, layout);
            }
            if images >= wanted {
                return Ok(images);
            }
        }
    }
    Ok(images)
}

fn survives(layout: Layout) {
    let mut exported = Exported::new(EXPORTED);
    let wanted = usize::try_from(layout.wanted("BACKHAUL_CRASH_IMAGES", IMAGES)).unwrap();
    // The two forms see different workloads.
    let first_seed = if layout == Layout::Plain { 500_001 } else { 1 };
    let images = campaign(layout, wanted, first_seed, |_| {}, &mut exported).unwrap();
    let read = exported.check();
    println!("{layout:?}: {images} crash images recovered, {read} of them read by other programs");
    assert!(images >= wanted && read >= EXPORTED.min(images));
}

#[test]
fn every_acknowledged_record_survives_a_power_cut_in_the_folder_layout() {
    survives(Layout::Folder);
}

#[test]
fn every_acknowledged_record_survives_a_power_cut_in_the_segment_layout() {
    survives(Layout::Segments);
}

#[test]
fn every_acknowledged_record_survives_a_power_cut_in_plain_segments() {
    survives(Layout::Plain);
}

#[test]
fn the_campaign_notices_a_missing_flush() {
    for layout in crate::support::LAYOUTS {
        let result =
            campaign(layout, 2_000, 1, |disk| disk.ignore_flushes(true), &mut Exported::new(0));
        result.expect_err("flushes were ignored, and nothing was lost");
    }
}

#[test]
fn the_campaign_notices_a_missing_directory_sync() {
    for layout in crate::support::LAYOUTS {
        let result =
            campaign(layout, 2_000, 1, |disk| disk.ignore_dir_syncs(true), &mut Exported::new(0));
        result.expect_err("directory syncs were ignored, and nothing was lost");
    }
}

#[test]
fn a_flipped_bit_costs_its_own_member_and_is_counted() {
    let reopened = |form: Layout, skip_checksums: bool| -> (u64, usize) {
        let disk = SimDisk::new();
        let spool = open(&disk, options(form)).unwrap();
        for number in 1..=20 {
            spool.append(numbered(number, 600)).unwrap();
        }
        drop(spool);
        let path = disk.paths().into_iter().find(|path| crate::support::is_segment(path)).unwrap();
        // In the filling of the third record: page 0 is the head.
        disk.flip_bit(&path, 3 * 4096 + 4000, 1).unwrap();
        let spool =
            open(&disk, Options { sabotage_skip_checksums: skip_checksums, ..options(form) })
                .unwrap();
        let mut bent = 0;
        while let Some(batch) = spool.take(&Limits::default()).unwrap() {
            let mut settled = Vec::new();
            for offer in &batch.records {
                let number = number_of(&offer.record.body);
                bent += usize::from(offer.record.body != numbered(number, 600).body());
                settled.push((offer.record.id.position, Settled::new(State::Delivered)));
            }
            spool.settle(&settled).unwrap();
        }
        let books = spool.status().unwrap().books;
        assert!(books.balance());
        assert_eq!(books.delivered + books.damaged, 20);
        (books.damaged, bent)
    };
    for form in FORMS {
        assert_eq!(reopened(form, false), (1, 0), "{form:?}");
        // The sabotage: without checksums the damaged record is delivered.
        assert_eq!(reopened(form, true), (0, 1), "{form:?}");
    }
}

/// Where the spool lies on every simulated disk.
pub(crate) const ROOT: &str = DIR;
