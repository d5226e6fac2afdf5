//! Stored bytes of each released format: folders written once by a real run are
//! read for ever, to the last field. And what is not of a known format is refused by
//! name, and left as it is.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{
    ErrorKind, Lane, Limits, Options, OsDisk, Record, Settled, Spool, State, Timestamp,
};
use backhaul_testkit::ManualClock;
use serde_json::{Value, json};

use crate::members::{
    HEADER_LEN, Kind, Member, PAGE, PLAIN_HEADER_LEN, bend_header, from_blanks, members,
    segment_files, to_blanks,
};
use crate::support::{FORMS, LAYOUTS, Layout, is_of_form, numbered, options};

fn stored(layout: Layout) -> PathBuf {
    let name = match layout {
        Layout::Folder => "folder",
        Layout::Segments => "segments",
        Layout::Plain => "plain",
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1").join(name)
}

fn settings(layout: Layout) -> Options {
    Options {
        segment_bytes: 16 << 10,
        first_extent_bytes: 12 << 10,
        machine: Some("the machine of the fixtures".to_owned()),
        ..options(layout)
    }
}

fn open(folder: &Path, layout: Layout, clock: &ManualClock) -> Spool {
    try_open(folder, layout, clock).unwrap()
}

fn try_open(folder: &Path, layout: Layout, clock: &ManualClock) -> backhaul_store::Result<Spool> {
    Spool::open_on(folder, settings(layout), Arc::new(OsDisk), Arc::new(clock.clone()))
}

// --- Writing (once) ------------------------------------------------------------

/// NOT A TEST. `BACKHAUL_WRITE_FIXTURES=1 cargo test -p backhaul-store fixtures::write`
/// writes the folders anew, for a format that was never released. A released format's
/// folders are never written again. Without the variable nothing is done or proved.
#[test]
fn write() {
    if std::env::var("BACKHAUL_WRITE_FIXTURES").is_err() {
        return;
    }
    for layout in LAYOUTS.into_iter().filter(|layout| !stored(*layout).exists()) {
        let folder = stored(layout);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let clock = ManualClock::new();
        let spool = open(&folder, layout, &clock);
        fill(&spool, layout, &clock);
        drop(spool);
        let expected = describe(&folder, layout);
        let text = serde_json::to_string_pretty(&expected).unwrap();
        std::fs::write(folder.with_extension("json"), text + "\n").unwrap();
    }
}

/// Something of everything that the format has.
fn fill(spool: &Spool, layout: Layout, clock: &ManualClock) {
    let attachment = spool.attach(b"the bytes of an attachment").unwrap();
    spool
        .append(
            Record::new("call", br#"{"n": 1, "nested": {"a": [1.50, null, "\u00e9"]}}"#.to_vec())
                .stream("agent-7")
                .collapse_key("agent-7/state")
                .expires_after(Duration::from_secs(86_400))
                .label("run_id", "run 001/ä")
                .label("second", "label")
                .attachment(attachment.digest()),
        )
        .unwrap();
    if layout != Layout::Folder {
        // Bodies that are no JSON object.
        spool
            .append(Record::new("log", b"two\nlines".to_vec()).content_type("text/plain"))
            .unwrap();
        let bytes = vec![0xff, 0x00, 0x80];
        spool.append(Record::new("image", bytes).content_type("image/x")).unwrap();
    } else {
        spool.append(Record::new("run", br#"{"x": NaN}"#.to_vec()).label("run_id", "nan")).unwrap();
        spool.append(Record::new("run", b"{}".to_vec()).label("run_id", "empty")).unwrap();
    }
    for number in 4..=15 {
        clock.advance(Duration::from_millis(1_500));
        let len = [10, 200, 4_000][usize::try_from(number % 3).unwrap()];
        let lane = [Lane::Normal, Lane::Critical, Lane::Bulk][usize::try_from(number % 3).unwrap()];
        spool.append(numbered(number, len).lane(lane)).unwrap();
    }
    let tickets: Vec<_> = (16..=23).map(|n| spool.submit(numbered(n, 600)).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    let batch = loop {
        // The urgent lane first, delivered whole.
        let batch = spool
            .take(&Limits { records: 10, bytes: 1 << 20, ..Limits::default() })
            .unwrap()
            .unwrap();
        if batch.chain.lane == Lane::Normal {
            break batch;
        }
        let delivered = |offer: &backhaul_store::Offer| {
            (offer.record.id.position, Settled::new(State::Delivered))
        };
        spool.settle(&batch.records.iter().map(delivered).collect::<Vec<_>>()).unwrap();
    };
    let later = Timestamp::parse("2026-01-01T06:00:00Z").unwrap();
    let verdicts = [
        Settled::new(State::Delivered),
        Settled::new(State::Duplicate).status(409),
        Settled::new(State::Rejected).reason("422: no run_id").status(422),
        Settled::new(State::Later).reason("503").not_before(later).spends_retry(),
        Settled::new(State::Held).reason("by an operator"),
        Settled::new(State::Dropped).reason("by an operator"),
    ];
    let settled: Vec<_> = batch
        .records
        .iter()
        .zip(verdicts)
        .map(|(offer, settled)| (offer.record.id.position, settled))
        .collect();
    assert_eq!(settled.len(), 6, "the batch is too short for all verdicts");
    spool.settle(&settled).unwrap();
    drop(batch);
    clock.advance(Duration::from_secs(60));
    spool.maintain().unwrap();
    clock.advance(Duration::from_secs(60));
    spool.maintain().unwrap();
    spool.append(numbered(24, 40)).unwrap();
}

// --- Reading ---------------------------------------------------------------------

/// A copy that may be opened for writing.
fn copy_of(layout: Layout) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_into(&stored(layout), copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below a folder with their bytes.
fn files_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything that the store reads in a folder, to the last field.
fn describe(folder: &Path, layout: Layout) -> Value {
    let copy = tempfile::tempdir().unwrap();
    copy_into(folder, copy.path());
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(3_600));
    let spool = open(copy.path(), layout, &clock);
    let mut places = Vec::new();
    spool
        .each(None, &mut |entry| {
            places.push(entry);
            ControlFlow::Continue(())
        })
        .unwrap();
    let records: Vec<Value> = places
        .into_iter()
        .map(|entry| {
            let (_, record) = spool.get(entry.id.position).unwrap();
            assert_eq!((record.id, &record.facts), (entry.id, &entry.facts));
            json!({
                "id": record.id.to_string(),
                "standing": entry.standing.name(),
                "attempts": entry.attempts,
                "last_error": entry.last_error,
                "facts": record.facts,
                "at": record.stamp.wall.to_string(),
                "boot": record.stamp.boot_id,
                "mono_us": u64::try_from(record.stamp.since_boot.as_micros()).unwrap(),
                "flush": record.stamp.flush,
                "body": hex(&record.body),
            })
        })
        .collect();
    let status = spool.status().unwrap();
    let ends: BTreeMap<String, u64> =
        spool.ends().unwrap().into_iter().map(|(chain, end)| (chain.to_string(), end.0)).collect();
    // What would be sent next, and not what waits or is held.
    let mut offered = Vec::new();
    while let Some(batch) = spool.take(&Limits::default()).unwrap() {
        for offer in &batch.records {
            offered.push(format!("{} after {}", offer.record.id.position, offer.attempts));
            spool.settle(&[(offer.record.id.position, Settled::new(State::Delivered))]).unwrap();
        }
    }
    json!({
        "device": spool.device().to_string(),
        "layout": spool.layout(),
        "books": status.books,
        "lanes": status.lanes.iter().map(|(lane, books)| (lane.name(), books)).collect::<BTreeMap<_, _>>(),
        "damaged_ledger_lines": status.damaged_ledger_lines,
        "quarantined": status.quarantined,
        "ends": ends,
        "attachment": hex(&spool.attachment(&attachment_in(folder)).unwrap()),
        "offered": offered,
        "records": records,
    })
}

fn attachment_in(folder: &Path) -> String {
    let files = files_in(&folder.join("attachments"));
    files.keys().next().unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_stored_folder_of_format_1_reads_to_the_last_field() {
    for layout in LAYOUTS {
        let text = std::fs::read_to_string(stored(layout).with_extension("json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        // Through text, so that numbers compare as they are written.
        let found = serde_json::to_string(&describe(&stored(layout), layout)).unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found, expected, "{layout:?}");
        assert!(expected["records"].as_array().unwrap().len() >= 19, "{layout:?}");
    }
}

#[test]
fn the_stored_folders_have_something_of_everything() {
    for (form, suffix) in FORMS.into_iter().zip([".synced.jsonl.gz", ".synced.jsonl"]) {
        let files = segment_files(&stored(form));
        let kinds: Vec<Vec<Kind>> = files
            .iter()
            .map(|path| members(&std::fs::read(path).unwrap()).iter().map(|m| m.kind).collect())
            .collect();
        assert!(kinds.iter().any(|kinds| kinds.contains(&Kind::Index)), "no sealed segment");
        assert!(kinds.iter().any(|kinds| kinds.contains(&Kind::Filler)), "no active segment");
        assert!(files.iter().any(|path| path.to_string_lossy().ends_with(suffix)));
        assert!(files.iter().all(|path| is_of_form(path, form)));
    }
    let folder = stored(Layout::Folder);
    for place in ["pending", "synced", "failed", "meta"] {
        assert!(!files_in(&folder.join(place)).is_empty(), "{place} is empty");
    }
    let reasons = files_in(&folder.join("failed"));
    let reason = reasons.iter().find(|(path, _)| path.to_string_lossy().ends_with(".reason"));
    assert_eq!(reason.unwrap().1, b"422: no run_id");
}

#[test]
fn reading_alone_changes_nothing() {
    for layout in LAYOUTS {
        let copy = copy_of(layout);
        let before = files_in(copy.path());
        let spool = Spool::open_read_only(copy.path()).unwrap();
        assert!(spool.status().unwrap().books.balance());
        spool.each(None, &mut |_| ControlFlow::Continue(())).unwrap();
        drop(spool);
        assert_eq!(files_in(copy.path()), before, "{layout:?}");
    }
}

// --- The bytes, made again by a stranger who has read `docs/format.md` ---------------

/// Every member is what its header's fields say that it has to be.
#[test]
fn members_encode_to_the_same_bytes_again() {
    let (mut empty, mut stored_block, mut deflated) = (0, 0, 0);
    for path in segment_files(&stored(Layout::Segments)) {
        let file = std::fs::read(&path).unwrap();
        let found = members(&file);
        assert_eq!(found.iter().map(|member| member.len).sum::<usize>(), file.len());
        for member in found {
            let bytes = &file[member.offset..member.offset + member.len];
            let extra = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
            let content = {
                let mut content = Vec::new();
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
                content
            };
            let mut again = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
            again.extend(u16::try_from(extra).unwrap().to_le_bytes());
            again.extend(b"BH");
            again.extend(u16::try_from(extra - 4).unwrap().to_le_bytes());
            // The fields, from the version to the content's length, then what follows
            // from the rest.
            again.extend(&bytes[16..56]);
            let note_len = usize::try_from(u32_at(bytes, 56)).unwrap();
            let (len, crc) = match member.kind {
                Kind::Data => (content.len(), crc32fast::hash(&content)),
                _ => (note_len, crc32fast::hash(&bytes[HEADER_LEN..HEADER_LEN + note_len])),
            };
            again.extend(u32::try_from(len).unwrap().to_le_bytes());
            again.extend(u32::try_from(member.len).unwrap().to_le_bytes());
            again.extend(crc.to_le_bytes());
            again.extend(crc32fast::hash(&again).to_le_bytes());
            if member.kind != Kind::Data {
                again.extend(&bytes[HEADER_LEN..HEADER_LEN + note_len]);
            }
            again.resize(12 + extra, 0);
            let body = &bytes[12 + extra..bytes.len() - 8];
            match body[0] {
                3 => {
                    assert_eq!(body, [3, 0]);
                    empty += 1;
                }
                1 => {
                    let len = u16::try_from(content.len()).unwrap();
                    assert_eq!(body[1..5], [len.to_le_bytes(), (!len).to_le_bytes()].concat());
                    assert_eq!(&body[5..], content);
                    stored_block += 1;
                }
                _ => deflated += 1,
            }
            again.extend(body);
            again.extend(crc32fast::hash(&content).to_le_bytes());
            again.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
            assert_eq!(again, bytes, "{} at {}", path.display(), member.offset);
        }
    }
    assert!(empty > 3 && stored_block > 0 && deflated > 0, "{empty} {stored_block} {deflated}");
}

/// The same of plain files: a header's blanks, the padding, the note's blanks or the lines.
#[test]
fn plain_members_encode_to_the_same_bytes_again() {
    let (mut lines, mut blank) = (0, 0);
    for path in segment_files(&stored(Layout::Plain)) {
        let file = std::fs::read(&path).unwrap();
        let found = members(&file);
        assert_eq!(found.iter().map(|member| member.len).sum::<usize>(), file.len());
        for Member { kind, offset, len, header } in found {
            let bytes = &file[offset..offset + len];
            let content_len = usize::try_from(u32_at(&header, 56)).unwrap();
            let content = match kind {
                Kind::Data => bytes[len - content_len..].to_vec(),
                _ => from_blanks(&bytes[PLAIN_HEADER_LEN..][..content_len * 8]).unwrap(),
            };
            let mut fields = [b"BH", &header[16..60]].concat();
            assert_eq!(fields[22 + 1], 1, "the codec of plain members");
            fields.extend(u32::try_from(len).unwrap().to_le_bytes());
            fields.extend(crc32fast::hash(&content).to_le_bytes());
            fields.extend(crc32fast::hash(&fields).to_le_bytes());
            let mut again = [to_blanks(&fields), b"\n".to_vec()].concat();
            let is_data = kind == Kind::Data;
            let (before, after) =
                if is_data { (vec![], content.clone()) } else { (to_blanks(&content), vec![]) };
            again.extend(before);
            let padding = len - again.len() - after.len();
            if padding > 0 {
                again.extend(vec![b' '; padding - 1]);
                again.push(b'\n');
            }
            again.extend(after);
            assert!(again == bytes, "{} at {offset}", path.display());
            lines += content.iter().filter(|&&byte| is_data && byte == b'\n').count();
            blank += usize::from(!is_data);
        }
    }
    assert!(lines > 15 && blank > 10, "{lines} {blank}");
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn ledger_lines_encode_to_the_same_bytes_again() {
    for layout in LAYOUTS {
        let mut lines = 0;
        for (_, bytes) in ledgers_in(&stored(layout)) {
            let text = String::from_utf8(bytes).unwrap();
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let mut value: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
                let crc = value.remove("crc").unwrap();
                let mut content = serde_json::to_string(&value).unwrap();
                content.pop();
                let again =
                    format!("{content},\"crc\":\"{:08x}\"}}", crc32fast::hash(content.as_bytes()));
                assert_eq!(again, line);
                assert!(again.ends_with(&format!("{}\"}}", crc.as_str().unwrap())));
                lines += 1;
            }
        }
        assert!(lines >= 4, "{layout:?}: {lines} lines are no test");
    }
}

fn ledgers_in(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files_in(&folder.join("state"))
        .into_iter()
        .filter(|(path, _)| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("ledger-") && name.ends_with(".jsonl")
        })
        .collect()
}

// --- Older queues --------------------------------------------------------------------

#[test]
fn a_folder_of_an_older_queue_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let pending = folder.path().join("pending");
    std::fs::create_dir_all(&pending).unwrap();
    let bodies = [
        ("2024-01-15T10:30:00_run_001.json", r#"{"run_id": "run_001", "score": 0.5}"#),
        ("2024-01-15T10:30:01_run_002.json", "{\n  \"run_id\": \"run_002\",\n  \"loss\": NaN\n}\n"),
        ("2024-01-15T10:31:00_run_a_b.json", r#"{"run_id": "run_a_b"}"#),
        ("copied by hand.json", r#"{"run_id": "?"}"#),
        ("2024-01-15T10:32:00_cut.json", r#"{"run_id": "cut", "sco"#),
    ];
    for (name, body) in bodies {
        std::fs::write(pending.join(name), body).unwrap();
    }
    let spool = open(folder.path(), Layout::Folder, &ManualClock::new());
    let batch = spool.take(&Limits::default()).unwrap().unwrap();
    let taken: Vec<(Option<&str>, String, &[u8])> = batch
        .records
        .iter()
        .map(|offer| {
            let run_id = offer.record.facts.labels.get("run_id").map(String::as_str);
            (run_id, offer.record.stamp.wall.to_string(), offer.record.body.as_slice())
        })
        .collect();
    let body = |index: usize| bodies[index].1.as_bytes();
    assert_eq!(
        taken,
        [
            (Some("run_001"), "2024-01-15T10:30:00Z".to_owned(), body(0)),
            (Some("run_002"), "2024-01-15T10:30:01Z".to_owned(), body(1)),
            (Some("run_a_b"), "2024-01-15T10:31:00Z".to_owned(), body(2)),
            (Some("copied by hand"), "2026-01-01T00:00:00Z".to_owned(), body(3)),
        ]
    );
    let status = spool.status().unwrap();
    assert!(status.books.balance());
    assert_eq!((status.books.accepted, status.books.pending, status.quarantined), (4, 4, 1));
    let kept =
        std::fs::read(folder.path().join("quarantine/2024-01-15T10:32:00_cut.json")).unwrap();
    assert_eq!(kept, body(4));
    // Their names are portable now, and the second opening changes nothing more.
    drop(batch);
    drop(spool);
    let before = files_in(&pending);
    assert!(before.keys().all(|path| !path.to_string_lossy().contains(':')));
    drop(open(folder.path(), Layout::Folder, &ManualClock::new()));
    assert_eq!(files_in(&pending), before);
}

// --- Newer formats ---------------------------------------------------------------------

/// Opening fails, names the file, asks for a newer program, and changes nothing.
fn assert_refused(folder: &Path, layout: Layout, file: &str) {
    let before = files_in(folder);
    for _ in 0..2 {
        let error = try_open(folder, layout, &ManualClock::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{file}: {error}");
        let text = error.to_string();
        assert!(text.contains(file) && text.contains("use a newer backhaul"), "{text}");
        assert_eq!(files_in(folder), before, "{file}: something was changed");
    }
}

#[test]
fn an_identity_of_a_newer_format_is_refused_and_left_alone() {
    for layout in LAYOUTS {
        let copy = copy_of(layout);
        let path = copy.path().join("state/identity.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
        assert_refused(copy.path(), layout, "identity.json");
    }
}

#[test]
fn a_ledger_of_a_newer_format_is_refused_and_left_alone() {
    for layout in LAYOUTS {
        let newer = [
            r#"{"index":{"default":{}}"#,
            r#"{"snapshot":["a","list"]"#,
            r#"{"entry":{"at":"","destination":"d","chain":"normal","first":1,"last":1,"settled":{"state":"archived"}}"#,
        ];
        for content in newer {
            let copy = copy_of(layout);
            let (path, mut bytes) = ledgers_in(copy.path()).pop().unwrap();
            let crc = crc32fast::hash(content.as_bytes());
            bytes.extend(format!("{content},\"crc\":\"{crc:08x}\"}}\n").as_bytes());
            std::fs::write(&path, bytes).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_refused(copy.path(), layout, &name);
        }
    }
}

#[test]
fn a_segment_of_a_newer_format_is_refused_and_left_alone() {
    /// Where the version, a feature bit and the codec stand in a member.
    const MARKS: [(usize, u8); 3] = [(16, 2), (18, 1), (37, 2)];
    for (form, (at, value)) in FORMS.into_iter().flat_map(|form| MARKS.map(|mark| (form, mark))) {
        let copy = copy_of(form);
        let path = segment_files(copy.path()).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bend_header(&mut bytes, 0, at, &[value]);
        std::fs::write(&path, bytes).unwrap();
        assert_refused(copy.path(), form, &file_name(&path));
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_member_of_a_newer_format_in_an_open_segment_is_refused_and_left_alone() {
    let copy = copy_of(Layout::Segments);
    let (path, at) = segment_files(copy.path())
        .into_iter()
        .rev()
        .find_map(|path| {
            let found = members(&std::fs::read(&path).unwrap());
            let is_open = found.last().is_some_and(|last| last.kind == Kind::Filler);
            let last = found.iter().rev().find(|member| member.kind == Kind::Data)?;
            is_open.then_some((path, last.offset))
        })
        .expect("an open segment with records");
    assert_eq!(at % PAGE, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bend_header(&mut bytes, at, 37, &[1]);
    std::fs::write(&path, bytes).unwrap();
    assert_refused(copy.path(), Layout::Segments, &file_name(&path));
}
