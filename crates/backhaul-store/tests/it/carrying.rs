//! Records that are carried to another folder, under their names.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use backhaul_store::{
    Carried, ErrorKind, Imported, Lane, Limits, Naming, Options, RecordId, Settled, Spool, State,
};
use backhaul_testkit::{CrashStyle, ManualClock, Prng, SimDisk, SimSnapshot};

use crate::support::{FORMS, LAYOUTS, Layout, numbered, open, options};

const TO: &str = "/carried";

/// What is taken along of a spool.
fn export(spool: &Spool) -> (Naming, Vec<Carried>) {
    let mut carried = Vec::new();
    let naming = spool
        .each_carried(&mut |one| {
            carried.push(one);
            ControlFlow::Continue(())
        })
        .unwrap();
    (naming, carried)
}

fn open_carried(disk: &SimDisk, options: Options, naming: &Naming) -> Spool {
    try_to_open(disk, options, naming).unwrap()
}

fn try_to_open(disk: &SimDisk, options: Options, naming: &Naming) -> backhaul_store::Result<Spool> {
    let clock = Arc::new(ManualClock::new());
    Spool::open_to_import_on(TO, options, naming, Arc::new(disk.clone()), clock)
}

fn import(spool: &Spool, naming: &Naming, carried: &[Carried]) -> Imported {
    spool.import(naming, carried.iter().cloned().map(Ok)).unwrap()
}

/// Appends records of all sizes to all lanes, and settles some in every way.
fn live(spool: &Spool, random: &mut Prng, from: u64, count: u64) {
    for number in from..from + count {
        let lane = Lane::ALL[random.index(5)];
        let len = [0, 50, 700, 9_000][random.index(4)];
        let record = numbered(number, len).lane(lane);
        let record = if random.chance(0.2) { record.stream("s") } else { record };
        spool.append(record).unwrap();
    }
    for _ in 0..random.below(6) {
        let Some(batch) = spool.take(&Limits { records: 9, ..Limits::default() }).unwrap() else {
            return;
        };
        for offer in &batch.records {
            let position = offer.record.id.position;
            let settled = match random.below(8) {
                0 => Settled::new(State::Rejected).reason("no \"run_id\"").status(422),
                1 => Settled::new(State::Later).reason("busy"),
                2 => Settled::new(State::Unknown).reason("nobody knows"),
                3 => Settled::new(State::Dropped),
                4 => {
                    assert!(spool.begin(position).unwrap());
                    continue;
                }
                _ => Settled::new(State::Delivered),
            };
            spool.settle(&[(position, settled)]).unwrap();
        }
    }
}

#[test]
fn what_waits_or_failed_is_the_same_in_another_folder() {
    for layout in LAYOUTS {
        for seed in 0..30 {
            let mut random = Prng::new(seed);
            let disk = SimDisk::new();
            let spool = open(&disk, options(layout)).unwrap();
            live(&spool, &mut random, 0, 80);
            let (naming, carried) = export(&spool);
            let form = options(FORMS[random.index(2)]);
            let there = open_carried(&disk, form.clone(), &naming);
            let stored = carried.len() as u64;
            let imported = import(&there, &naming, &carried);
            assert_eq!(imported, Imported { stored, ..Imported::default() });
            assert_same(&export(&there), &(naming.clone(), carried.clone()));
            assert_balances(&there, &carried);
            drop(there);
            let there = open_carried(&disk, form, &naming);
            assert_same(&export(&there), &(naming, carried.clone()));
            assert_balances(&there, &carried);
        }
    }
}

fn assert_same(found: &(Naming, Vec<Carried>), expected: &(Naming, Vec<Carried>)) {
    assert_eq!(found.0, expected.0);
    assert_eq!(found.1.len(), expected.1.len());
    for (found, expected) in found.1.iter().zip(&expected.1) {
        assert_eq!((found.record.id, &found.settled), (expected.record.id, &expected.settled));
        assert!(found == expected, "{}", found.record.id);
    }
}

fn assert_balances(spool: &Spool, carried: &[Carried]) {
    let failed = |one: &&Carried| {
        one.settled.as_ref().is_some_and(|settled| settled.state == State::Rejected)
    };
    let books = spool.books().unwrap();
    assert!(books.balance(), "{books:?}");
    assert_eq!(books.accepted, carried.len() as u64);
    assert_eq!(books.rejected, carried.iter().filter(failed).count() as u64);
    assert_eq!(books.damaged, 0);
}

/// Delivers all that is offered. The names. Of a stream in which something is held back
/// nothing goes.
fn deliver(spool: &Spool) -> BTreeSet<RecordId> {
    let mut delivered = BTreeSet::new();
    while let Some(batch) = spool.take(&Limits::default()).unwrap() {
        for offer in &batch.records {
            assert!(delivered.insert(offer.record.id));
            let settled = Settled::new(State::Delivered);
            spool.settle(&[(offer.record.id.position, settled)]).unwrap();
        }
    }
    delivered
}

#[test]
fn carried_records_are_delivered_from_there_under_their_names() {
    for layout in LAYOUTS {
        let mut random = Prng::new(7);
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        live(&spool, &mut random, 0, 200);
        let (naming, carried) = export(&spool);
        let there = open_carried(&disk, options(Layout::Segments), &naming);
        import(&there, &naming, &carried);
        let waits = |one: &&Carried| {
            let state = one.settled.as_ref().map(|settled| settled.state);
            state.is_none_or(|state| state == State::Started) && one.record.facts.stream.is_none()
        };
        let waiting: BTreeSet<_> = carried.iter().filter(waits).map(|one| one.record.id).collect();
        assert!(waiting.len() > 100);
        let delivered = deliver(&there);
        assert!(waiting.is_subset(&delivered));
        let names: BTreeSet<_> = carried.iter().map(|one| one.record.id).collect();
        assert!(delivered.is_subset(&names));
        assert_eq!(there.books().unwrap().damaged, 0);
    }
}

#[test]
fn what_comes_again_is_known_and_what_came_since_is_stored() {
    for layout in LAYOUTS {
        for seed in 0..20 {
            let mut random = Prng::new(seed);
            let disk = SimDisk::new();
            let spool = open(&disk, options(layout)).unwrap();
            let mut known = BTreeSet::new();
            let mut gone = BTreeSet::new();
            for journey in 0..4 {
                live(&spool, &mut random, journey * 40, 40);
                let (naming, carried) = export(&spool);
                let there = open_carried(&disk, options(Layout::Segments), &naming);
                for again in [false, true] {
                    let imported = import(&there, &naming, &carried);
                    let names: BTreeSet<_> = carried.iter().map(|one| one.record.id).collect();
                    let settled = names.intersection(&gone).count() as u64;
                    let all = names.intersection(&known).count() as u64;
                    let expected = Imported {
                        stored: names.len() as u64 - all,
                        known: all - settled,
                        settled,
                    };
                    assert_eq!(imported, expected, "{layout:?} {seed} {journey} {again}");
                    known.extend(names);
                }
                assert!(there.books().unwrap().balance());
                if random.chance(0.5) {
                    gone.extend(deliver(&there));
                }
            }
            let there =
                Spool::open_read_only_on(TO, Arc::new(disk.clone()), Arc::new(ManualClock::new()));
            let books = there.unwrap().books().unwrap();
            assert_eq!((books.accepted, books.damaged), (known.len() as u64, 0));
        }
    }
}

#[test]
fn names_of_all_epochs_are_kept() {
    let disk = SimDisk::new();
    let mut ids = Vec::new();
    for machine in ["a", "b", "c"] {
        let options = Options { machine: Some(machine.to_owned()), ..options(Layout::Segments) };
        let spool = open(&disk, options).unwrap();
        ids.extend((0..3).map(|number| spool.append(numbered(number, 9)).unwrap()));
        let (naming, carried) = export(&spool);
        let there = open_carried(&disk, self::options(Layout::Segments), &naming);
        assert_eq!(import(&there, &naming, &carried).stored, 3);
        let found: Vec<_> = export(&there).1.iter().map(|one| one.record.id).collect();
        assert_eq!(found, ids);
    }
    assert_eq!(ids.iter().map(|id| id.epoch).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn records_that_are_appended_there_get_names_that_the_device_never_gives() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    spool.append(numbered(0, 9)).unwrap();
    let (naming, carried) = export(&spool);
    let there = open_carried(&disk, options(Layout::Segments), &naming);
    import(&there, &naming, &carried);
    let one = there.append(numbered(1, 9)).unwrap();
    let other = spool.append(numbered(2, 9)).unwrap();
    assert_eq!(one.position, other.position);
    assert_ne!(one.epoch, other.epoch);
    // The place of what the device stored next is taken.
    let (naming, carried) = export(&spool);
    let refused = there.import(&naming, carried.into_iter().map(Ok)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("another folder"), "{refused}");
    assert_eq!(there.books().unwrap().pending, 2);
}

#[test]
fn records_of_another_device_or_out_of_order_are_refused_by_name() {
    let (disk, other) = (SimDisk::new(), SimDisk::new());
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    (0..3).for_each(|number| _ = spool.append(numbered(number, 9)).unwrap());
    let (naming, carried) = export(&spool);
    let there = open_carried(&disk, options(Layout::Segments), &naming);
    let stranger = open(&other, options(Layout::Segments)).unwrap();
    stranger.append(numbered(0, 9)).unwrap();
    let (of_stranger, strange) = export(&stranger);
    let refused = there.import(&of_stranger, strange.iter().cloned().map(Ok)).unwrap_err();
    assert!(refused.to_string().contains(of_stranger.device()), "{refused}");
    let refused = there.import(&naming, strange.into_iter().map(Ok)).unwrap_err();
    assert!(refused.to_string().contains("another spool"), "{refused}");
    let refused = there.import(&naming, carried.iter().rev().cloned().map(Ok)).unwrap_err();
    assert!(refused.to_string().contains("out of order"), "{refused}");
    // What came before it may be there; all of it goes on.
    let imported = import(&there, &naming, &carried);
    assert_eq!(imported.stored + imported.known, 3);
}

#[test]
fn the_device_itself_knows_its_records() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    (0..9).for_each(|number| _ = spool.append(numbered(number, 9)).unwrap());
    let (naming, carried) = export(&spool);
    assert_eq!(import(&spool, &naming, &carried).known, 9);
    let folder = open(&SimDisk::new(), options(Layout::Folder)).unwrap();
    let refused = folder.import(&naming, carried.into_iter().map(Ok)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_power_cut_at_any_flush_of_an_import_costs_nothing_once_it_is_done_again() {
    let mut random = Prng::new(11);
    let source = SimDisk::new();
    let spool = open(&source, options(Layout::Segments)).unwrap();
    live(&spool, &mut random, 0, 150);
    let (naming, carried) = export(&spool);
    let disk = SimDisk::new();
    let moments: Arc<Mutex<Vec<SimSnapshot>>> = Arc::default();
    let seen = Arc::clone(&moments);
    disk.on_flush(Box::new(move |moment| seen.lock().unwrap().push(moment.clone())));
    let there = open_carried(&disk, options(Layout::Segments), &naming);
    import(&there, &naming, &carried);
    disk.clear_on_flush();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(moments.len() > 10, "{} flushes", moments.len());
    for (at, moment) in moments.iter().enumerate() {
        for _ in 0..8 {
            let style = CrashStyle::random(&mut random);
            let image = moment.crash_image(&mut random, &style);
            let there = open_carried(&image, options(Layout::Segments), &naming);
            let imported = import(&there, &naming, &carried);
            assert_eq!(imported.stored + imported.known, carried.len() as u64, "{at} {style:?}");
            assert_same(&export(&there), &(naming.clone(), carried.clone()));
            assert_balances(&there, &carried);
        }
    }
}
