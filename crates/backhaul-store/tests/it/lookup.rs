//! Finding records by a label, without reading the others.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use backhaul_store::{Lane, Limits, Record, Settled, Spool, State};
use backhaul_testkit::{Call, Faults, FaultyDisk, ManualClock, SimDisk};

use crate::support::{LAYOUTS, Layout, open, open_at, options};

fn body(text: &str) -> Vec<u8> {
    serde_json::json!({ "n": text }).to_string().into_bytes()
}

fn labelled(run_id: &str) -> Record {
    Record::new("run", body(run_id)).label("run_id", run_id)
}

/// What the records with the label say, sorted.
fn found(spool: &Spool, label: &str, values: &[&str]) -> Vec<String> {
    let values: BTreeSet<&str> = values.iter().copied().collect();
    let mut found = Vec::new();
    let mut visit = |record: backhaul_store::StoredRecord| {
        assert!(values.contains(&*record.facts.labels[label]));
        let value: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        found.push(value["n"].as_str().unwrap().to_owned());
        ControlFlow::Continue(())
    };
    spool.each_labelled(label, &values, &mut visit).unwrap();
    found.sort();
    found
}

fn ids() -> Vec<String> {
    let mut ids: Vec<String> =
        ["run_001", "", "a/b", "a_b", "..", "~", "%41", "ü\n", "2024-01-15T10:30:00+00:00"]
            .map(str::to_owned)
            .into();
    for last in ["1", "2", "\u{1F600}"] {
        ids.push("x".repeat(50) + last);
        ids.push("/x".repeat(500) + last);
    }
    ids
}

#[test]
fn a_record_is_found_by_its_run_id_however_long_or_hostile() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        for id in ids() {
            spool.append(labelled(&id)).unwrap();
        }
        drop(spool);
        let spool = open(&disk, options(layout)).unwrap();
        for id in ids() {
            assert_eq!(found(&spool, "run_id", &[&id]), std::slice::from_ref(&id), "{layout:?}");
        }
        for other in ["run_002", "run", "A", "X", "a:b"] {
            assert!(found(&spool, "run_id", &[other]).is_empty(), "{layout:?}: {other}");
        }
        let mut all = ids();
        all.sort();
        let wanted: Vec<&str> = all.iter().map(String::as_str).chain(["none"]).collect();
        assert_eq!(found(&spool, "run_id", &wanted), all, "{layout:?}");
        assert!(found(&spool, "run_id", &[]).is_empty());
    }
}

#[test]
fn a_record_is_found_wherever_it_stands_and_as_often_as_it_is_there() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        for state in [None, Some(State::Delivered), Some(State::Rejected), Some(State::Dropped)] {
            spool.append(labelled("a").lane(Lane::High)).unwrap();
            if let Some(state) = state {
                let batch = spool.take(&Limits::default()).unwrap().unwrap();
                let position = batch.records[0].record.id.position;
                spool.settle(&[(position, Settled::new(state).reason("told so"))]).unwrap();
            }
            spool.append(labelled("b")).unwrap();
        }
        let expected = match layout {
            // The files of dropped records are gone.
            Layout::Folder => 3,
            Layout::Segments | Layout::Plain => 4,
        };
        assert_eq!(found(&spool, "run_id", &["a"]).len(), expected, "{layout:?}");
        assert_eq!(found(&spool, "run_id", &["a", "b"]).len(), expected + 4, "{layout:?}");
        let mut visits = 0;
        let stop = &mut |_| {
            visits += 1;
            ControlFlow::Break(())
        };
        spool.each_labelled("run_id", &BTreeSet::from(["a", "b"]), stop).unwrap();
        assert_eq!(visits, 1);
    }
}

#[test]
fn a_kind_in_a_name_is_no_run_id_and_other_labels_are_found_too() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        // The name of this file has `tool` where others have the run id.
        spool.append(Record::new("tool", body("of no run")).label("site", "roof")).unwrap();
        spool.append(labelled("tool").label("site", "cellar")).unwrap();
        spool.append(labelled("roof")).unwrap();
        assert_eq!(found(&spool, "run_id", &["tool"]), ["tool"], "{layout:?}");
        assert_eq!(found(&spool, "site", &["roof"]), ["of no run"], "{layout:?}");
        assert_eq!(found(&spool, "site", &["cellar", "roof"]), ["of no run", "tool"]);
        assert!(found(&spool, "floor", &["roof"]).is_empty(), "{layout:?}");
    }
}

#[test]
fn in_the_folder_layout_only_what_is_found_is_read() {
    let faults = Faults::new();
    let disk = Arc::new(FaultyDisk::new(SimDisk::new(), faults.clone()));
    let spool = open_at(disk, options(Layout::Folder), &ManualClock::new()).unwrap();
    let tickets: Vec<_> = (0..2_000)
        .map(|number| spool.submit(labelled(&format!("run/{number} {}", "x".repeat(100)))).unwrap())
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let id = |number| format!("run/{number} {}", "x".repeat(100));
    let before = faults.calls(Call::Read);
    assert_eq!(found(&spool, "run_id", &[&id(7), &id(1_999), &id(5_000)]).len(), 2);
    // The records and their sidecars.
    assert_eq!(faults.calls(Call::Read) - before, 4);
}

#[test]
fn in_the_segment_layout_one_pass_is_enough_for_all_that_is_wanted() {
    let faults = Faults::new();
    let disk = Arc::new(FaultyDisk::new(SimDisk::new(), faults.clone()));
    let spool = open_at(disk, options(Layout::Segments), &ManualClock::new()).unwrap();
    for number in 0..100 {
        spool.append(labelled(&format!("run_{number}"))).unwrap();
    }
    let reads = |values: &[&str]| {
        let before = faults.calls(Call::Read);
        assert_eq!(found(&spool, "run_id", values).len(), values.len());
        faults.calls(Call::Read) - before
    };
    assert_eq!(reads(&["run_1", "run_50", "run_99"]), reads(&["run_1"]));
}
