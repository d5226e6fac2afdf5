//! Whatever lies in its folder, a spool opens, and delivers every record that is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use backhaul_store::{Options, OsDisk, Spool};
use backhaul_testkit::Prng;

use crate::support::{LAYOUTS, Layout, deliver_all, is_segment, numbered, options};

/// Folders in the ordinary test run; `BACKHAUL_FOLDERS` asks for more.
const FOLDERS: u64 = 240;

fn at(dir: &Path, options: Options) -> backhaul_store::Result<Spool> {
    let clock = std::sync::Arc::new(backhaul_testkit::ManualClock::new());
    Spool::open_on(dir, options, std::sync::Arc::new(OsDisk), clock)
}

/// A spool at rest. How many records are in it.
fn spool(dir: &Path, layout: Layout) -> u64 {
    let spool = at(dir, options(layout)).unwrap();
    for number in 0..60 {
        spool.append(numbered(number, 200)).unwrap();
    }
    spool.maintain().unwrap();
    60
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Whether records stand in a file.
fn holds_records(path: &Path) -> bool {
    is_segment(path) || path.to_string_lossy().contains("/pending/")
}

/// Does something to the folder. The file with records that it was done to, if it was one.
fn meddle(dir: &Path, random: &mut Prng) -> Option<PathBuf> {
    let files = files(dir);
    let victim = random.pick(&files).clone();
    let len = random.index(9_000);
    let garbage: Vec<u8> = (0..len).flat_map(|_| u8::try_from(random.below(256))).collect();
    let near = |name: &str| victim.parent().unwrap().join(name);
    match random.below(13) {
        0 => fs::remove_file(&victim).unwrap(),
        1 => fs::write(&victim, &garbage).unwrap(),
        2 => fs::write(&victim, b"").unwrap(),
        3 => {
            let bytes = fs::read(&victim).unwrap();
            fs::write(&victim, &bytes[..random.index(bytes.len() + 1)]).unwrap();
        }
        4 => {
            fs::remove_file(&victim).unwrap();
            fs::create_dir(&victim).unwrap();
        }
        5 => {
            fs::remove_file(&victim).unwrap();
            symlink("/nowhere", &victim).unwrap();
        }
        6 => {
            let mut bytes = fs::read(&victim).unwrap();
            bytes.extend(&garbage);
            fs::write(&victim, bytes).unwrap();
        }
        11 => {
            let folder = dir.join(random.pick(&["synced", "failed", "quarantine", "running"]));
            let _ = fs::remove_dir_all(&folder);
            fs::write(folder, &garbage).unwrap();
            return None;
        }
        // What stands beside is nobody's loss.
        7 => {
            fs::write(near("foreign.json"), &garbage).unwrap();
            return None;
        }
        8 => {
            fs::write(near("20260101_0099.jsonl.gz"), &garbage).unwrap();
            return None;
        }
        9 => {
            fs::create_dir_all(near("20260101_0098.jsonl")).unwrap();
            return None;
        }
        10 => {
            let _ = symlink(dir, near("loop"));
            return None;
        }
        _ => {
            fs::write(near("half-made.tmp"), &garbage).unwrap();
            return None;
        }
    }
    Some(victim).filter(|path| holds_records(path))
}

/// How many records stand in a file.
fn records_in(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let mut text = Vec::new();
    if path.extension().is_some_and(|it| it == "gz") {
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut text).unwrap();
    } else {
        text = bytes;
    }
    text.windows(4).filter(|it| it == b"\"n\":").count() as u64
}

#[test]
fn any_content_of_the_folder_leads_to_a_spool_that_delivers_what_is_whole() {
    let folders = std::env::var("BACKHAUL_FOLDERS").map_or(FOLDERS, |text| text.parse().unwrap());
    for layout in LAYOUTS {
        for seed in 0..folders / 3 {
            let dir = tempfile::tempdir().unwrap();
            let written = spool(dir.path(), layout);
            let mut random = Prng::new(seed);
            let counts: BTreeMap<PathBuf, u64> = files(dir.path())
                .into_iter()
                .filter(|path| holds_records(path))
                .map(|path| (path.clone(), records_in(&path)))
                .collect();
            assert_eq!(counts.values().sum::<u64>(), written);
            let mut hit = BTreeSet::new();
            for _ in 0..1 + random.below(4) {
                hit.extend(meddle(dir.path(), &mut random));
            }
            let most: u64 = hit.iter().filter_map(|path| counts.get(path)).sum();
            let spool = at(dir.path(), options(layout))
                .unwrap_or_else(|error| panic!("{layout:?} {seed}: {error}"));
            let delivered: BTreeSet<u64> = deliver_all(&spool).into_iter().collect();
            let lost = written - delivered.len() as u64;
            assert!(lost <= most, "{layout:?} {seed}: {lost} of {most} lost, {hit:?}");
            spool.append(numbered(1_000, 10)).unwrap();
            assert_eq!(deliver_all(&spool), [1_000], "{layout:?} {seed}");
            assert!(spool.books().unwrap().balance(), "{layout:?} {seed}");
        }
    }
}
