//! Readers agree: whatever state a segment folder is in, and in whichever form its files
//! are, every program that reads JSON Lines finds the same records in it as the store does.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backhaul_store::{Lane, Options, Spool};

use crate::members::{Kind, PAGE, members, segment_files};
use crate::support::{FORMS, Layout, deliver_all, is_of_form, number_of, numbered, options};

/// `n<TAB>id` of a record.
type Line = String;

/// Where the test's programs stand.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(name)
}

/// The Python that has DuckDB and polars.
fn readers_python() -> String {
    std::env::var("BACKHAUL_READERS_PYTHON").unwrap_or_else(|_| {
        panic!(
            "BACKHAUL_READERS_PYTHON is not set: it has to name a Python that has duckdb and polars.\n\
             Run `./test` at the root, or: export BACKHAUL_READERS_PYTHON=\"$(scripts/readers-venv)\""
        )
    })
}

fn output_of(name: &str, command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} cannot be started ({error}): is it installed?"));
    assert!(
        output.status.success(),
        "{name} refuses the files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn lines_of(name: &str, command: &mut Command) -> Vec<Line> {
    let text = String::from_utf8(output_of(name, command)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Makes `n<TAB>id` of stored lines.
fn lines_in(content: &[u8]) -> Vec<Line> {
    content
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            format!("{}\t{}", value["n"], value["_backhaul"]["id"].as_str().unwrap())
        })
        .collect()
}

fn by_rust(folder: &Path) -> Vec<Line> {
    let mut content = Vec::new();
    for path in segment_files(folder) {
        let mut file = std::fs::File::open(&path).unwrap();
        let read = if is_of_form(&path, Layout::Plain) {
            file.read_to_end(&mut content)
        } else {
            flate2::read::MultiGzDecoder::new(file).read_to_end(&mut content)
        };
        read.unwrap_or_else(|error| panic!("flate2 refuses {}: {error}", path.display()));
    }
    lines_in(&content)
}

/// What each of the readers finds in a folder.
fn by_all_readers(folder: &Path) -> Vec<(String, Vec<Line>)> {
    let mut zcat = Command::new("zcat");
    let zcat = output_of("zcat", zcat.arg("--force").args(segment_files(folder)));
    let mut found = vec![
        ("zcat".to_owned(), lines_in(&zcat)),
        ("jq".to_owned(), by_jq(&zcat)),
        ("Rust".to_owned(), by_rust(folder)),
    ];
    for how in ["sync", "stream"] {
        let name = format!("node {how}");
        let mut command = Command::new("node");
        found.push((
            name.clone(),
            lines_of(&name, command.arg(script("readers.js")).arg(how).arg(folder)),
        ));
    }
    let mut hows = vec!["python", "duckdb", "duckdb-auto", "polars-schema"];
    // Without a schema polars refuses a file that has no line, in whatever form.
    if segment_files(folder).iter().all(|path| has_records(path)) {
        hows.extend(["polars-scan", "polars-stream", "polars-read"]);
    }
    let mut command = Command::new(readers_python());
    let lines = lines_of("readers.py", command.arg(script("readers.py")).arg(folder).args(&hows));
    found.extend(hows.into_iter().map(|how| {
        let of_reader = lines.iter().filter_map(|line| line.strip_prefix(how)?.strip_prefix('\t'));
        (how.to_owned(), of_reader.map(str::to_owned).collect())
    }));
    found
}

fn by_jq(text: &[u8]) -> Vec<Line> {
    let mut jq = Command::new("jq");
    let filter = r#""\(.n)\t\(._backhaul.id)""#;
    let jq = jq.args(["--raw-output", filter]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = jq.spawn().expect("jq has to be installed");
    let mut input = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(text).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "jq refuses the files");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    })
}

/// What the store itself finds.
fn by_the_store(spool: &Spool) -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    spool
        .each_from(&std::collections::BTreeMap::new(), &mut |record| {
            lines.insert(format!("{}\t{}", number_of(&record.body), record.id));
            ControlFlow::Continue(())
        })
        .unwrap();
    lines
}

fn assert_all_agree(folder: &Path, expected: &BTreeSet<Line>, state: &str) {
    let forms = FORMS.map(|form| segment_files(folder).iter().any(|path| is_of_form(path, form)));
    let state = format!("{state}, gzip and plain: {forms:?}");
    assert!(segment_files(folder).len() >= 3, "{state}: too few segments to tell anything");
    for (reader, lines) in by_all_readers(folder) {
        assert_eq!(lines.len(), expected.len(), "{reader} on {state}: the number of records");
        let set: BTreeSet<Line> = lines.into_iter().collect();
        assert_eq!(set, *expected, "{reader} on {state}");
    }
}

fn open(folder: &Path, form: Layout) -> Spool {
    Spool::open(folder, Options { min_free_bytes: 0, ..options(form) }).unwrap()
}

/// Records of many sizes, alone and several in a commit, over at least three segments.
fn fill(spool: &Spool, first: u64, count: u64) {
    let mut tickets = Vec::new();
    for number in first..first + count {
        let len = [0, 40, 300, 3_000, 3_700, 20_000][usize::try_from(number % 6).unwrap()];
        let lane = if number % 5 == 0 { Lane::Critical } else { Lane::Normal };
        tickets.push(spool.submit(numbered(number, len).lane(lane)).unwrap());
        if number % 3 == 0 {
            for ticket in tickets.drain(..) {
                ticket.wait().unwrap();
            }
        }
    }
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

fn kinds(path: &Path) -> Vec<Kind> {
    members(&std::fs::read(path).unwrap()).iter().map(|member| member.kind).collect()
}

#[test]
fn readers_agree_on_a_folder_that_is_being_written() {
    for form in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), form);
        fill(&spool, 1, 62);
        let files = segment_files(folder.path());
        assert!(
            files.iter().any(|path| kinds(path).ends_with(&[Kind::Filler])),
            "no file has free pages: nothing is proved about them"
        );
        assert_all_agree(folder.path(), &by_the_store(&spool), "active");
        // And again once free pages were written ahead by the maintenance.
        spool.append(numbered(1_000, 100)).unwrap();
        spool.maintain().unwrap();
        assert_all_agree(folder.path(), &by_the_store(&spool), "active and maintained");
    }
}

#[test]
fn readers_agree_on_a_sealed_folder() {
    for form in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), form);
        fill(&spool, 1, 600);
        // Each round of maintenance seals a few segments.
        while segment_files(folder.path()).iter().filter(|path| !is_sealed(path)).count() > 2 {
            spool.maintain().unwrap();
        }
        let waiting = by_the_store(&spool);
        assert_eq!(waiting.len(), 600);
        assert_all_agree(folder.path(), &waiting, "sealed");
        // Delivered segments say so in their names, and are read all the same.
        deliver_all(&spool);
        // A spool that was just opened looks for delivered data at once.
        drop(spool);
        let spool = open(folder.path(), form);
        spool.maintain().unwrap();
        let files = segment_files(folder.path());
        assert!(files.iter().any(|path| path.to_string_lossy().contains(".synced.jsonl")));
        assert_all_agree(folder.path(), &waiting, "delivered");
        drop(spool);
        assert_all_agree(folder.path(), &waiting, "closed");
    }
}

fn is_sealed(path: &Path) -> bool {
    kinds(path).contains(&Kind::Index)
}

fn has_records(path: &Path) -> bool {
    kinds(path).contains(&Kind::Data)
}

#[test]
fn readers_agree_on_a_folder_whose_first_file_holds_no_record() {
    for form in FORMS {
        let folder = tempfile::tempdir().unwrap();
        // Delivered segments are not kept at all.
        let options = Options {
            keep_delivered_for: std::time::Duration::ZERO,
            min_free_bytes: 0,
            ..options(form)
        };
        let spool = Spool::open(folder.path(), options).unwrap();
        for number in 0..40 {
            spool.append(numbered(number, 3_000).lane(Lane::Critical)).unwrap();
        }
        deliver_all(&spool);
        // What an emptied chain leaves, planted where it comes first.
        let all_delivered = segment_files(folder.path());
        drop(spool);
        let free = members(&std::fs::read(all_delivered.last().unwrap()).unwrap());
        assert!(free.iter().any(|member| member.kind == Kind::Filler));
        empty_the_file(&all_delivered[0]);
        let spool = open(folder.path(), form);
        fill(&spool, 1_000, 60);
        let expected = by_the_store(&spool);
        assert!(!has_records(&segment_files(folder.path())[0]));
        assert_all_agree(folder.path(), &expected, "a folder that starts with an empty file");
    }
}

#[test]
fn readers_agree_on_a_folder_that_has_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    for (form, first) in [FORMS, FORMS].concat().into_iter().zip([1, 100, 200, 300]) {
        let spool = open(folder.path(), form);
        fill(&spool, first, 30);
        spool.maintain().unwrap();
        assert_all_agree(folder.path(), &by_the_store(&spool), "both forms");
    }
    for form in FORMS {
        assert!(segment_files(folder.path()).iter().any(|path| is_of_form(path, form)));
    }
}

/// Makes an unsealed segment one that holds no record yet.
fn empty_the_file(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.truncate(PAGE);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn readers_agree_on_a_folder_that_was_recovered() {
    for form in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path(), form);
        fill(&spool, 1, 60);
        let before = by_the_store(&spool);
        // A last commit of several members; then its end is torn, as by a power cut.
        let tickets: Vec<_> =
            (100..300).map(|number| spool.submit(numbered(number, 400)).unwrap()).collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        drop(spool);
        let torn = tear_the_last_commit(folder.path());
        let spool = open(folder.path(), form);
        let after = by_the_store(&spool);
        assert!(after.is_superset(&before) && after.len() < before.len() + 200, "nothing was torn");
        let quarantined = std::fs::read_dir(folder.path().join("quarantine")).unwrap().count();
        assert!(quarantined > 0, "{} was not repaired", torn.display());
        assert_all_agree(folder.path(), &after, "recovered");
        fill(&spool, 1_000, 20);
        assert_all_agree(folder.path(), &by_the_store(&spool), "recovered and written to");
        // Another commit is torn, on a file that was repaired before.
        drop(spool);
        tear_the_last_commit(folder.path());
        let spool = open(folder.path(), form);
        assert_all_agree(folder.path(), &by_the_store(&spool), "recovered twice");
    }
}

/// Destroys the last page of the last data member that the newest segment of the
/// normal lane holds, and a page before that stays as it was.
fn tear_the_last_commit(folder: &Path) -> PathBuf {
    let (path, member) = segment_files(folder)
        .into_iter()
        .rev()
        .find_map(|path| {
            let found = members(&std::fs::read(&path).unwrap());
            let is_normal = found[0].header[36] == 2;
            let last = found.iter().rev().find(|member| member.kind == Kind::Data).copied();
            last.filter(|_| is_normal && !is_sealed(&path)).map(|last| (path, last))
        })
        .expect("a segment with records");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = member.offset + member.len;
    bytes[end - PAGE / 2..end].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    path
}
