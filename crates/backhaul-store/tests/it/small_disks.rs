//! Real file systems that fill up, turn read-only or fail to write: nothing that was
//! acknowledged is lost, and the same open spool goes on once the trouble is over.
//!
//! These tests mount file systems, so they need root, as in CI.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use backhaul_store::{Error, ErrorKind, Limits, Options, OsDisk, Spool, WhenFull};
use backhaul_testkit::ManualClock;

use crate::support::{
    LAYOUTS, Layout, deliver, deliver_all, number_of, numbered, numbers, options,
};

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

/// Runs a test in both layouts on both kinds of small file systems. It is told where it
/// is, for its messages.
fn on_small_file_systems(test: impl Fn(&Mounted, Layout, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let file_systems = [
        ("tmpfs", Mounted::tmpfs("2m")),
        ("ext4", Mounted::ext4(&folder.path().join("ext4.img"), 8 << 20)),
    ];
    for (kind, mounted) in &file_systems {
        for layout in LAYOUTS {
            test(mounted, layout, &format!("{kind}, {layout:?}"));
            std::fs::remove_dir_all(mounted.spool()).unwrap();
        }
    }
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

/// What was appended, and what of it was acknowledged.
#[derive(Default)]
struct Workload {
    next: u64,
    acknowledged: Vec<u64>,
}

impl Workload {
    fn try_append(&mut self, spool: &Spool) -> Result<(), Error> {
        self.next += 1;
        spool.append(numbered(self.next, length(self.next)))?;
        self.acknowledged.push(self.next);
        Ok(())
    }

    fn append(&mut self, spool: &Spool, count: u64) {
        for _ in 0..count {
            self.try_append(spool).unwrap();
        }
    }

    /// Appends until the first error, and returns it.
    fn append_until_refused(&mut self, spool: &Spool) -> Error {
        (0..20_000)
            .find_map(|_| self.try_append(spool).err())
            .expect("the file system never refused anything")
    }

    fn assert_is_a_test(&self) {
        assert!(self.acknowledged.len() > 50, "{} records are no test", self.acknowledged.len());
    }

    /// Everything that was acknowledged is there, once, in order, intact.
    fn assert_all_there(&self, spool: &Spool, when: &str) {
        let (mut there, mut bent) = (Vec::new(), Vec::new());
        spool
            .each_from(&BTreeMap::new(), &mut |record| {
                let number = number_of(&record.body);
                there.push(number);
                if record.body != numbered(number, length(number)).body() {
                    bent.push(number);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(there, self.acknowledged, "{when}");
        assert!(bent.is_empty(), "{when}: {bent:?} are damaged");
        let books = spool.status().unwrap().books;
        assert!(books.balance() && books.damaged == 0, "{when}: {books:?}");
        assert_eq!(books.accepted, self.acknowledged.len() as u64, "{when}: {books:?}");
    }

    /// Delivers while nothing can be written, and goes on once `repair` was called.
    fn deliver_and_go_on(&mut self, spool: Spool, repair: impl FnOnce(), place: &str) {
        self.assert_all_there(&spool, &format!("{place}, in trouble"));
        let delivered = deliver_some(&spool);
        let _ = spool.maintain();
        self.assert_all_there(&spool, &format!("{place}, delivering while in trouble"));
        repair();
        self.append(&spool, 20);
        assert_eq!(spool.status().unwrap().trouble, None, "{place}, the alarm stays");
        spool.maintain().unwrap();
        self.assert_all_there(&spool, &format!("{place}, repaired"));
        let (dir, layout) = (spool.dir().to_owned(), Layout::of(&spool));
        drop(spool);
        let spool = open(&dir, layout);
        self.assert_all_there(&spool, &format!("{place}, reopened"));
        assert_eq!(spool.status().unwrap().books.delivered, delivered);
    }
}

/// Settles the oldest few as delivered.
fn deliver_some(spool: &Spool) -> u64 {
    deliver(spool, &Limits { records: 10, bytes: 1 << 20, ..Limits::default() }).unwrap().len()
        as u64
}

#[test]
fn a_full_file_system_refuses_and_goes_on_when_there_is_room_again() {
    on_small_file_systems(|mounted, layout, place| {
        let ballast = mounted.at.join("ballast");
        std::fs::write(&ballast, vec![1; 700 << 10]).unwrap();
        let spool = open(&mounted.spool(), layout);
        let mut workload = Workload::default();
        for _ in 0..5 {
            let error = workload.append_until_refused(&spool);
            assert_eq!(error.kind(), ErrorKind::Full, "{place}: {error}");
        }
        workload.assert_is_a_test();
        assert!(spool.status().unwrap().trouble.is_some(), "{place}, no alarm");
        let make_room = || std::fs::remove_file(&ballast).unwrap();
        workload.deliver_and_go_on(spool, make_room, place);
    });
}

#[test]
fn on_a_disk_that_others_filled_delivering_makes_room() {
    on_small_file_systems(|mounted, layout, place| {
        let options = Options {
            keep_delivered_for: std::time::Duration::ZERO,
            min_free_bytes: 0,
            min_free_inodes: 0,
            ..options(layout)
        };
        let clock = ManualClock::new();
        let open = |options| {
            Spool::open_on(mounted.spool(), options, Arc::new(OsDisk), Arc::new(clock.clone()))
        };
        let spool = open(options).unwrap();
        let mut workload = Workload::default();
        workload.append(&spool, 200);
        clock.advance(std::time::Duration::from_secs(11));
        spool.maintain().unwrap();
        // To the last byte.
        let ballast = mounted.at.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        for size in [64 << 10, 4 << 10, 1] {
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
        }
        workload.append_until_refused(&spool);
        assert_eq!(deliver_all(&spool), workload.acknowledged, "{place}");
        for _ in 0..3 {
            clock.advance(std::time::Duration::from_secs(11));
            let _ = spool.maintain();
        }
        // But for those in the segment that is still written to.
        let left = numbers(&spool).len();
        assert!(left < 20, "{place}: {left} delivered records are still there");
        workload.next += 1;
        spool.append(numbered(workload.next, 3_000)).unwrap();
        let books = spool.status().unwrap().books;
        assert_eq!((books.pending, books.delivered), (1, workload.acknowledged.len() as u64));
        drop(file);
        std::fs::remove_file(ballast).unwrap();
    });
}

#[test]
fn a_folder_that_turns_read_only_refuses_and_goes_on_when_it_is_writable_again() {
    on_small_file_systems(|mounted, layout, place| {
        let spool = open(&mounted.spool(), layout);
        let mut workload = Workload::default();
        workload.append(&spool, 30);
        let read_only = Mounted::read_only_over(&mounted.spool());
        // Files that are open already still take what fits into them.
        for _ in 0..3 {
            let error = workload.append_until_refused(&spool);
            assert_eq!(error.kind(), ErrorKind::Io, "{place}: {error}");
            assert!(error.to_string().contains("Read-only"), "{error}");
        }
        workload.deliver_and_go_on(spool, || drop(read_only), place);
    });
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
        let mut workload = Workload::default();
        workload.append(&spool, 60);
        turn_read_only_for_good(&mounted);
        for _ in 0..3 {
            workload.next += 1;
            let error = spool.append(numbered(workload.next, 100)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{layout:?}: {error}");
        }
        workload.assert_all_there(&spool, "after the error");
        deliver_some(&spool);
        drop(spool);
        drop(mounted);
        let mounted = Mounted::ext4(&image, 0);
        let spool = open(&mounted.spool(), layout);
        workload.assert_all_there(&spool, "mounted again");
        workload.append(&spool, 20);
        workload.assert_all_there(&spool, "going on");
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
        let mut workload = Workload::default();
        let error = workload.append_until_refused(&spool);
        // EIO or ENOSPC, as the kernel sees it.
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Full), "{layout:?}: {error}");
        workload.assert_is_a_test();
        for _ in 0..20 {
            let _ = workload.try_append(&spool);
        }
        drop(spool);
        drop(mounted);
        // Room again; the file system is checked as it would be at boot.
        must_run("mount", &["-o", "remount,size=64m", text(&below.at)]);
        let _ = run("e2fsck", &["-f", "-y", text(&image)]);
        let mounted = Mounted::ext4(&image, 0);
        let spool = open(&mounted.spool(), layout);
        let there = numbers(&spool);
        let lost: Vec<_> =
            workload.acknowledged.iter().filter(|number| !there.contains(number)).collect();
        assert!(lost.is_empty(), "{layout:?}: {lost:?} were acknowledged and are lost");
        let books = spool.status().unwrap().books;
        assert!(books.balance() && books.damaged == 0, "{layout:?}: {books:?}");
    }
}
