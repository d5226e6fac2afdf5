//! Real file systems that fill up, turn read-only or fail to write: nothing that was
//! acknowledged is lost, and the same open spool goes on once the trouble is over.
//!
//! These tests mount file systems, so they need root, as in CI.

use std::path::{Path, PathBuf};
use std::process::Command;

use backhaul_store::{Error, ErrorKind, Layout, Limits, Options, Settled, Spool, State, WhenFull};

use crate::support::{LAYOUTS, number_of, numbered, numbers, options};

// --- File systems --------------------------------------------------------------

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn must_run(program: &str, arguments: &[&str]) {
    run(program, arguments).unwrap_or_else(|why| {
        panic!("{why}\nThis test mounts file systems: it needs root, mount(8) and mkfs.ext4(8).")
    });
}

/// A mounted file system, unmounted when this is dropped.
struct Mounted {
    at: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Mounted {
    fn tmpfs(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        must_run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(&at)]);
        Self { at, _folder: Some(folder) }
    }

    /// An ext4 file system in a file, which is made where it is not there.
    fn ext4(image: &Path, bytes: u64) -> Self {
        if !image.exists() {
            std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
            must_run("mkfs.ext4", &["-q", "-F", "-m", "0", text(image)]);
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        must_run("mount", &["-o", "loop,errors=remount-ro", text(image), text(&at)]);
        Self { at, _folder: Some(folder) }
    }

    /// A read-only view of a folder, over the folder itself. The kernel refuses to
    /// remount a file system while files are open for writing on it; this hides it.
    fn read_only_over(folder: &Path) -> Self {
        must_run("mount", &["--bind", text(folder), text(folder)]);
        let mounted = Self { at: folder.to_owned(), _folder: None };
        must_run("mount", &["-o", "remount,bind,ro", text(folder)]);
        mounted
    }

    fn spool(&self) -> PathBuf {
        self.at.join("spool")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = text(&self.at);
        if let Err(why) = run("umount", &[at]).or_else(|_| run("umount", &["-l", at])) {
            println!("{why}");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The two kinds of small file systems.
fn small_file_systems(folder: &Path) -> Vec<(&'static str, Mounted)> {
    vec![
        ("tmpfs", Mounted::tmpfs("2m")),
        ("ext4", Mounted::ext4(&folder.join("ext4.img"), 8 << 20)),
    ]
}

// --- Spools ----------------------------------------------------------------------

fn open(folder: &Path, layout: Layout) -> Spool {
    let options = Options {
        segment_bytes: 64 << 10,
        min_free_bytes: 0,
        min_free_inodes: 0,
        when_full: WhenFull::Reject,
        ..options(layout)
    };
    Spool::open(folder, options).unwrap()
}

fn length(number: u64) -> usize {
    [50, 900, 3_000, 9_000][usize::try_from(number % 4).unwrap()]
}

/// Appends until the first error, and returns it.
fn append_until_refused(spool: &Spool, next: &mut u64, acknowledged: &mut Vec<u64>) -> Error {
    for _ in 0..20_000 {
        *next += 1;
        match spool.append(numbered(*next, length(*next))) {
            Ok(_) => acknowledged.push(*next),
            Err(error) => return error,
        }
    }
    panic!("the file system never refused anything");
}

fn append(spool: &Spool, count: u64, next: &mut u64, acknowledged: &mut Vec<u64>) {
    for _ in 0..count {
        *next += 1;
        spool.append(numbered(*next, length(*next))).unwrap();
        acknowledged.push(*next);
    }
}

/// Everything that was acknowledged is there, once, in order, intact.
fn assert_all_there(spool: &Spool, acknowledged: &[u64], when: &str) {
    let (mut there, mut bent) = (Vec::new(), Vec::new());
    spool
        .each_from(&std::collections::BTreeMap::new(), &mut |record| {
            let number = number_of(&record.body);
            there.push(number);
            if record.body != numbered(number, length(number)).body() {
                bent.push(number);
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(there, acknowledged, "{when}");
    assert!(bent.is_empty(), "{when}: {bent:?} are damaged");
    let books = spool.status().unwrap().books;
    assert!(books.balance() && books.damaged == 0, "{when}: {books:?}");
    assert_eq!(books.accepted, acknowledged.len() as u64, "{when}: {books:?}");
}

/// Settles the oldest few as delivered.
fn deliver_some(spool: &Spool) -> usize {
    let batch = spool.take(&Limits { records: 10, bytes: 1 << 20 }).unwrap().unwrap();
    let settled: Vec<_> = batch
        .records
        .iter()
        .map(|offer| (offer.record.id.position, Settled::new(State::Delivered)))
        .collect();
    spool.settle(&settled).unwrap();
    settled.len()
}

#[test]
fn a_full_file_system_refuses_and_goes_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, mounted) in small_file_systems(folder.path()) {
        for layout in LAYOUTS {
            let when = |what: &str| format!("{kind}, {layout:?}, {what}");
            let ballast = mounted.at.join("ballast");
            std::fs::write(&ballast, vec![1; 700 << 10]).unwrap();
            let spool = open(&mounted.spool(), layout);
            let (mut next, mut acknowledged) = (0, Vec::new());
            for _ in 0..5 {
                let error = append_until_refused(&spool, &mut next, &mut acknowledged);
                assert_eq!(error.kind(), ErrorKind::Full, "{}: {error}", when("full"));
            }
            assert!(acknowledged.len() > 50, "{} records are no test", acknowledged.len());
            assert_all_there(&spool, &acknowledged, &when("full"));
            assert!(spool.status().unwrap().trouble.is_some(), "{}", when("no alarm"));
            // Delivering goes on while nothing can be written.
            let delivered = deliver_some(&spool);
            let _ = spool.maintain();
            assert_all_there(&spool, &acknowledged, &when("delivering while full"));
            std::fs::remove_file(&ballast).unwrap();
            append(&spool, 20, &mut next, &mut acknowledged);
            assert_eq!(spool.status().unwrap().trouble, None, "{}", when("the alarm stays"));
            spool.maintain().unwrap();
            assert_all_there(&spool, &acknowledged, &when("room again"));
            drop(spool);
            let spool = open(&mounted.spool(), layout);
            assert_all_there(&spool, &acknowledged, &when("reopened"));
            assert_eq!(spool.status().unwrap().books.delivered, delivered as u64);
            drop(spool);
            std::fs::remove_dir_all(mounted.spool()).unwrap();
        }
    }
}

#[test]
fn a_folder_that_turns_read_only_refuses_and_goes_on_when_it_is_writable_again() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, mounted) in small_file_systems(folder.path()) {
        for layout in LAYOUTS {
            let when = |what: &str| format!("{kind}, {layout:?}, {what}");
            let spool = open(&mounted.spool(), layout);
            let (mut next, mut acknowledged) = (0, Vec::new());
            append(&spool, 30, &mut next, &mut acknowledged);
            let read_only = Mounted::read_only_over(&mounted.spool());
            // Files that are open already still take what fits into them.
            for _ in 0..3 {
                let error = append_until_refused(&spool, &mut next, &mut acknowledged);
                assert_eq!(error.kind(), ErrorKind::Io, "{}: {error}", when("read-only"));
                assert!(error.to_string().contains("Read-only"), "{error}");
            }
            assert_all_there(&spool, &acknowledged, &when("read-only"));
            let delivered = deliver_some(&spool);
            let _ = spool.maintain();
            assert_all_there(&spool, &acknowledged, &when("delivering while read-only"));
            drop(read_only);
            append(&spool, 20, &mut next, &mut acknowledged);
            spool.maintain().unwrap();
            assert_all_there(&spool, &acknowledged, &when("writable again"));
            drop(spool);
            let spool = open(&mounted.spool(), layout);
            assert_all_there(&spool, &acknowledged, &when("reopened"));
            assert_eq!(spool.status().unwrap().books.delivered, delivered as u64);
            drop(spool);
            std::fs::remove_dir_all(mounted.spool()).unwrap();
        }
    }
}

/// What Linux does to an ext4 file system with an error, open files or not. There is
/// no way back but mounting it anew.
fn turn_read_only_for_good(mounted: &Mounted) {
    let devices = std::fs::read_to_string("/proc/mounts").unwrap();
    let device = devices
        .lines()
        .find(|line| line.split(' ').nth(1) == Some(text(&mounted.at)))
        .and_then(|line| line.split(' ').next()?.strip_prefix("/dev/"))
        .expect("the loop device of the file system");
    std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
}

#[test]
fn a_file_system_that_stops_for_an_error_keeps_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    for layout in LAYOUTS {
        let image = folder.path().join(format!("{layout:?}.img"));
        let mounted = Mounted::ext4(&image, 8 << 20);
        let spool = open(&mounted.spool(), layout);
        let (mut next, mut acknowledged) = (0, Vec::new());
        append(&spool, 60, &mut next, &mut acknowledged);
        turn_read_only_for_good(&mounted);
        for _ in 0..3 {
            next += 1;
            let error = spool.append(numbered(next, 100)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{layout:?}: {error}");
        }
        assert_all_there(&spool, &acknowledged, "after the error");
        deliver_some(&spool);
        drop(spool);
        drop(mounted);
        let mounted = Mounted::ext4(&image, 0);
        let spool = open(&mounted.spool(), layout);
        assert_all_there(&spool, &acknowledged, "mounted again");
        append(&spool, 20, &mut next, &mut acknowledged);
        assert_all_there(&spool, &acknowledged, "going on");
    }
}

#[test]
fn a_disk_that_fails_to_write_loses_nothing_that_was_acknowledged() {
    for layout in LAYOUTS {
        // The image has holes, and what is below it has no room to fill them: what
        // the kernel takes at first it cannot write, and the flush fails.
        let below = Mounted::tmpfs("5m");
        let image = below.at.join("ext4.img");
        let mounted = Mounted::ext4(&image, 32 << 20);
        let spool = open(&mounted.spool(), layout);
        let (mut next, mut acknowledged) = (0, Vec::new());
        let error = append_until_refused(&spool, &mut next, &mut acknowledged);
        // EIO or ENOSPC, as the kernel sees it.
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Full), "{layout:?}: {error}");
        assert!(acknowledged.len() > 50, "{} records are no test", acknowledged.len());
        for _ in 0..20 {
            next += 1;
            if spool.append(numbered(next, length(next))).is_ok() {
                acknowledged.push(next);
            }
        }
        drop(spool);
        drop(mounted);
        // Room again; the file system is checked as it would be at boot.
        must_run("mount", &["-o", "remount,size=64m", text(&below.at)]);
        let _ = run("e2fsck", &["-f", "-y", text(&image)]);
        let mounted = Mounted::ext4(&image, 0);
        let spool = open(&mounted.spool(), layout);
        let there = numbers(&spool);
        let lost: Vec<_> = acknowledged.iter().filter(|number| !there.contains(number)).collect();
        assert!(lost.is_empty(), "{layout:?}: {lost:?} were acknowledged and are lost");
        let books = spool.status().unwrap().books;
        assert!(books.balance() && books.damaged == 0, "{layout:?}: {books:?}");
    }
}
