use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::crash_style::{Order, Scramble, Tear};
use crate::errno;
use crate::sim_state::Node;

fn errno_of<T: fmt::Debug>(answer: io::Result<T>) -> i32 {
    answer.unwrap_err().raw_os_error().unwrap()
}

/// A disk with the durable directory `/d`.
fn disk_with_dir() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn open(disk: &SimDisk, path: &str, how: Open) -> Box<dyn DiskFile> {
    disk.open(Path::new(path), how).unwrap()
}

/// A disk with the durable file `/d/f` that holds `bytes`, and a handle of it.
fn disk_with_file(bytes: &[u8]) -> (SimDisk, Box<dyn DiskFile>) {
    let disk = disk_with_dir();
    let file = open(&disk, "/d/f", Open::Create);
    file.write_all_at(bytes, 0).unwrap();
    file.flush().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(disk.unflushed_ops(), 0);
    (disk, file)
}

/// The contents that `/d/f` takes in `count` images.
fn contents(disk: &SimDisk, style: &CrashStyle, count: u64) -> BTreeSet<Vec<u8>> {
    let mut prng = Prng::new(7);
    (0..count).map(|_| disk.crash_image(&mut prng, style).read_file("/d/f").unwrap()).collect()
}

/// The lists of paths that a disk has in 300 images.
fn listings(disk: &SimDisk, style: &CrashStyle) -> BTreeSet<Vec<String>> {
    let mut prng = Prng::new(8);
    let list = |disk: SimDisk| disk.paths().iter().map(|path| path.display().to_string()).collect();
    (0..300).map(|_| list(disk.crash_image(&mut prng, style))).collect()
}

fn lists(expected: &[&[&str]]) -> BTreeSet<Vec<String>> {
    let list = |list: &&[&str]| list.iter().map(|path| (*path).to_owned()).collect();
    expected.iter().map(list).collect()
}

const EACH_NAME: CrashStyle = CrashStyle { keep_names: 0.5, ..CrashStyle::KEEP_ALL };
const JOURNAL: CrashStyle = CrashStyle { ordered_metadata: true, ..EACH_NAME };
const EACH_OP: CrashStyle = CrashStyle { keep: 0.5, ..CrashStyle::KEEP_ALL };
const TORN: CrashStyle = CrashStyle { keep: 0.0, tear: 1.0, ..CrashStyle::KEEP_ALL };

#[test]
fn reads_and_lists_what_was_written() {
    let (disk, file) = disk_with_file(b"hello");
    file.write_all_at(b"!", 7).unwrap();
    assert_eq!(file.read_exact_at(8, 0).unwrap(), b"hello\0\0!");
    assert_eq!(file.len().unwrap(), 8);
    file.set_len(2).unwrap();
    disk.create_dir_all(Path::new("/d/sub")).unwrap();
    let mut listed = disk.list(Path::new("/d")).unwrap();
    listed.sort_by(|left, right| left.name.cmp(&right.name));
    assert_eq!(
        listed,
        [
            Entry { name: "f".into(), len: 2, is_dir: false },
            Entry { name: "sub".into(), len: 0, is_dir: true },
        ]
    );
    assert_eq!(disk.total_bytes(), 2);
    assert_eq!(disk.bytes_written(), 6);
    assert_eq!((disk.flush_count(), disk.sync_dir_count()), (1, 2));
}

#[test]
fn answers_with_the_errors_of_linux() {
    let (disk, file) = disk_with_file(b"hello");
    let open = |path: &str, how| disk.open(Path::new(path), how);
    assert_eq!(errno_of(open("/d/none", Open::Read)), errno::ENOENT);
    assert_eq!(errno_of(open("/none/f", Open::Create)), errno::ENOENT);
    assert_eq!(errno_of(open("/d/f", Open::CreateNew)), errno::EEXIST);
    assert_eq!(errno_of(open("/d/f/g", Open::Create)), errno::ENOTDIR);
    assert_eq!(errno_of(open("/d", Open::Write)), errno::EISDIR);
    assert_eq!(errno_of(open(&"n".repeat(256), Open::Create)), errno::ENAMETOOLONG);
    assert_eq!(errno_of(disk.create_dir_all(Path::new("/d/f"))), errno::EEXIST);
    assert_eq!(errno_of(disk.create_dir_all(Path::new("/d/f/g"))), errno::ENOTDIR);
    assert_eq!(errno_of(disk.list(Path::new("/none"))), errno::ENOENT);
    assert_eq!(errno_of(disk.remove(Path::new("/d"))), errno::EISDIR);
    assert_eq!(errno_of(disk.remove(Path::new("/d/none"))), errno::ENOENT);
    assert_eq!(errno_of(disk.rename(Path::new("/d/none"), Path::new("/d/g"))), errno::ENOENT);
    assert_eq!(errno_of(disk.rename(Path::new("/d/f"), Path::new("/d"))), errno::EISDIR);
    assert_eq!(errno_of(disk.sync_dir(Path::new("/none"))), errno::ENOENT);
    assert_eq!(errno_of(file.write_all_at(b"x", u64::MAX)), errno::EFBIG);
    let reader = open("/d/f", Open::Read).unwrap();
    assert_eq!(errno_of(reader.write_all_at(b"x", 0)), errno::EBADF);
    assert_eq!(disk.paths(), [PathBuf::from("/d/f")]);
}

#[test]
fn a_removed_or_replaced_file_stays_usable_through_its_handle() {
    let (disk, file) = disk_with_file(b"old");
    disk.write_file("/d/new", b"new").unwrap();
    disk.rename(Path::new("/d/new"), Path::new("/d/f")).unwrap();
    assert_eq!(disk.read_file("/d/f").unwrap(), b"new");
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"er", 3).unwrap();
    assert_eq!(file.read_exact_at(5, 0).unwrap(), b"older");
    assert_eq!(disk.total_bytes(), 3);
}

#[test]
fn an_unflushed_write_may_stay_or_vanish() {
    let (disk, file) = disk_with_file(b"old");
    file.write_all_at(b"new", 0).unwrap();
    let expected: BTreeSet<_> = [b"old".to_vec(), b"new".to_vec()].into();
    assert_eq!(contents(&disk, &EACH_OP, 100), expected);
    assert_eq!(contents(&disk, &CrashStyle::KEEP_ALL, 10), [b"new".to_vec()].into());
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 10), [b"old".to_vec()].into());
}

#[test]
fn a_flushed_write_never_vanishes_in_1000_images() {
    let mut prng = Prng::new(1);
    let (disk, file) = disk_with_file(&[]);
    let mut flushed = Vec::new();
    for round in 0..1_000 {
        let data = prng.bytes(700);
        file.write_all_at(&data, flushed.len() as u64).unwrap();
        flushed.extend(data);
        // Through another handle: the inode is flushed, not the handle.
        open(&disk, "/d/f", Open::Write).flush().unwrap();
        // An unflushed write on pages of its own, gone again before the next round.
        let beyond = (flushed.len() as u64).next_multiple_of(4_096);
        file.write_all_at(&[9; 5_000], beyond).unwrap();
        let style = CrashStyle::random(&mut prng);
        let image = disk.crash_image(&mut prng, &style).read_file("/d/f").unwrap();
        assert!(image.starts_with(&flushed), "round {round}: {style:?}");
        file.set_len(flushed.len() as u64).unwrap();
        file.flush().unwrap();
    }
}

#[test]
fn unflushed_writes_survive_out_of_order() {
    let (disk, file) = disk_with_file(b"....");
    file.write_all_at(b"aaa", 0).unwrap();
    file.write_all_at(b"bbb", 1).unwrap();
    let issued = contents(&disk, &EACH_OP, 200);
    let expected = [b"....", b"aaa.", b".bbb", b"abbb"].map(|bytes| bytes.to_vec());
    assert_eq!(issued, expected.into());
    let shuffled = contents(&disk, &CrashStyle { order: Order::Shuffled, ..EACH_OP }, 200);
    assert!(shuffled.contains(b"aaab".as_slice()));
    assert_eq!(shuffled.len(), 5);
    let prefix = contents(&disk, &CrashStyle { order: Order::Prefix, ..EACH_OP }, 200);
    assert_eq!(prefix, [b"....", b"aaa.", b"abbb"].map(|bytes| bytes.to_vec()).into());
}

/// Whether each block of `size` bytes is all `old` or all `new`, and both occur.
fn breaks_only_between(images: &BTreeSet<Vec<u8>>, size: usize) -> bool {
    let whole = |block: &[u8]| block.iter().all(|byte| *byte == block[0]);
    let mixed = |image: &&Vec<u8>| image.iter().any(|byte| *byte != image[0]);
    images.iter().all(|image| image.chunks(size).all(whole)) && images.iter().any(|i| mixed(&i))
}

#[test]
fn a_torn_write_breaks_at_its_unit() {
    let (disk, file) = disk_with_file(&[0; 16_384]);
    file.write_all_at(&[1; 16_384], 0).unwrap();
    let images = |tear_at| contents(&disk, &CrashStyle { tear_at, ..TORN }, 100);
    assert!(breaks_only_between(&images(Tear::Page), 4_096));
    assert!(breaks_only_between(&images(Tear::Sector), 512));
    assert!(!breaks_only_between(&images(Tear::Sector), 4_096));
    let prefixes = images(Tear::Byte);
    assert!(prefixes.iter().all(|image| image.is_sorted_by(|left, right| left >= right)));
    assert!(!breaks_only_between(&prefixes, 512));
}

#[test]
fn tearing_touches_only_the_bytes_of_the_write() {
    let (disk, file) = disk_with_file(&[7; 9_000]);
    file.write_all_at(&[1; 3_000], 3_333).unwrap();
    for image in contents(&disk, &TORN, 300) {
        assert!(image[..3_333].iter().chain(&image[6_333..]).all(|byte| *byte == 7));
        assert_eq!(image.len(), 9_000);
    }
}

#[test]
fn scramble_destroys_flushed_bytes_but_never_pages_without_unflushed_writes() {
    let old = Prng::new(5).bytes(40_000);
    let (disk, file) = disk_with_file(&old);
    // Pages 3 and 4 are touched, by 100 bytes on each side of their border.
    file.write_all_at(&[1; 200], 16_384 - 100).unwrap();
    for (scramble, size) in [(Scramble::Page, 4_096), (Scramble::Sector, 512)] {
        let mut destroyed = 0;
        for image in contents(&disk, &CrashStyle { scramble, ..TORN }, 300) {
            assert_eq!(image.len(), old.len());
            let (from, to) = (16_384 - size, 16_384 + size);
            assert!(image[..from] == old[..from] && image[to..] == old[to..]);
            let block_lost = |at: usize| image[at..at + 16] != old[at..at + 16];
            destroyed += usize::from(block_lost(from) || block_lost(to - 16));
        }
        assert!(destroyed > 50, "{scramble:?}: {destroyed}");
    }
}

#[test]
fn scramble_may_destroy_any_page_of_a_torn_write_and_never_moves_the_end() {
    let (disk, file) = disk_with_file(&[7; 13_000]);
    file.write_all_at(&[7; 13_000], 0).unwrap();
    let style = CrashStyle { tear_at: Tear::Page, scramble: Scramble::Page, ..TORN };
    let images = contents(&disk, &style, 200);
    assert!(images.iter().all(|image| image.len() == 13_000));
    for page in 0..4 {
        let lost = |image: &&Vec<u8>| image[page * 4_096..][..16] != [7; 16];
        assert!(images.iter().filter(lost).count() > 2, "page {page}");
    }
}

#[test]
fn random_styles_never_touch_pages_without_unflushed_writes() {
    let mut prng = Prng::new(6);
    let old = prng.bytes(100_000);
    let (disk, file) = disk_with_file(&old);
    for page in [2, 3, 9, 15] {
        file.write_all_at(&prng.bytes(1_000), page * 4_096 + 50).unwrap();
    }
    for _ in 0..1_000 {
        let style = CrashStyle::random(&mut prng);
        let image = disk.crash_image(&mut prng, &style).read_file("/d/f").unwrap();
        assert_eq!(image.len(), old.len());
        for (page, (new, old)) in image.chunks(4_096).zip(old.chunks(4_096)).enumerate() {
            assert!([2, 3, 9, 15].contains(&page) || new == old, "page {page}: {style:?}");
        }
    }
}

#[test]
fn a_gap_left_by_a_lost_write_reads_as_zeros() {
    let (disk, file) = disk_with_file(b"abc");
    file.write_all_at(b"def", 3).unwrap();
    file.write_all_at(b"ghi", 6).unwrap();
    let images = contents(&disk, &EACH_OP, 100);
    assert!(images.contains(b"abc\0\0\0ghi".as_slice()));
    assert_eq!(images.len(), 4);
}

#[test]
fn a_length_may_run_behind_or_ahead_of_the_data() {
    let (disk, file) = disk_with_file(b"abc");
    file.write_all_at(b"def", 3).unwrap();
    let images = contents(&disk, &CrashStyle { loose_length: true, ..EACH_OP }, 200);
    let expected = [b"abc".to_vec(), b"abcdef".to_vec(), b"abc\0\0\0".to_vec()];
    assert_eq!(images, expected.into());
    let images = contents(&disk, &CrashStyle { loose_length: true, ..CrashStyle::KEEP_ALL }, 100);
    assert_eq!(images, [b"abc".to_vec(), b"abcdef".to_vec()].into());
}

#[test]
fn an_unflushed_cut_may_be_lost() {
    let (disk, file) = disk_with_file(b"abcdef");
    file.set_len(2).unwrap();
    let images = contents(&disk, &CrashStyle { loose_length: true, ..EACH_OP }, 100);
    assert_eq!(images, [b"ab".to_vec(), b"abcdef".to_vec()].into());
    file.flush().unwrap();
    assert_eq!(contents(&disk, &CrashStyle::WORST, 100), [b"ab".to_vec()].into());
}

#[test]
fn a_name_not_synced_may_be_lost_although_its_file_was_flushed() {
    let disk = disk_with_dir();
    let file = open(&disk, "/d/f", Open::CreateNew);
    file.write_all_at(b"x", 0).unwrap();
    file.flush().unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&[], &["/d/f"]]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(contents(&disk, &CrashStyle::WORST, 100), [b"x".to_vec()].into());
}

#[test]
fn a_synced_name_of_an_unflushed_file_may_be_empty() {
    let disk = disk_with_dir();
    let file = open(&disk, "/d/f", Open::CreateNew);
    file.write_all_at(b"xyz", 0).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    let images = contents(&disk, &CrashStyle { loose_length: true, ..EACH_OP }, 100);
    assert_eq!(images, [b"".to_vec(), b"\0\0\0".to_vec(), b"xyz".to_vec()].into());
}

#[test]
fn a_directory_not_synced_in_its_parent_is_lost_with_all_it_holds() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/a/b")).unwrap();
    let file = open(&disk, "/a/b/f", Open::Create);
    file.flush().unwrap();
    for path in ["/a/b", "/a"] {
        disk.sync_dir(Path::new(path)).unwrap();
        assert_eq!(listings(&disk, &EACH_NAME), lists(&[&[], &["/a/b/f"]]));
    }
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&["/a/b/f"]]));
}

#[test]
fn a_rename_not_synced_may_be_lost_but_never_half_done() {
    let (disk, _file) = disk_with_file(b"old");
    disk.write_file("/d/tmp", b"new").unwrap();
    disk.rename(Path::new("/d/tmp"), Path::new("/d/f")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&["/d/f", "/d/tmp"], &["/d/f"]]));
    let images = contents(&disk, &EACH_NAME, 100);
    assert_eq!(images, [b"old".to_vec(), b"new".to_vec()].into());
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(contents(&disk, &CrashStyle::WORST, 100), [b"new".to_vec()].into());
}

#[test]
fn a_move_between_directories_needs_both_syncs() {
    let (disk, _file) = disk_with_file(b"x");
    disk.create_dir_all(Path::new("/e")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/e/f")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&[], &["/d/f"], &["/e/f"], &["/d/f", "/e/f"]]));
    assert_eq!(listings(&disk, &JOURNAL), lists(&[&["/d/f"], &["/e/f"]]));
    // Both names of an image are the same file.
    let mut prng = Prng::new(1);
    let mut images = (0..100).map(|_| disk.crash_image(&mut prng, &EACH_NAME));
    let image = images.find(|image| image.paths().len() == 2).unwrap();
    image.remove(Path::new("/d/f")).unwrap();
    image.sync_dir(Path::new("/d")).unwrap();
    assert_eq!((image.total_bytes(), image.read_file("/e/f").unwrap()), (1, b"x".to_vec()));
    disk.sync_dir(Path::new("/e")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&["/e/f"], &["/d/f", "/e/f"]]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&["/e/f"]]));
}

#[test]
fn ordered_metadata_survives_as_a_prefix_across_directories() {
    let disk = disk_with_dir();
    disk.create_dir_all(Path::new("/e")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    for path in ["/d/1", "/e/2", "/d/3"] {
        open(&disk, path, Open::Create);
    }
    assert_eq!(
        listings(&disk, &JOURNAL),
        lists(&[&[], &["/d/1"], &["/d/1", "/e/2"], &["/d/1", "/d/3", "/e/2"]])
    );
    assert_eq!(listings(&disk, &EACH_NAME).len(), 8);
}

#[test]
fn a_removed_name_may_come_back_until_its_directory_is_synced() {
    let (disk, file) = disk_with_file(b"x");
    disk.remove(Path::new("/d/f")).unwrap();
    drop(file);
    // A sync elsewhere must not forget the file.
    disk.create_dir_all(Path::new("/e")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&[], &["/d/f"]]));
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    assert_eq!(image.read_file("/d/f").unwrap(), b"x");
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(listings(&disk, &EACH_NAME), lists(&[&[]]));
    assert_eq!(disk.state().nodes.len(), 3);
}

#[test]
fn no_image_has_a_name_that_points_to_nothing() {
    let mut prng = Prng::new(9);
    let disk = disk_with_dir();
    disk.create_dir_all(Path::new("/e")).unwrap();
    for step in 0..2_000 {
        let mut path = || {
            let dir = *prng.pick(&["/d", "/e"]);
            PathBuf::from(format!("{dir}/{}", prng.below(4)))
        };
        let (one, two) = (path(), path());
        // Whether a call succeeds depends on what is there; both are fine here.
        match prng.below(8) {
            0..=2 => disk.open(&one, Open::Create).unwrap().write_all_at(b"x", step).unwrap(),
            3 | 4 => drop(disk.rename(&one, &two)),
            5 => drop(disk.remove(&one)),
            6 => disk.sync_dir(one.parent().unwrap()).unwrap(),
            _ => drop(disk.open(&one, Open::Write).and_then(|file| file.flush())),
        }
        let style = CrashStyle::random(&mut prng);
        let image = disk.crash_image(&mut prng, &style);
        let state = image.state();
        for node in state.nodes.values() {
            if let Node::Dir(dir) = node {
                assert!(dir.live.values().all(|node| state.nodes.contains_key(node)));
                assert_eq!(dir.live, dir.durable);
            }
        }
        drop(state);
        assert_eq!(image.unflushed_ops(), 0);
    }
}

#[test]
fn keep_all_is_the_live_state_and_drop_all_the_durable_one() {
    let (disk, file) = disk_with_file(b"old");
    file.write_all_at(b"newer", 0).unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
    let mut prng = Prng::new(1);
    let kept = disk.crash_image(&mut prng, &CrashStyle::KEEP_ALL);
    assert_eq!(kept.paths(), disk.paths());
    assert_eq!(kept.read_file("/d/g").unwrap(), b"newer");
    let durable = disk.crash_image(&mut prng, &CrashStyle::DROP_ALL);
    assert_eq!(durable.paths(), [PathBuf::from("/d/f")]);
    assert_eq!(durable.read_file("/d/f").unwrap(), b"old");
}

#[test]
fn an_image_is_a_disk_of_its_own_with_free_locks() {
    let (disk, file) = disk_with_file(b"x");
    assert!(file.try_lock().unwrap());
    disk.set_capacity(1_000, 10);
    disk.ignore_flushes(true);
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    let other = open(&image, "/d/f", Open::Write);
    assert!(other.try_lock().unwrap());
    other.write_all_at(b"yy", 0).unwrap();
    other.flush().unwrap();
    assert_eq!(image.unflushed_ops(), 0);
    assert_eq!(disk.read_file("/d/f").unwrap(), b"x");
    assert_eq!(image.space(Path::new("/")).unwrap().free_bytes, 998);
    assert_eq!((image.flush_count(), image.bytes_written()), (1, 2));
}

#[test]
fn the_same_seed_draws_the_same_image() {
    let (disk, file) = disk_with_file(&[0; 50_000]);
    for at in 0..40 {
        file.write_all_at(&[1; 3_000], at * 1_111).unwrap();
    }
    let image = |seed| {
        let image = disk.crash_image(&mut Prng::new(seed), &CrashStyle::WORST);
        image.read_file("/d/f").unwrap()
    };
    assert!(image(1) == image(1));
    assert!(image(1) != image(2));
}

#[test]
fn a_lock_is_held_by_one_alone_or_by_several_together() {
    let disk = SimDisk::new();
    let mut files = (0..3).map(|_| disk.open(Path::new("/f"), Open::Create).unwrap());
    let (one, two, three) = (files.next().unwrap(), files.next().unwrap(), files.next().unwrap());
    assert!(one.try_lock_shared().unwrap() && two.try_lock_shared().unwrap());
    assert!(!three.try_lock().unwrap());
    drop(one);
    assert!(!three.try_lock().unwrap());
    drop(two);
    assert!(three.try_lock().unwrap());
    let four = disk.open(Path::new("/f"), Open::Create).unwrap();
    assert!(!four.try_lock_shared().unwrap());
    drop(three);
    assert!(four.try_lock_shared().unwrap());
}

#[test]
fn a_power_cut_kills_handles_and_frees_locks() {
    let (disk, file) = disk_with_file(b"old");
    assert!(file.try_lock().unwrap());
    file.write_all_at(b"new", 0).unwrap();
    disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    assert_eq!(errno_of(file.read_exact_at(1, 0)), errno::EIO);
    assert_eq!(errno_of(file.write_all_at(b"x", 0)), errno::EIO);
    assert_eq!(errno_of(file.len()), errno::EIO);
    assert_eq!(errno_of(file.set_len(0)), errno::EIO);
    assert_eq!(errno_of(file.flush()), errno::EIO);
    assert_eq!(errno_of(file.try_lock()), errno::EIO);
    let fresh = open(&disk, "/d/f", Open::Write);
    assert!(fresh.try_lock().unwrap());
    drop(file);
    assert!(!open(&disk, "/d/f", Open::Read).try_lock().unwrap());
    assert_eq!(disk.read_file("/d/f").unwrap(), b"old");
}

#[test]
fn a_killed_process_loses_its_handles_but_no_data() {
    let (disk, file) = disk_with_file(b"old");
    file.write_all_at(b"new", 0).unwrap();
    disk.kill_process();
    assert_eq!(errno_of(file.flush()), errno::EIO);
    assert_eq!(disk.read_file("/d/f").unwrap(), b"new");
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1), [b"old".to_vec()].into());
}

#[test]
fn a_lock_excludes_other_handles_until_its_own_is_dropped() {
    let (disk, file) = disk_with_file(b"x");
    let other = open(&disk, "/d/f", Open::Read);
    assert!(file.try_lock().unwrap());
    assert!(file.try_lock().unwrap());
    assert!(!other.try_lock().unwrap());
    drop(open(&disk, "/d/f", Open::Read));
    assert!(!other.try_lock().unwrap());
    drop(file);
    assert!(other.try_lock().unwrap());
}

#[test]
fn the_hook_sees_each_flush_before_it_takes_effect() {
    let (disk, file) = disk_with_file(b"old");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    disk.on_flush(Box::new(move |snapshot| sink.lock().unwrap().push(snapshot.clone())));
    file.write_all_at(b"new", 0).unwrap();
    file.flush().unwrap();
    open(&disk, "/d/g", Open::Create);
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.clear_on_flush();
    file.flush().unwrap();

    let seen = seen.lock().unwrap();
    let points: Vec<_> = seen.iter().map(|snapshot| snapshot.point().clone()).collect();
    assert_eq!(points, [FlushPoint::File("/d/f".into()), FlushPoint::Dir("/d".into())]);
    assert_eq!(seen.iter().map(SimSnapshot::flush_index).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(seen.iter().map(SimSnapshot::unflushed_ops).collect::<Vec<_>>(), [1, 1]);
    let mut prng = Prng::new(1);
    let before = seen[0].crash_image(&mut prng, &CrashStyle::DROP_ALL);
    assert_eq!(before.read_file("/d/f").unwrap(), b"old");
    assert_eq!(seen[0].read_file("/d/f").unwrap(), b"new");
    let between = seen[1].crash_image(&mut prng, &CrashStyle::DROP_ALL);
    assert_eq!(between.read_file("/d/f").unwrap(), b"new");
    assert_eq!(between.paths().len(), 1);
}

#[test]
fn the_hook_may_use_the_disk_and_recover_images() {
    let (disk, file) = disk_with_file(b"old");
    let (inner, calls) = (disk.clone(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    disk.on_flush(Box::new(move |snapshot| {
        let image = snapshot.crash_image(&mut Prng::new(1), &CrashStyle::KEEP_ALL);
        open(&image, "/d/f", Open::Write).flush().unwrap();
        assert_eq!(inner.read_file("/d/f").unwrap(), image.read_file("/d/f").unwrap());
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    file.write_all_at(b"new", 0).unwrap();
    file.flush().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn ignored_flushes_make_nothing_durable() {
    let (disk, file) = disk_with_file(b"old");
    disk.ignore_flushes(true);
    file.write_all_at(b"new", 0).unwrap();
    file.flush().unwrap();
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1), [b"old".to_vec()].into());
    disk.ignore_flushes(false);
    file.flush().unwrap();
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1), [b"new".to_vec()].into());
    assert_eq!(disk.flush_count(), 3);
}

#[test]
fn ignored_flushes_of_one_file_spare_the_others() {
    let (disk, file) = disk_with_file(b"old");
    let other = open(&disk, "/d/other", Open::Create);
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.ignore_flushes_of("/d/f");
    for file in [&file, &other] {
        file.write_all_at(b"new", 0).unwrap();
        file.flush().unwrap();
    }
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    assert_eq!(image.read_file("/d/f").unwrap(), b"old");
    assert_eq!(image.read_file("/d/other").unwrap(), b"new");
    disk.ignore_flushes_of("/d");
    open(&disk, "/d/third", Open::Create);
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(listings(&disk, &CrashStyle::DROP_ALL), lists(&[&["/d/f", "/d/other"]]));
}

#[test]
fn ignored_dir_syncs_make_nothing_durable() {
    let disk = disk_with_dir();
    disk.ignore_dir_syncs(true);
    open(&disk, "/d/f", Open::Create);
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(listings(&disk, &CrashStyle::DROP_ALL), lists(&[&[]]));
    disk.ignore_dir_syncs(false);
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(listings(&disk, &CrashStyle::DROP_ALL), lists(&[&["/d/f"]]));
}

#[test]
fn after_a_failed_flush_a_good_one_saves_only_pages_written_since() {
    let (disk, file) = disk_with_file(&[0; 3 * 4_096]);
    file.write_all_at(&[1; 3 * 4_096], 0).unwrap();
    disk.fail_flush_of("/d/f").unwrap();
    assert_eq!(file.read_exact_at(1, 0).unwrap(), [1]);
    // Told once, and nothing is dirty: the flush succeeds and saves nothing.
    assert_eq!(errno_of(file.flush()), errno::EIO);
    file.flush().unwrap();
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1), [vec![0; 3 * 4_096]].into());
    // One byte makes page 1 dirty, and it goes whole.
    file.write_all_at(&[2], 4_096 + 9).unwrap();
    file.flush().unwrap();
    let mut expected = vec![0; 3 * 4_096];
    expected[4_096..2 * 4_096].fill(1);
    expected[4_096 + 9] = 2;
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1), [expected].into());
    // The other pages are kept or lost, each write as before, and page 1 stays in all.
    let page = |image: &Vec<u8>| image[4_096 + 9] == 2 && image[4_096] == 1;
    let images = contents(&disk, &EACH_OP, 100);
    assert!(images.len() == 4 && images.iter().all(page));
    assert!(contents(&disk, &CrashStyle::WORST, 300).iter().all(page));
}

#[test]
fn after_a_failed_flush_a_good_one_saves_the_length() {
    let (disk, file) = disk_with_file(b"abc");
    file.write_all_at(&[1; 5_000], 3).unwrap();
    disk.fail_flush_of("/d/f").unwrap();
    file.set_len(4_500).unwrap();
    assert_eq!(errno_of(file.flush()), errno::EIO);
    for image in contents(&disk, &CrashStyle::WORST, 200) {
        assert_eq!(image.len(), 4_500);
        assert_eq!(image[4_096..], [1; 404]);
    }
}

#[test]
fn after_a_failed_flush_nothing_past_a_saved_cut_comes_back() {
    let (disk, file) = disk_with_file(&[1; 12_000]);
    file.write_all_at(&[2; 12_000], 0).unwrap();
    disk.fail_flush_of("/d/f").unwrap();
    file.set_len(4_096).unwrap();
    assert_eq!(errno_of(file.flush()), errno::EIO);
    let images = contents(&disk, &EACH_OP, 50);
    assert_eq!(images, [vec![1; 4_096], vec![2; 4_096]].into());
}

#[test]
fn a_failed_flush_is_told_once_through_each_handle_that_was_open() {
    let (disk, file) = disk_with_file(b"old");
    let other = open(&disk, "/d/f", Open::Write);
    file.write_all_at(b"new", 0).unwrap();
    disk.fail_flush_of("/d/f").unwrap();
    let late = open(&disk, "/d/f", Open::Write);
    late.flush().unwrap();
    for handle in [&file, &other] {
        assert_eq!(errno_of(handle.flush()), errno::EIO);
        handle.flush().unwrap();
    }
    // Nothing was dirty: nothing has failed.
    disk.fail_flush_of("/d/f").unwrap();
    file.flush().unwrap();
}

#[test]
fn a_full_disk_fails_at_the_exact_byte() {
    let (disk, file) = disk_with_file(&[1; 900]);
    disk.set_capacity(1_000, u64::MAX);
    assert_eq!(disk.space(Path::new("/d")).unwrap().free_bytes, 100);
    file.write_all_at(&[2; 60], 900).unwrap();
    assert_eq!(errno_of(file.write_all_at(&[3; 41], 960)), errno::ENOSPC);
    assert_eq!(file.len().unwrap(), 1_000);
    assert_eq!(file.read_exact_at(40, 960).unwrap(), [3; 40]);
    assert_eq!(errno_of(file.write_all_at(&[3], 1_000)), errno::ENOSPC);
    assert_eq!(errno_of(file.set_len(1_001)), errno::ENOSPC);
    assert_eq!(file.len().unwrap(), 1_000);
    file.write_all_at(&[4; 1_000], 0).unwrap();
    file.set_len(990).unwrap();
    file.write_all_at(&[5; 10], 990).unwrap();
}

#[test]
fn a_removed_file_frees_its_room_when_its_last_handle_goes() {
    let (disk, file) = disk_with_file(&[1; 900]);
    disk.set_capacity(1_000, 3);
    let free = |disk: &SimDisk| disk.space(Path::new("/d")).unwrap();
    disk.remove(Path::new("/d/f")).unwrap();
    assert_eq!((free(&disk).free_bytes, free(&disk).free_inodes), (100, 1));
    assert_eq!(disk.total_bytes(), 0);
    drop(file);
    assert_eq!((free(&disk).free_bytes, free(&disk).free_inodes), (1_000, 2));
    assert_eq!(free(&disk).total_bytes, 1_000);
}

#[test]
fn a_disk_without_inodes_makes_no_file() {
    let (disk, _file) = disk_with_file(b"x");
    disk.set_capacity(1_000, 3);
    open(&disk, "/d/g", Open::Create);
    open(&disk, "/d/g", Open::Create);
    assert_eq!(errno_of(disk.open(Path::new("/d/h"), Open::Create)), errno::ENOSPC);
    assert_eq!(errno_of(disk.create_dir_all(Path::new("/e"))), errno::ENOSPC);
    disk.remove(Path::new("/d/g")).unwrap();
    open(&disk, "/d/h", Open::Create);
}

#[test]
fn a_planted_file_is_durable_at_once_whatever_was_unsynced() {
    let disk = disk_with_dir();
    for path in ["/d/a", "/d/b"] {
        open(&disk, path, Open::Create).write_all_at(b"x", 0).unwrap();
    }
    disk.rename(Path::new("/d/a"), Path::new("/d/f")).unwrap();
    disk.remove(Path::new("/d/f")).unwrap();
    disk.write_file("/d/f", b"planted").unwrap();
    disk.write_file("/new/dir/g", b"deep").unwrap();
    assert_eq!(contents(&disk, &EACH_NAME, 200), [b"planted".to_vec()].into());
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    assert_eq!(image.read_file("/new/dir/g").unwrap(), b"deep");
    disk.write_file("/d/f", b"again").unwrap();
    assert_eq!(contents(&disk, &CrashStyle::WORST, 50), [b"again".to_vec()].into());
}

#[test]
fn a_flipped_bit_is_on_the_medium_too() {
    let (disk, file) = disk_with_file(b"abc");
    file.write_all_at(b"def", 3).unwrap();
    disk.flip_bit("/d/f", 1, 0b11).unwrap();
    assert_eq!(disk.read_file("/d/f").unwrap(), b"aacdef");
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1), [b"aac".to_vec()].into());
    assert_eq!(errno_of(disk.flip_bit("/d/f", 6, 1)), errno::EINVAL);
}

#[test]
fn exports_to_a_real_directory_and_imports_again() {
    let dir = std::env::temp_dir().join(format!("backhaul-testkit-{}", std::process::id()));
    let (disk, file) = disk_with_file(b"abc");
    file.write_all_at(b"unflushed", 9_000).unwrap();
    disk.write_file("/d/deep/er/g", b"").unwrap();
    disk.export_to(&dir).unwrap();
    let copy = SimDisk::new();
    copy.import_from(&dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(copy.paths(), disk.paths());
    assert_eq!(copy.read_file("/d/f").unwrap(), disk.read_file("/d/f").unwrap());
    assert_eq!(copy.unflushed_ops(), 0);
}

#[test]
fn serves_many_threads_through_one_handle() {
    let (disk, file) = disk_with_file(&[]);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (disk, file) = (&disk, &file);
            scope.spawn(move || {
                for block in 0..100 {
                    let at = (block * 4 + u64::from(thread)) * 100;
                    file.write_all_at(&[thread; 100], at).unwrap();
                    file.flush().unwrap();
                    disk.snapshot();
                }
            });
        }
    });
    assert_eq!(disk.unflushed_ops(), 0);
    assert_eq!(disk.flush_count(), 401);
    assert_eq!(contents(&disk, &CrashStyle::DROP_ALL, 1).first().unwrap().len(), 40_000);
}

#[test]
fn ten_thousand_images_of_a_two_megabyte_disk_are_quick() {
    let mut prng = Prng::new(3);
    let disk = disk_with_dir();
    for file in 0..20 {
        disk.write_file(format!("/d/{file}"), &prng.bytes(100_000)).unwrap();
    }
    let images = Arc::new(AtomicU64::new(0));
    let (count, mut draws) = (Arc::clone(&images), prng.fork());
    disk.on_flush(Box::new(move |snapshot| {
        for _ in 0..20 {
            let style = CrashStyle::random(&mut draws);
            let image = snapshot.crash_image(&mut draws, &style);
            count.fetch_add(u64::from(image.total_bytes() >= 2_000_000), Ordering::Relaxed);
        }
    }));
    let file = open(&disk, "/d/19", Open::Write);
    for round in 0..500 {
        for part in 0..4 {
            file.write_all_at(&prng.bytes(1_000), 100_000 + round * 4_000 + part * 1_000).unwrap();
        }
        file.flush().unwrap();
    }
    assert_eq!(images.load(Ordering::Relaxed), 10_000);
}
