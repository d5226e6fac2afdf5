//! Stored lines of any bytes, and bodies of any bytes: no panic, and a body comes
//! back as it was given.
#![no_main]

use backhaul_fuzz::{open, read_all};
use backhaul_store::{Layout, Record, parse_line};
use backhaul_testkit::SimDisk;
use libfuzzer_sys::fuzz_target;

const START: &[u8] = br#"{"_backhaul":{"id":"6ba7b8109dad11d180b400c04fd430c8/0000beef/normal/42","at":"2026-01-01T00:00:00Z","#;

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    match mode % 4 {
        0 => drop(parse_line(rest)),
        1 => drop(parse_line(&[START, rest].concat())),
        2 => come_back(rest, Layout::Segments),
        _ => come_back(rest, Layout::Folder),
    }
});

fn come_back(body: &[u8], layout: Layout) {
    let disk = SimDisk::new();
    let spool = open(&disk, layout).unwrap();
    let (kind, body) = body.split_at(body.len().min(3));
    let kind = String::from_utf8_lossy(kind).into_owned();
    let record = Record::new(kind.clone(), body.to_vec())
        .label("run_id", String::from_utf8_lossy(&body[..body.len().min(50)]))
        .stream(kind.clone());
    match spool.append(record) {
        Ok(id) => {
            drop(spool);
            let spool = open(&disk, layout).unwrap();
            let records = read_all(&spool);
            assert_eq!(records.len(), 1);
            assert_eq!((records[0].id, records[0].body.as_slice()), (id, body));
            assert_eq!(
                (&records[0].facts.kind, records[0].facts.stream.as_deref()),
                (&kind, Some(kind.as_str()))
            );
        }
        // The folder layout takes JSON objects alone.
        Err(error) => assert!(layout == Layout::Folder, "{error}"),
    }
}
