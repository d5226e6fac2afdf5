//! The commands that look at a data dir: what they print, and how they end.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, run, runs};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

/// A data dir with three runs stored, and no hub.
fn filled(dir: &Path) {
    let hub = Hub::start(dir);
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    assert!(hub.terminate().1);
}

#[test]
fn status_shows_each_spool_and_its_books() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let (code, stdout, _) = backhaul(&["status", "--json"], dir.path());
    let runs = &json(&stdout)["spools"]["runs"];
    assert_eq!(code, 0);
    assert_eq!(
        (&runs["pending"], &runs["synced"], &runs["failed"]),
        (&3.into(), &0.into(), &0.into())
    );
    assert!(runs["oldest_age_seconds"].as_u64().unwrap() < 60);
    assert!(runs["bytes"].as_u64().unwrap() > 0);
    assert_eq!(runs["books"]["accepted"], 3);
    assert_eq!(runs["books"]["balance"], true);
    assert_eq!((&runs["quarantined"], &runs["trouble"]), (&0.into(), &Value::Null));

    let (code, stdout, stderr) = backhaul(&["status"], dir.path());
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("3 accepted = 3 pending; the books balance"), "{stdout}");
    // The spool's own folder works as well.
    let (code, stdout, _) = backhaul(&["status", "--json"], &dir.path().join("runs"));
    assert_eq!((code, &json(&stdout)["spools"]["runs"]["pending"]), (0, &3.into()));
}

#[test]
fn status_works_beside_a_hub_that_runs() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    for count in 1..=3 {
        assert_eq!(hub.post(&run(count)).receipt(), (1, 0));
        let (code, stdout, _) = backhaul(&["status", "--json"], dir.path());
        assert_eq!((code, &json(&stdout)["spools"]["runs"]["pending"]), (0, &count.into()));
    }
}

#[test]
fn status_of_nothing_says_so() {
    let dir = tempdir().unwrap();
    let (code, stdout, stderr) = backhaul(&["status", "--json"], dir.path());
    assert_eq!((code, stdout.as_str()), (0, "{\"spools\":{},\"outage\":null,\"models\":[]}\n"));
    assert!(stderr.contains("there is no spool in"), "{stderr}");
    let (code, stdout, stderr) = backhaul(&["status"], &dir.path().join("nowhere"));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("there is no data dir at"), "{stderr}");
}

#[test]
fn queue_lists_one_record_a_line() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let (code, stdout, _) = backhaul(&["queue", "list", "--json"], dir.path());
    assert_eq!(code, 0);
    let lines: Vec<Value> = stdout.lines().map(json).collect();
    assert_eq!(lines.len(), 3);
    let first = &lines[0];
    assert_eq!(first["id"], "normal/1");
    assert_eq!(first["run_id"], "run_1");
    assert_eq!(first["state"], "pending");
    assert_eq!(first["size_bytes"], run(1).len());
    assert_eq!((&first["attempts"], &first["last_error"]), (&0.into(), &Value::Null));
    assert!(first["enqueued_at"].as_str().unwrap().starts_with("20"));

    // The head is a line of the table, and goes where the table goes.
    let (code, stdout, stderr) = backhaul(&["queue", "list", "--spool", "runs"], dir.path());
    assert_eq!((code, stdout.lines().count(), stderr.as_str()), (0, 5, ""));
    assert!(
        stdout.starts_with("runs\n  id  ") && stdout.matches("  id  ").count() == 1,
        "{stdout}"
    );
    assert!(stdout.contains("normal/2") && stdout.contains("run_2"), "{stdout}");
}

#[test]
fn a_queue_where_nothing_waits_has_no_head() {
    let dir = tempdir().unwrap();
    Hub::start(dir.path()).terminate();
    let (code, stdout, stderr) = backhaul(&["queue", "list"], dir.path());
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.contains("nothing waits"), "{stderr}");
}

#[test]
fn status_says_who_delivers_what_is_pending() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    let status = || {
        let (_, text, _) = backhaul(&["status"], dir.path());
        let (code, object, _) = backhaul(&["status", "--json"], dir.path());
        assert_eq!((code, &json(&object)["spools"]["runs"]["pending"]), (0, &3.into()));
        (text, json(&object)["spools"]["runs"]["forwards"].clone())
    };
    let (text, forwards) = status();
    assert!(text.contains("runs: records are kept here") && !text.contains("waiting"), "{text}");
    assert_eq!(forwards, false);
    assert!(hub.terminate().1);

    let (text, forwards) = status();
    assert!(text.contains("runs: no hub answers here: "), "{text}");
    assert_eq!(forwards, Value::Null);

    let _hub = Hub::start_with(dir.path(), &["--runs-url", "http://127.0.0.1:9"]);
    let (text, forwards) = status();
    assert!(!text.contains("kept here") && !text.contains("no hub"), "{text}");
    assert_eq!(forwards, true);
}

#[test]
fn a_stdout_that_is_full_is_a_failure() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    for arguments in [&["status"][..], &["queue", "list", "--json"], &["queue", "show", "normal/1"]]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = std::process::Command::new(crate::support::BINARY)
            .args(arguments)
            .arg("--data-dir")
            .arg(dir.path())
            .stdout(full)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let said = "cannot write to stdout: ";
        assert!(stderr.contains(said) && stderr.contains("No space left"), "{stderr}");
    }
    // What writes nothing there needs none.
    let mut shell = std::process::Command::new("sh");
    let script = "exec \"$@\" >&- < /dev/null";
    let serve = [crate::support::BINARY, "serve", "--listen", "127.0.0.1:0", "--stop-with-stdin"];
    let serve = shell.args(["-c", script, "sh"]).args(serve).arg("--data-dir").arg(dir.path());
    assert_eq!(serve.output().unwrap().status.code(), Some(0));
}

#[test]
fn queue_shows_facts_and_body() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let (code, stdout, _) = backhaul(&["queue", "show", "normal/2"], dir.path());
    assert_eq!(code, 0);
    assert!(stdout.contains("run_id        run_2\n"), "{stdout}");
    assert!(stdout.ends_with(&format!("\n{}\n", run(2))), "{stdout}");
    let (code, stdout, _) = backhaul(&["queue", "show", "normal/2", "--json"], dir.path());
    let shown = json(&stdout);
    assert_eq!((code, &shown["body"]["run_id"]), (0, &"run_2".into()));
    // The full id works too.
    let full = shown["full_id"].as_str().unwrap();
    assert_eq!(backhaul(&["queue", "show", full], dir.path()).0, 0);
    // All of it counts: in another epoch it is another record.
    let parts: Vec<&str> = full.split('/').collect();
    let other = format!(
        "{}/{}/normal/2",
        parts[0],
        if parts[1] == "0000beef" { "0000beee" } else { "0000beef" }
    );
    let (code, stdout, stderr) = backhaul(&["queue", "show", &other], dir.path());
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
}

#[test]
fn a_body_that_only_python_reads_is_shown_as_text() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let body = r#"{"run_id": "a", "x": NaN}"#;
    assert_eq!(hub.post(body).receipt(), (1, 0));
    let (code, stdout, _) = backhaul(&["queue", "show", "normal/1", "--json"], dir.path());
    assert_eq!((code, &json(&stdout)["body_text"]), (0, &body.into()));
}

#[test]
fn what_is_not_there_is_an_error_that_says_what_to_do() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    for (arguments, code, hint) in [
        (&["queue", "show", "normal/9"][..], 1, "backhaul queue list"),
        (&["queue", "show", "critical/1"], 1, "backhaul queue list"),
        (&["queue", "show", "42"], 2, "normal/42"),
        (&["queue", "show", "urgent/1"], 2, "unknown lane"),
        (&["queue", "show", "normal/+1"], 2, "normal/42"),
        (&["queue", "show", "normal/01"], 2, "normal/42"),
        (&["queue", "list", "--spool", "offline"], 2, "there is runs"),
    ] {
        let (found, stdout, stderr) = backhaul(arguments, dir.path());
        assert_eq!((found, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
    let empty = tempdir().unwrap();
    let (code, _, stderr) = backhaul(&["queue", "list"], empty.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no spool in"), "{stderr}");
}

#[test]
fn the_same_id_in_two_spools_has_to_be_told_apart() {
    let (dir, other) = (tempdir().unwrap(), tempdir().unwrap());
    filled(dir.path());
    filled(other.path());
    std::fs::rename(other.path().join("runs"), dir.path().join("offline")).unwrap();
    let (code, _, stderr) = backhaul(&["queue", "show", "normal/1"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("--spool runs or --spool offline"), "{stderr}");
    let one = backhaul(&["queue", "show", "normal/1", "--spool", "offline"], dir.path());
    assert_eq!(one.0, 0);
    let (_, stdout, _) = backhaul(&["queue", "list", "--json"], dir.path());
    assert_eq!(stdout.lines().count(), 6);
    let (_, stdout, _) = backhaul(&["status", "--json"], dir.path());
    assert_eq!(json(&stdout)["spools"].as_object().unwrap().len(), 2);
}

#[test]
fn usage_errors_end_with_two_and_help_with_none() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["serve", "--help"], 0),
        (&[], 2),
        (&["frobnicate"], 2),
        (&["status", "--no-such-flag"], 2),
        (&["serve", "--listen", "nowhere"], 2),
        (&["serve", "--cap", "1KB"], 2),
        (&["serve", "--cap", "much"], 2),
    ] {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    for from in 0..5 {
        assert_eq!(hub.post(&runs(from * 1000..from * 1000 + 1000)).receipt(), (1000, 0));
    }
    let mut list = command(&["queue", "list", "--json", "--data-dir"])
        .arg(dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    assert_eq!(list.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_level_that_is_none_is_refused_by_name() {
    let output = command(&["status"]).env("BACKHAUL_LOG", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("BACKHAUL_LOG is \"loud\""));
}

#[test]
fn the_data_dir_may_come_from_the_environment() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let output = command(&["status", "--json"]).env("BACKHAUL_DATA_DIR", dir.path()).output();
    let stdout = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(json(&stdout)["spools"]["runs"]["pending"], 3);
}

#[test]
fn a_run_id_cannot_command_the_terminal() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let ids = r#"[{"run_id": "a\u001b[2J\n\t\u0000b"}, {"run_id": ""}]"#;
    assert_eq!(hub.post(ids).receipt(), (2, 0));
    let (code, list, _) = backhaul(&["queue", "list"], dir.path());
    assert_eq!((code, list.lines().count()), (0, 4), "{list}");
    assert!(list.contains(r"a\u{1b}[2J\n\t\u{0}b") && list.ends_with("\"\"\n"), "{list}");
    let (_, shown, _) = backhaul(&["queue", "show", "normal/1"], dir.path());
    assert!(shown.contains(r"run_id        a\u{1b}[2J\n\t\u{0}b"), "{shown}");
    assert!(!list.contains('\u{1b}') && !shown.contains('\u{1b}'), "{list}{shown}");
}

#[test]
fn what_is_in_the_place_of_a_spool_and_is_none_is_said() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    std::fs::remove_file(dir.path().join("runs/state/identity.json")).unwrap();
    let (code, stdout, stderr) = backhaul(&["status", "--json"], dir.path());
    assert_eq!((code, stdout.as_str()), (1, "{\"spools\":{},\"outage\":null,\"models\":[]}\n"));
    assert!(stderr.contains("no state/identity.json"), "{stderr}");
    std::fs::remove_dir_all(dir.path().join("runs")).unwrap();
    std::fs::write(dir.path().join("runs"), "").unwrap();
    let (code, _, stderr) = backhaul(&["status"], dir.path());
    assert_eq!(code, 1);
    assert!(stderr.contains("runs is a file"), "{stderr}");
}

#[test]
fn a_data_dir_that_cannot_be_one_is_wrong_configuration() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("afile");
    std::fs::write(&file, "").unwrap();
    for arguments in [&["status"][..], &["queue", "list"], &["serve", "--listen", "127.0.0.1:0"]] {
        let (code, _, stderr) = backhaul(arguments, &file);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains("afile is a file"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn help_shows_no_backslashes() {
    let output = command(&["status", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(!help.contains('\\'), "{help}");
}

#[test]
fn shells_and_man_are_told_of_every_command() {
    let dir = tempdir().unwrap();
    let run = |arguments: &[&str]| {
        // Whatever the settings are.
        command(arguments).env("BACKHAUL_CAP", "nonsense").output().unwrap()
    };
    let script = run(&["completions", "bash"]);
    assert!(script.status.success());
    std::fs::write(dir.path().join("backhaul.bash"), &script.stdout).unwrap();
    let complete = "source backhaul.bash; COMP_WORDS=(backhaul queue exp); COMP_CWORD=2; \
                    _backhaul backhaul exp queue; echo \"${COMPREPLY[@]}\"";
    let completed =
        Command::new("bash").args(["-c", complete]).current_dir(dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "export");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).stdout;
        assert!(String::from_utf8(script).unwrap().contains("size-for"), "{shell}");
    }
    let pages = dir.path().join("man1");
    assert!(run(&["man-pages", pages.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(pages.join("backhaul-spool-repair.1")).unwrap();
    assert!(page.contains("apply") && page.contains("quarantine"), "{page}");
    let not = run(&["man-pages", "/proc/nowhere"]);
    assert_eq!(not.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&not.stderr).contains("cannot write into /proc/nowhere"));
}
