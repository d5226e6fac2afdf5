//! What a person who looks after a device wants to know and to do: a command for each, as it
//! looks on a terminal of 80 columns and in a pipe.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;

use crate::carrying::device;
use crate::support::{BINARY, command};

/// A question or a wish, the command line, and its exit code.
type Task<'a> = (&'a str, &'a str, i32);

/// What changes nothing.
const LOOKING: [Task<'_>; 10] = [
    ("What waits here, how old is it, and is all of it accounted for?", "status", 0),
    ("Which records are these?", "queue list", 0),
    ("Which ones of the agent, and why did some fail?", "queue list --spool offline", 0),
    ("What does this record say?", "queue show normal/2 --spool offline", 0),
    ("Which calls of tools wait for me to decide?", "queue list --spool tools", 0),
    ("What did the agents log with Weave?", "traces list", 0),
    ("Is every byte as it was written?", "spool check DATA", 0),
    ("What would a repair do?", "spool repair DATA", 0),
    (
        "How much room does a weekend without a network take?",
        "queue size-for --offline-hours 60 --spool runs --per-hour 60",
        0,
    ),
    ("Where does the cap come from?", "config show", 0),
];

/// What changes something, in this order.
const DOING: [Task<'_>; 13] = [
    ("Put everything that waits on a stick.", "queue export --to DATA/../stick.tar", 0),
    ("Take it to another machine.", "queue import DATA/../stick.tar --data-dir DATA/../carried", 0),
    ("Is it all there?", "queue import DATA/../stick.tar --data-dir DATA/../carried", 0),
    ("Try again what the hub refused.", "queue retry normal/2 --spool offline", 0),
    ("Try again all that failed.", "queue retry --all", 0),
    ("That call was done, I have seen it.", "queue done normal/1", 0),
    ("Never send this one.", "queue drop normal/5 --spool offline --yes", 0),
    ("Send nothing until the tariff changes.", "outage for 2h", 0),
    ("Does it hold?", "sync --runs-url http://127.0.0.1:9", 2),
    ("Go on sending.", "outage off", 0),
    (
        "The stick has arrived: let go of what was on it.",
        "queue drop --carried DATA/../stick.tar --yes",
        0,
    ),
    ("Have the room of what is delivered back.", "clean --older-than 0s", 0),
    ("What is left?", "status", 0),
];

fn words(line: &str, data_dir: &Path) -> Vec<String> {
    let line = line.replace("DATA", data_dir.to_str().unwrap());
    let takes_data_dir = !line.contains("--data-dir")
        && !["spool", "config"].iter().any(|word| line.starts_with(word));
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if takes_data_dir {
        words.extend(["--data-dir".to_owned(), data_dir.display().to_string()]);
    }
    words
}

/// In a pipe: what comes out of both ends.
fn piped((question, line, code): Task<'_>, data_dir: &Path, page: &mut String) {
    let words = words(line, data_dir);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = command(&words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line}: {stdout}{stderr}");
    writeln!(page, "# {question}\n$ backhaul {line}\n{stdout}").unwrap();
    if !stderr.is_empty() {
        writeln!(page, "stderr:\n{stderr}").unwrap();
    }
}

/// On a terminal of 80 columns.
fn on_a_terminal((question, line, code): Task<'_>, data_dir: &Path, page: &mut String) {
    let words = words(line, data_dir).join(" ");
    let line_of_shell = format!("stty cols 80 rows 24; exec {BINARY} {words}");
    // script(1) runs a command on a terminal of its own.
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line_of_shell, "/dev/null"])
        .env("BACKHAUL_CONFIG", "/dev/null")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert!(!said.contains('\u{1b}'), "{line}: {said:?}");
    // Lines of tables are indented, or were shortened to fit.
    let is_of_table = |line: &&str| line.starts_with("  ") || line.contains('…');
    let wide = said.lines().filter(is_of_table).find(|line| line.chars().count() > 80);
    assert_eq!(wide, None);
    writeln!(page, "# {question}\n$ backhaul {line}\n{said}").unwrap();
}

/// What differs from run to run.
fn settings(data_dir: &Path) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    let above = data_dir.parent().unwrap().display().to_string();
    settings.add_filter(&format!("{above}/data"), "DATA");
    settings.add_filter(&above, "ABOVE");
    settings.add_filter("[0-9a-f]{32}/[0-9a-f]{8}", "DEVICE/EPOCH");
    settings.add_filter("[0-9a-f]{64}", "DIGEST");
    settings.add_filter("answer to [0-9a-f]{8,}…?", "answer to KEY");
    settings.add_filter(r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "TIME");
    settings.add_filter(r" +\d+ (s|min)\b", " AGE");
    settings.add_filter(r" +[0-9.]+ (B|KB|MB)\b", " SIZE");
    settings.add_filter(r"\d+ left", "TIME left");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("operator_tasks");
    settings
}

#[test]
fn each_of_an_operators_tasks_is_one_command_and_says_what_it_did() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    device(&data_dir);
    let mut page = String::new();
    LOOKING.into_iter().chain(DOING).for_each(|task| {
        // Where settings come from differs from machine to machine.
        if task.1 != "config show" {
            piped(task, &data_dir, &mut page);
        }
    });
    settings(&data_dir).bind(|| insta::assert_snapshot!("piped", page));
}

#[test]
fn what_is_looked_at_fits_a_terminal_of_80_columns() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    device(&data_dir);
    let mut page = String::new();
    for task in LOOKING.into_iter().filter(|task| task.1 != "config show") {
        on_a_terminal(task, &data_dir, &mut page);
    }
    settings(&data_dir).bind(|| insta::assert_snapshot!("terminal", page));
}

#[test]
fn the_settings_and_what_is_in_the_way_are_told_by_a_command_each() {
    let dir = tempdir().unwrap();
    device(dir.path());
    let mut page = String::new();
    piped(("Where does the cap come from?", "config show", 0), dir.path(), &mut page);
    assert!(page.contains("max_queue_size_mb") && page.contains("default"), "{page}");
    let output = command(&["doctor", "--data-dir"]).arg(dir.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().count() > 8, "{said}");
}
