//! What records take on disk, while their file is written to and once it is sealed.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use backhaul_weave::{Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer};
use flate2::read::MultiGzDecoder;

use super::calls::{Call, END_LEN, START_LEN};
use super::log::{calls_folder, project};
use crate::engines::folder;

/// As many as the figures of the prototype and of Weave's log were first taken with.
const CALLS: u64 = 10_000;
/// So that the calls fill several files.
const FILE_LEN: u64 = 500_000;

/// What the files of a folder take.
#[derive(Clone, Copy, Default)]
pub struct Taken {
    /// What holds records, and the pages that they fill.
    pub committed: u64,
    /// With the pages that are prepared for more.
    pub len: u64,
}

pub fn bytes_of_files(dir: &Path) -> Taken {
    files(dir).iter().fold(Taken::default(), |taken, path| {
        let file = std::fs::read(path).expect("a file");
        Taken { committed: taken.committed + committed(&file), len: taken.len + file.len() as u64 }
    })
}

/// Bytes of the members of a segment that are no free pages (`docs/format.md`).
fn committed(file: &[u8]) -> u64 {
    const KIND: usize = 17;
    const FREE_PAGE: u8 = 2;
    const LEN: usize = 60;
    let (mut at, mut committed) = (0, 0);
    while let Some(len) = file.get(at + LEN..).and_then(<[u8]>::first_chunk) {
        let len = u32::from_le_bytes(*len);
        if file[at + KIND] != FREE_PAGE {
            committed += u64::from(len);
        }
        at += len as usize;
    }
    committed
}

/// The files of records, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".jsonl.gz"))
        .collect();
    files.sort();
    files
}

pub fn measure() {
    println!("### Bytes on disk per record\n");
    println!("{CALLS} calls: starts of {START_LEN} bytes and ends of {END_LEN}.\n");
    println!("| records at a time | while written to | with what is prepared | once sealed |");
    println!("|---|---|---|---|");
    for at_once in [1, 2, 100, 2000] {
        let active = fill(at_once, OfflineOptions::default(), bytes_of_files);
        let options = OfflineOptions { max_file_size: FILE_LEN, ..OfflineOptions::default() };
        let sealed = fill(at_once, options, sealed_len);
        let records = (CALLS * 2) as f64;
        println!(
            "| {at_once} | {:.0} | {:.0} | {sealed:.0} |",
            active.committed as f64 / records,
            active.len as f64 / records,
        );
    }
}

fn fill<T>(at_once: usize, options: OfflineOptions, look: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir_in(folder()).expect("a folder");
    let server = OfflineTraceServer::open(dir.path(), options).expect("a folder");
    let project = project();
    let entry = |of, data: String| Entry::new(of, data.as_bytes()).expect("an entry");
    let entries: Vec<Entry> = (0..CALLS)
        .map(Call::long)
        .flat_map(|call| {
            [entry(EntryType::CallStart, call.start()), entry(EntryType::CallEnd, call.end())]
        })
        .collect();
    for entries in entries.chunks(at_once) {
        server.log(&project, entries).expect("stored");
    }
    let spool = server.spool(&project, Kind::Calls).expect("readable").expect("made");
    // Closed files are sealed a few at a time.
    for _ in 0..100 {
        spool.maintain().expect("maintained");
    }
    look(&calls_folder(dir.path()))
}

/// Bytes per record of all files but the last, which is written to.
fn sealed_len(dir: &Path) -> f64 {
    let mut files = files(dir);
    files.pop();
    let (mut bytes, mut records) = (0, 0);
    for path in files {
        bytes += path.metadata().expect("a file").len();
        let lines = BufReader::new(MultiGzDecoder::new(File::open(&path).expect("a file"))).lines();
        records += lines.filter(|line| line.as_ref().expect("text").contains("\"type\"")).count();
    }
    bytes as f64 / records as f64
}
