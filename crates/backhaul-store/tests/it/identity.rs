use std::sync::Arc;

use backhaul_store::{ErrorKind, Limits, Options, Spool};
use backhaul_testkit::{ManualClock, SimDisk};

use crate::support::{
    DIR, LAYOUTS, Layout, deliver_all, number_of, numbered, numbers, open, options,
};

fn on_machine(name: &str, layout: Layout) -> Options {
    Options { machine: Some(name.to_owned()), ..options(layout) }
}

#[test]
fn a_cloned_card_names_its_new_records_in_an_epoch_of_its_own() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, on_machine("original", layout)).unwrap();
        let before = spool.append(numbered(1, 10)).unwrap();
        drop(spool);
        let spool = open(&disk, on_machine("clone", layout)).unwrap();
        let after = spool.append(numbered(2, 10)).unwrap();
        assert_eq!(before.device, after.device);
        assert_ne!(before.epoch, after.epoch);
        // What was waiting keeps its name: the original sends the same record under it.
        assert_eq!(spool.get(before.position).unwrap().0.id, before);
        drop(spool);
        let spool = open(&disk, on_machine("clone", layout)).unwrap();
        assert_eq!(spool.append(numbered(3, 10)).unwrap().epoch, after.epoch);
        assert_eq!(spool.get(before.position).unwrap().0.id, before);
    }
}

#[test]
fn names_are_never_given_twice_after_the_ledger_and_delivered_data_are_gone() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        let mut given = std::collections::BTreeSet::new();
        for number in 1..=5 {
            given.insert(spool.append(numbered(number, 10)).unwrap().to_string());
        }
        drop(spool);
        for path in disk.paths() {
            let text = path.to_string_lossy();
            if text.contains("ledger-") || text.contains("pending") || text.ends_with(".gz") {
                backhaul_store::Disk::remove(&disk, &path).unwrap();
            }
        }
        let spool = open(&disk, options(layout)).unwrap();
        assert!(given.insert(spool.append(numbered(6, 10)).unwrap().to_string()), "{layout:?}");
    }
}

#[test]
fn a_damaged_identity_is_kept_beside_a_new_one_and_the_records_stay() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        spool.append(numbered(1, 10)).unwrap();
        drop(spool);
        disk.write_file("/spool/state/identity.json", b"{").unwrap();
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(Layout::of(&spool), layout);
        assert_eq!(numbers(&spool), [1]);
        assert_eq!(disk.read_file("/spool/state/identity.damaged").unwrap(), b"{");
    }
}

#[test]
fn two_openers_append_to_chains_of_their_own_and_one_of_them_delivers() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let first = open(&disk, options(layout)).unwrap();
        let second = open(&disk, options(layout)).unwrap();
        for number in 1..=6 {
            let spool = if number % 2 == 0 { &second } else { &first };
            spool.append(numbered(number, 10)).unwrap();
        }
        assert_eq!(second.take(&Limits::default()).unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(deliver_all(&first), [1, 3, 5, 2, 4, 6], "{layout:?}");
        // The one that is left takes over.
        second.append(numbered(7, 10)).unwrap();
        drop(first);
        let batch = second.take(&Limits::default()).unwrap().unwrap();
        assert_eq!(number_of(&batch.records[0].record.body), 7);
        drop(batch);
        let books = second.status().unwrap().books;
        assert_eq!((books.delivered, books.pending), (6, 1), "{layout:?}");
    }
}

#[test]
fn reading_changes_nothing_and_appending_is_refused() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let writer = open(&disk, options(layout)).unwrap();
        writer.append(numbered(1, 10)).unwrap();
        let before = (disk.paths(), disk.bytes_written());
        let reader =
            Spool::open_read_only_on(DIR, Arc::new(disk.clone()), Arc::new(ManualClock::new()))
                .unwrap();
        assert_eq!(numbers(&reader), [1]);
        assert_eq!(reader.status().unwrap().books.pending, 1);
        assert_eq!(reader.append(numbered(2, 10)).unwrap_err().kind(), ErrorKind::InvalidInput);
        writer.append(numbered(3, 10)).unwrap();
        assert_eq!(reader.status().unwrap().books.pending, 2);
        assert_eq!(numbers(&reader), [1, 3]);
        drop(writer);
        drop(reader);
        assert_eq!(disk.paths().len(), before.0.len() + usize::from(layout == Layout::Folder));
    }
}

#[test]
fn a_folder_without_a_spool_is_named_in_the_error() {
    let disk = Arc::new(SimDisk::new());
    let error =
        Spool::open_read_only_on("/nothing", disk, Arc::new(ManualClock::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/nothing"), "{error}");
}

#[test]
fn a_copied_folder_on_one_machine_names_its_new_records_in_an_epoch_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (original, copy) = (folder.path().join("original"), folder.path().join("copy"));
    let on_this_machine = Options { machine: None, ..options(Layout::Segments) };
    let first = Spool::open(&original, on_this_machine.clone()).unwrap();
    let before = first.append(numbered(1, 10)).unwrap();
    drop(first);
    let copied = std::process::Command::new("cp").arg("-a").arg(&original).arg(&copy).status();
    assert!(copied.unwrap().success());
    let names = |dir: &std::path::Path| {
        let spool = Spool::open(dir, on_this_machine.clone()).unwrap();
        spool.append(numbered(2, 10)).unwrap()
    };
    let (in_original, in_copy) = (names(&original), names(&copy));
    assert_eq!(in_original.epoch, before.epoch);
    assert_ne!(in_copy.epoch, before.epoch);
    assert_eq!(in_original.position, in_copy.position);
}
