//! Ledgers of any bytes, and of lines with right checksums: the spool opens, or says
//! that it cannot; the records are all there.
#![no_main]

use std::sync::OnceLock;

use backhaul_fuzz::{DIR, numbered, open, read_all, use_up};
use backhaul_store::{ErrorKind, Layout, Limits, Settled, State};
use backhaul_testkit::SimDisk;
use libfuzzer_sys::fuzz_target;

/// A spool with ten records, of which some are settled; its files.
fn base() -> &'static Vec<(std::path::PathBuf, Vec<u8>)> {
    static BASE: OnceLock<Vec<(std::path::PathBuf, Vec<u8>)>> = OnceLock::new();
    BASE.get_or_init(|| {
        let disk = SimDisk::new();
        let spool = open(&disk, Layout::Segments).unwrap();
        for number in 1..=10 {
            spool.append(numbered(number, 50)).unwrap();
        }
        let batch = spool
            .take(&Limits { records: 4, bytes: 10_000, ..Limits::default() })
            .unwrap()
            .unwrap();
        let states = [State::Delivered, State::Rejected, State::Later, State::Dropped];
        let settled: Vec<_> = batch
            .records
            .iter()
            .zip(states)
            .map(|(offer, state)| (offer.record.id.position, Settled::new(state).reason("why")))
            .collect();
        spool.settle(&settled).unwrap();
        drop(batch);
        drop(spool);
        disk.paths()
            .into_iter()
            .map(|path| (path.clone(), disk.read_file(&path).unwrap()))
            .collect()
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let disk = SimDisk::new();
    let mut ledger = None;
    for (path, bytes) in base() {
        disk.write_file(path, bytes).unwrap();
        if path.to_string_lossy().contains("/ledger-") {
            ledger = Some((path, bytes));
        }
    }
    let (path, sound) = ledger.unwrap();
    let has_right_checksums = mode & 1 == 1;
    let lines: Vec<u8> = if has_right_checksums {
        rest.split(|&byte| byte == b'\n').flat_map(with_checksum).collect()
    } else {
        rest.to_vec()
    };
    let bytes = match mode & 6 {
        0 => lines,
        2 => [sound.as_slice(), &lines].concat(),
        _ => {
            // Written over a part of a sound one.
            let mut bytes = sound.clone();
            let at = lines.first().map_or(0, |&first| usize::from(first) * 4) % bytes.len();
            let len = lines.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&lines[..len]);
            bytes
        }
    };
    let path = if mode & 8 == 0 {
        path.clone()
    } else {
        format!("{DIR}/state/ledger-999999.jsonl").into()
    };
    disk.write_file(&path, &bytes).unwrap();
    match open(&disk, Layout::Segments) {
        Ok(spool) => {
            assert_eq!(read_all(&spool).len(), 10, "records are lost");
            let books = spool.status().unwrap().books;
            assert!(has_right_checksums || books.balance(), "{books:?}");
            use_up(&spool);
            let _ = spool.append(numbered(11, 5));
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
});

fn with_checksum(line: &[u8]) -> Vec<u8> {
    let crc = crc32fast::hash(line);
    [line, format!(",\"crc\":\"{crc:08x}\"}}\n").as_bytes()].concat()
}
