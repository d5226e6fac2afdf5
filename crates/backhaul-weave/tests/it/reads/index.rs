//! The index: that it is what one made anew would be, and that nothing depends on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backhaul_store::OsDisk;
use backhaul_testkit::ManualClock;
use backhaul_weave::{Calls, CallsQuery, Kind, OfflineTraceServer, Reads};
use redb::{ReadableDatabase as _, ReadableTable as _};
use serde_json::{Value, json};

use super::dice::Dice;
use super::logged::{self, Known, PROJECT, Step, project};
use super::queries;
use crate::offline::support::{deliver, options};

fn open(dir: &Path, clock: &ManualClock) -> OfflineTraceServer {
    OfflineTraceServer::open_on(dir, options(), Arc::new(OsDisk), Arc::new(clock.clone())).unwrap()
}

fn index_of(dir: &Path) -> PathBuf {
    dir.join(".backhaul/index").join(PROJECT).join("index.redb")
}

/// A copy of the folder that has no index.
fn without_index(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut left = vec![dir.to_owned()];
    while let Some(folder) = left.pop() {
        let to = copy.path().join(folder.strip_prefix(dir).unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let is_index = entry.file_name() == "index" && folder.ends_with(".backhaul");
            match entry.file_type().unwrap().is_dir() {
                true if is_index => {}
                true => left.push(entry.path()),
                false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            }
        }
    }
    copy
}

fn all_of(calls: Calls) -> Value {
    calls.collect::<Result<Vec<_>, _>>().unwrap().into()
}

/// All that can be asked of a folder, as far as the index has a say in it.
fn answers(reads: &Reads, known: &[Known]) -> Vec<Value> {
    let of_project = json!({"project_id": PROJECT, "include_tags_and_aliases": true});
    let mut answers = vec![
        all_of(reads.calls(&project(), &CallsQuery::default()).unwrap()),
        reads.feedback_query(&of_project).unwrap(),
        reads.objs_query(&of_project).unwrap(),
    ];
    let mut dice = Dice::new(5);
    for _ in 0..25 {
        let query = json!({"project_id": PROJECT, "filter": queries::filter(known, &mut dice)});
        answers.push(all_of(reads.calls_stream_query(&query).unwrap()));
        answers.push(reads.calls_query_stats(&query).unwrap());
    }
    answers
}

#[track_caller]
fn is_as_if_made_anew(reads: &Reads, dir: &Path, known: &[Known]) -> usize {
    let copy = without_index(dir);
    let anew = answers(&Reads::of_folder(copy.path()), known);
    let followed = answers(reads, known);
    for (number, (one, other)) in followed.iter().zip(&anew).enumerate() {
        assert_eq!(one, other, "answer {number}");
    }
    anew[0].as_array().unwrap().len()
}

fn object(server: &OfflineTraceServer, name: usize, value: usize) {
    let object = json!({"object_id": format!("object{name}"), "val": {"n": value}});
    server.create_object(&project(), &object).unwrap();
}

/// The first delivers all of a kind, and cleans, as soon as the second lets go of what it has
/// open: when it is maintained, and knows that another wants to deliver.
fn deliver_and_clean([first, second]: &[OfflineTraceServer; 2], kind: Kind) -> u64 {
    let _wants = first.clean_synced_files(Duration::ZERO);
    for spool in Kind::ALL.iter().filter_map(|kind| second.spool(&project(), *kind).unwrap()) {
        spool.maintain().unwrap();
    }
    deliver(first, &project(), kind);
    first.clean_synced_files(Duration::ZERO).unwrap().records
}

#[test]
fn an_index_that_followed_is_as_one_made_anew_through_restarts_cleaning_and_two_writers() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, clock) = (folder.path(), ManualClock::new());
    let mut dice = Dice::new(11);
    let (mut steps, known) = logged::calls(240, &mut dice);
    steps.extend(logged::feedback(&known, &mut dice));
    let mut servers = [open(dir, &clock), open(dir, &clock)];
    let mut reads = Reads::of_folder(dir);
    let (mut cleaned, mut sizes) = (0, Vec::new());
    for chunk in steps.chunks(24) {
        for step in chunk {
            clock.advance(Duration::from_millis(3));
            let server = dice.below(2);
            logged::log(&servers[server], std::slice::from_ref(step));
            if dice.once_in(5) {
                object(&servers[server], dice.below(3), dice.below(4));
            }
        }
        match dice.below(4) {
            // As after a kill: what was acknowledged is there.
            0 => {
                let server = dice.below(2);
                servers[server] = open(dir, &clock);
            }
            1 => drop(is_as_if_made_anew(&Reads::of_server(&servers[dice.below(2)]), dir, &known)),
            2 => {
                let kind = dice.of(&[Kind::Calls, Kind::Calls, Kind::Feedback, Kind::Objects]);
                cleaned += deliver_and_clean(&servers, kind);
            }
            _ => reads = Reads::of_folder(dir),
        }
        sizes.push(is_as_if_made_anew(&reads, dir, &known));
    }
    // Some went away, some stayed.
    assert!(cleaned > 100 && sizes.iter().max().unwrap() > &40, "{cleaned} {sizes:?}");
    assert!(sizes.windows(2).any(|pair| pair[1] < pair[0]), "{sizes:?}");
}

/// A folder with calls, feedback and objects, and what is read of it.
fn filled(dir: &Path) -> (Vec<Known>, Vec<Value>) {
    let mut dice = Dice::new(3);
    let (mut steps, known) = logged::calls(60, &mut dice);
    steps.extend(logged::feedback(&known, &mut dice));
    let server = open(dir, &ManualClock::new());
    logged::log(&server, &steps);
    (0..6).for_each(|n| object(&server, n % 2, n));
    drop(server);
    let answers = answers(&Reads::of_folder(dir), &known);
    assert!(answers[0].as_array().unwrap().len() > 30);
    (known, answers)
}

#[test]
fn a_damaged_index_is_made_anew_and_nothing_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (known, expected) = filled(folder.path());
    let path = index_of(folder.path());
    let sound = std::fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"no database".to_vec(),
        vec![0; sound.len()],
        vec![0xff; sound.len()],
        sound[..sound.len() / 2].to_vec(),
    ];
    for at in (0..sound.len()).step_by(sound.len() / 40) {
        let mut bytes = sound.clone();
        let end = (at + 700).min(sound.len());
        bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        damaged.push(bytes);
    }
    for (number, bytes) in damaged.iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let found = answers(&Reads::of_folder(folder.path()), &known);
        assert_eq!(found, expected, "damage {number}");
    }
    // One that is open is not found damaged, but it may be removed.
    let reads = Reads::of_folder(folder.path());
    assert_eq!(answers(&reads, &known), expected);
    std::fs::remove_dir_all(folder.path().join(".backhaul/index")).unwrap();
    assert_eq!(answers(&reads, &known), expected);
    assert_eq!(answers(&Reads::of_folder(folder.path()), &known), expected);
}

/// Changes a sound index.
fn tamper(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let transaction = redb::Database::create(path).unwrap().begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn an_index_of_another_format_is_made_anew() {
    const ABOUT: redb::TableDefinition<'_, &str, &str> = redb::TableDefinition::new("about");
    let folder = tempfile::tempdir().unwrap();
    let (known, expected) = filled(folder.path());
    let path = index_of(folder.path());
    for format in ["1", "999", ""] {
        tamper(&path, |transaction| {
            transaction.open_table(ABOUT).unwrap().insert("format", format).unwrap();
        });
        assert_eq!(answers(&Reads::of_folder(folder.path()), &known), expected);
        let database = redb::Database::create(&path).unwrap();
        let about = database.begin_read().unwrap().open_table(ABOUT).unwrap();
        assert_ne!(about.get("format").unwrap().unwrap().value(), format);
    }
}

/// Where its pages are sound: that shows when a call is read.
#[test]
fn an_index_that_takes_one_call_for_another_is_made_anew() {
    const IDS: redb::TableDefinition<'_, &str, u32> = redb::TableDefinition::new("ids");
    const CALLS: redb::TableDefinition<'_, u32, Row> = redb::TableDefinition::new("calls");
    type Name = Option<(i64, u64, &'static str)>;
    type Row = (&'static str, Option<u64>, Option<u64>, i64, Option<i64>, u8, Option<u32>, Name);

    let folder = tempfile::tempdir().unwrap();
    let (known, expected) = filled(folder.path());
    let path = index_of(folder.path());
    let swap_ids: &dyn Fn(&redb::WriteTransaction) = &|transaction| {
        let mut ids = transaction.open_table(IDS).unwrap();
        for (id, number) in [(&known[1].id, 2), (&known[2].id, 1)] {
            ids.insert(id.as_str(), number).unwrap();
        }
    };
    let swap_records: &dyn Fn(&redb::WriteTransaction) = &|transaction| {
        let mut calls = transaction.open_table(CALLS).unwrap();
        let start_of_other = calls.get(2).unwrap().unwrap().value().1;
        let row = calls.get(1).unwrap().unwrap();
        let (id, _, end, started_at, ended_at, marks, parent, _) = row.value();
        let id = id.to_owned();
        drop(row);
        let row = (id.as_str(), start_of_other, end, started_at, ended_at, marks, parent, None);
        calls.insert(1, row).unwrap();
    };
    for swap in [swap_ids, swap_records] {
        tamper(&path, swap);
        let reads = Reads::of_folder(folder.path());
        for one in &known {
            let found = reads.call(&project(), &one.id).unwrap();
            assert!(found.is_none_or(|call| call["id"] == *one.id));
        }
        assert_eq!(answers(&reads, &known), expected);
    }
}

#[test]
fn an_older_index_goes_on_from_where_it_stopped_and_one_of_another_folder_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (known, _) = filled(folder.path());
    let older = std::fs::read(index_of(folder.path())).unwrap();
    let server = open(folder.path(), &ManualClock::new());
    let (steps, _) = logged::calls(90, &mut Dice::new(8));
    logged::log(&server, &steps[60..]);
    drop(server);
    let expected = answers(&Reads::of_folder(folder.path()), &known);
    std::fs::write(index_of(folder.path()), older).unwrap();
    assert_eq!(answers(&Reads::of_folder(folder.path()), &known), expected);

    let other = tempfile::tempdir().unwrap();
    let (_, of_other) = filled(other.path());
    std::fs::copy(index_of(folder.path()), index_of(other.path())).unwrap();
    assert_eq!(answers(&Reads::of_folder(other.path()), &known), of_other);
}

#[test]
fn where_no_index_can_be_written_all_is_answered_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let (known, expected) = filled(folder.path());
    std::fs::remove_dir_all(folder.path().join(".backhaul/index")).unwrap();
    std::fs::write(folder.path().join(".backhaul/index"), b"in the way").unwrap();
    assert_eq!(answers(&Reads::of_folder(folder.path()), &known), expected);
}

/// Three readers with databases of their own, as three processes have them, beside two
/// writers: each finds what was acknowledged before it asked, and no call twice.
#[test]
fn readers_and_writers_do_not_wait_for_each_other_and_see_what_was_acknowledged() {
    const CALLS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (steps, _) = logged::calls(CALLS, &mut Dice::new(21));
    let (starts, _): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| step.entry.1["started_at"].is_string());
    let logged = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let halves: Vec<&[Step]> = starts.chunks(starts.len().div_ceil(2)).collect();
    let open_all = [(); 2].map(|()| open(dir, &ManualClock::new()));
    std::thread::scope(|scope| {
        for ((server, steps), count) in open_all.iter().zip(&halves).zip(&logged) {
            scope.spawn(move || {
                for step in *steps {
                    logged::log(server, std::slice::from_ref(step));
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let reads = Reads::of_folder(dir);
                loop {
                    let before: usize = logged.iter().map(|one| one.load(Ordering::SeqCst)).sum();
                    let found = reads.count_calls(&project(), &CallsQuery::default()).unwrap();
                    assert!((before..=CALLS).contains(&found), "{found} of {before}");
                    if before == CALLS {
                        break;
                    }
                }
            });
        }
    });
    assert_eq!(starts.len(), CALLS);
}

#[test]
fn a_project_that_comes_later_is_found_and_one_that_never_came_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let reads = Reads::of_folder(folder.path());
    let all = json!({"project_id": PROJECT});
    assert_eq!(all_of(reads.calls_stream_query(&all).unwrap()), json!([]));
    assert_eq!(
        reads.call_read(&json!({"project_id": PROJECT, "id": "x"})).unwrap()["call"],
        json!(null)
    );
    assert_eq!(reads.objs_query(&all).unwrap(), json!({"objs": []}));
    assert!(!folder.path().join(".backhaul").exists());
    let (known, expected) = filled(folder.path());
    assert_eq!(answers(&reads, &known), expected);
}

#[test]
fn a_call_is_found_by_the_beginning_of_its_id_and_a_deleted_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (known, _) = filled(folder.path());
    let reads = Reads::of_folder(folder.path());
    let find = |prefix: &str| reads.call_ids(&project(), prefix, 3).unwrap();
    assert_eq!(find(&known[7].id), [known[7].id.clone()]);
    assert_eq!(find(&known[7].id[..20]).len(), 3);
    assert_eq!(find("nobody"), [""; 0]);
    // It was deleted, as `logged::calls` has it.
    assert_eq!(find(&known[3].id), [""; 0]);
    assert_eq!(reads.call(&project(), &known[3].id).unwrap(), None);
}
