use super::*;
use crate::crash_style::CrashStyle;
use crate::errno::{EDQUOT, EIO, ENOSPC, EROFS};
use crate::faults::Fault;
use crate::prng::Prng;
use crate::sim_disk::SimDisk;

fn errno_of<T: std::fmt::Debug>(answer: io::Result<T>) -> i32 {
    answer.unwrap_err().raw_os_error().unwrap()
}

fn healthy() -> (FaultyDisk<SimDisk>, Box<dyn DiskFile>) {
    let disk = FaultyDisk::new(SimDisk::new(), Faults::new());
    let file = disk.open(Path::new("/file-1"), Open::Create).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

#[test]
fn passes_every_call_on_without_rules() {
    let (disk, file) = healthy();
    file.write_all_at(b"abc", 0).unwrap();
    file.set_len(2).unwrap();
    file.flush().unwrap();
    assert!(file.try_lock().unwrap());
    assert_eq!(file.len().unwrap(), 2);
    assert_eq!(file.read_exact_at(2, 0).unwrap(), b"ab");
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.rename(Path::new("/file-1"), Path::new("/d/2")).unwrap();
    assert_eq!(disk.list(Path::new("/d")).unwrap().len(), 1);
    disk.remove(Path::new("/d/2")).unwrap();
    assert!(disk.space(Path::new("/")).unwrap().free_bytes > 0);
    for call in [Call::Create, Call::Write, Call::Flush, Call::Rename, Call::Remove, Call::Lock] {
        assert_eq!((disk.faults().calls(call), disk.faults().failures(call)), (1, 0), "{call:?}");
    }
    assert_eq!(disk.faults().calls(Call::Open), 0);
}

#[test]
fn fails_the_next_calls_after_a_countdown_and_then_no_more() {
    let (disk, file) = healthy();
    disk.faults().add(Fault::new(Call::Write, EIO).after(2).times(2));
    let answers: Vec<bool> = (0..6).map(|at| file.write_all_at(b"x", at).is_ok()).collect();
    assert_eq!(answers, [true, true, false, false, true, true]);
    assert_eq!(disk.inner().read_file("/file-1").unwrap(), b"xx\0\0xx");
    assert_eq!((disk.faults().calls(Call::Write), disk.faults().failures(Call::Write)), (6, 2));
}

#[test]
fn each_kind_of_call_can_fail_and_leaves_the_disk_as_it_was() {
    let (disk, file) = healthy();
    file.write_all_at(b"abc", 0).unwrap();
    disk.faults().add(Fault::any(&Call::CHANGES, EDQUOT));
    disk.faults().add(Fault::any(&[Call::Open, Call::List, Call::Space, Call::Read], EIO));
    disk.faults().add(Fault::any(&[Call::Len, Call::Lock], EROFS));
    let (here, there) = (Path::new("/file-1"), Path::new("/file-2"));
    assert_eq!(errno_of(disk.create_dir_all(there)), EDQUOT);
    assert_eq!(errno_of(disk.open(there, Open::CreateNew)), EDQUOT);
    assert_eq!(errno_of(disk.open(there, Open::Create)), EDQUOT);
    assert_eq!(errno_of(disk.rename(here, there)), EDQUOT);
    assert_eq!(errno_of(disk.remove(here)), EDQUOT);
    assert_eq!(errno_of(disk.sync_dir(Path::new("/"))), EDQUOT);
    assert_eq!(errno_of(file.write_all_at(b"x", 0)), EDQUOT);
    assert_eq!(errno_of(file.set_len(0)), EDQUOT);
    assert_eq!(errno_of(file.flush()), EDQUOT);
    assert_eq!(errno_of(disk.open(here, Open::Read)), EIO);
    assert_eq!(errno_of(disk.list(Path::new("/"))), EIO);
    assert_eq!(errno_of(disk.space(Path::new("/"))), EIO);
    assert_eq!(errno_of(file.read_exact_at(1, 0)), EIO);
    assert_eq!(errno_of(file.len()), EROFS);
    assert_eq!(errno_of(file.try_lock()), EROFS);
    assert_eq!(disk.inner().read_file("/file-1").unwrap(), b"abc");
    assert_eq!(disk.inner().paths().len(), 1);
    disk.faults().clear();
    file.flush().unwrap();
    disk.rename(here, there).unwrap();
}

#[test]
fn a_path_filter_spares_other_files_and_matches_either_end_of_a_rename() {
    let (disk, file) = healthy();
    let other = disk.open(Path::new("/other"), Open::Create).unwrap();
    disk.faults().add(Fault::any(&[Call::Write, Call::Rename], ENOSPC).on_path("file-"));
    assert_eq!(errno_of(file.write_all_at(b"x", 0)), ENOSPC);
    other.write_all_at(b"x", 0).unwrap();
    assert_eq!(errno_of(disk.rename(Path::new("/other"), Path::new("/file-9"))), ENOSPC);
    disk.rename(Path::new("/other"), Path::new("/another")).unwrap();
}

#[test]
fn a_short_write_leaves_the_first_half() {
    let (disk, file) = healthy();
    disk.faults().add(Fault::new(Call::Write, ENOSPC).short());
    assert_eq!(errno_of(file.write_all_at(b"abcdefg", 0)), ENOSPC);
    assert_eq!(disk.inner().read_file("/file-1").unwrap(), b"abc");
}

#[test]
fn a_full_disk_takes_no_data_but_lets_go_of_files() {
    let (disk, file) = healthy();
    disk.faults().add(Fault::full());
    assert_eq!(errno_of(file.write_all_at(b"x", 0)), ENOSPC);
    disk.remove(Path::new("/file-1")).unwrap();
    disk.faults().clear();
    disk.faults().add(Fault::read_only());
    assert_eq!(errno_of(disk.open(Path::new("/new"), Open::Create)), EROFS);
}

#[test]
fn the_oldest_rule_that_fails_a_call_decides() {
    let (disk, file) = healthy();
    disk.faults().add(Fault::new(Call::Write, EIO).after(1).times(1));
    disk.faults().add(Fault::new(Call::Write, ENOSPC));
    let errnos: Vec<i32> = (0..3).map(|_| errno_of(file.write_all_at(b"x", 0))).collect();
    assert_eq!(errnos, [ENOSPC, EIO, ENOSPC]);
}

#[test]
fn a_failed_flush_loses_its_data_even_when_a_later_flush_succeeds() {
    let (disk, file) = healthy();
    file.write_all_at(b"lost", 0).unwrap();
    disk.faults().add(Fault::new(Call::Flush, EIO).times(1));
    assert_eq!(errno_of(file.flush()), EIO);
    assert_eq!(file.read_exact_at(4, 0).unwrap(), b"lost");
    file.flush().unwrap();
    file.write_all_at(b"saved", 8_192).unwrap();
    file.flush().unwrap();
    let image = disk.inner().crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    let content = image.read_file("/file-1").unwrap();
    assert_eq!(content[..4], [0; 4]);
    assert_eq!(&content[8_192..], b"saved");
}

#[test]
fn a_fault_fails_only_its_own_flush() {
    let (disk, file) = healthy();
    let other = disk.inner().open(Path::new("/other"), Open::Create).unwrap();
    disk.faults().add(Fault::new(Call::Flush, EIO).times(1));
    // Even when the failing flush never reached a simulated disk's own flush.
    assert_eq!(errno_of(file.flush()), EIO);
    other.write_all_at(b"x", 0).unwrap();
    other.flush().unwrap();
    disk.inner().sync_dir(Path::new("/")).unwrap();
    let image = disk.inner().crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    assert_eq!(image.read_file("/other").unwrap(), b"x");
}

#[test]
fn a_failed_directory_sync_leaves_its_names_to_a_later_one() {
    let (disk, _file) = healthy();
    disk.open(Path::new("/new"), Open::Create).unwrap();
    disk.faults().add(Fault::new(Call::SyncDir, EIO).times(1));
    assert_eq!(errno_of(disk.sync_dir(Path::new("/"))), EIO);
    let durable = || disk.inner().crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL).paths();
    assert_eq!(durable().len(), 1);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(durable().len(), 2);
}

#[test]
fn wraps_the_disk_of_the_operating_system() {
    let dir = std::env::temp_dir().join(format!("backhaul-faulty-{}", std::process::id()));
    let disk = FaultyDisk::new(backhaul_store::OsDisk, Faults::new());
    disk.create_dir_all(&dir).unwrap();
    let file = disk.open(&dir.join("f"), Open::Create).unwrap();
    disk.faults().add(Fault::any(&[Call::Write, Call::Flush], EIO).times(3).short());
    assert_eq!(errno_of(file.write_all_at(b"abcd", 0)), EIO);
    assert_eq!(errno_of(file.flush()), EIO);
    assert_eq!(file.read_exact_at(2, 0).unwrap(), b"ab");
    std::fs::remove_dir_all(&dir).unwrap();
    // What failed there fails nothing on a simulated disk.
    let sim = SimDisk::new();
    sim.write_file("/f", b"old").unwrap();
    let file = sim.open(Path::new("/f"), Open::Write).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    file.flush().unwrap();
    assert_eq!(sim.unflushed_ops(), 0);
}
