//! `backhaul queue size-for`: how much room an outage takes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backhaul::store::{Options, OsDisk, Record, Spool};
use backhaul_testkit::ManualClock;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::backhaul;

/// A queue to which a record of 1 KB came each minute.
fn filled(data_dir: &Path, records: usize) {
    let clock = ManualClock::new();
    let (dir, disk) = (data_dir.join("offline"), Arc::new(OsDisk));
    let spool = Spool::open_on(dir, Options::default(), disk, Arc::new(clock.clone())).unwrap();
    for number in 0..records {
        clock.advance(Duration::from_secs(60));
        spool.append(Record::new("run", format!("{number:01000}").into_bytes())).unwrap();
    }
}

fn size_for(data_dir: &Path, arguments: &[&str]) -> (i32, Value, String) {
    let all = [&["queue", "size-for", "--json"], arguments].concat();
    let (code, said, error) = backhaul(&all, data_dir);
    (code, serde_json::from_str(&said).unwrap_or_default(), error)
}

#[test]
fn an_outage_takes_as_much_as_the_records_so_far_say() {
    let dir = tempdir().unwrap();
    filled(dir.path(), 121);
    let (code, need, error) = size_for(dir.path(), &["--offline-hours", "24"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!((&need["seen_records"], &need["spool"]), (&121.into(), &"offline".into()));
    let per_hour = need["records_per_hour"].as_f64().unwrap();
    assert!((59.9..60.1).contains(&per_hour), "{need}");
    let bytes = need["bytes_per_record"].as_u64().unwrap();
    assert!((1_000..20_000).contains(&bytes), "{need}");
    let needed = need["needed_bytes"].as_f64().unwrap();
    assert!((needed / (24.0 * per_hour * bytes as f64) - 1.0).abs() < 0.01, "{need}");
}

#[test]
fn a_cap_that_is_too_small_is_told_by_the_exit_code() {
    let dir = tempdir().unwrap();
    filled(dir.path(), 121);
    let asked = ["queue", "size-for", "--offline-hours", "720"];
    let (code, said, error) = backhaul(&asked, dir.path());
    assert_eq!(code, 1, "{said}{error}");
    assert!(said.starts_with("offline: 720 hours take "), "{said}");
    assert!(said.contains("ENOUGH ONLY for "), "{said}");
}

#[test]
fn where_nothing_was_seen_the_figures_are_asked_for() {
    let dir = tempdir().unwrap();
    filled(dir.path(), 1);
    let (code, _, error) = size_for(dir.path(), &["--offline-hours", "24"]);
    assert_eq!(code, 2);
    assert!(error.contains("name --per-hour and --record-bytes"), "{error}");
    let named = ["--offline-hours", "10", "--per-hour", "100", "--record-bytes", "4KB"];
    let (code, need, error) = size_for(dir.path(), &named);
    assert_eq!((code, &need["needed_bytes"]), (0, &4_000_000.into()), "{error}");
    let (code, _, error) = size_for(dir.path(), &["--offline-hours", "0"]);
    assert_eq!(code, 2);
    assert!(error.contains("expected a number above 0"), "{error}");
}
