//! `backhaul run`: what its program sees, and what becomes of what it logs.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::tempdir;

use crate::support::{self, Hub, command, noise, run as record, stored_bodies, wait_until};

/// What is put around a program.
fn around(data_dir: &Path, options: &[&str], program: &[&str]) -> Command {
    let mut run = command(&["run", "--data-dir"]);
    run.arg(data_dir).args(options).arg("--").args(program);
    run
}

fn output(run: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = run.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Python that posts a record to the gateway, and says what became of it.
const POST: &str = "
import json, os, urllib.error, urllib.request
def post(body):
    url = os.environ['BACKHAUL_URL'] + '/v1/runs'
    request = urllib.request.Request(url, body.encode(), {'Content-Type': 'application/json'})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
";

fn python(script: &str) -> Vec<String> {
    vec!["python3".to_owned(), "-c".to_owned(), format!("{POST}\n{script}")]
}

fn around_python(data_dir: &Path, options: &[&str], script: &str) -> Command {
    let program = python(script);
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    around(data_dir, options, &program)
}

#[test]
fn what_a_program_sends_to_its_gateway_is_stored() {
    let dir = tempdir().unwrap();
    let script = "print(post('{\"run_id\": \"run_1\"}'))";
    let (code, stdout, stderr) = output(&mut around_python(dir.path(), &[], script));
    assert_eq!((code, stdout.as_str()), (0, "{'accepted': 1, 'duplicates': 0}\n"), "{stderr}");
    // Records of a device without a hub wait for nothing.
    assert_eq!(stderr, "");
    assert_eq!(stored_bodies(dir.path()), [record(1)]);
}

#[test]
fn a_program_has_an_environment_that_leads_to_the_gateway() {
    let dir = tempdir().unwrap();
    let options = ["--weave-url", "http://me:s3cret@weave.example:1/traces"];
    let script = "printf '%s\\n' $BACKHAUL_URL $WANDB_BASE_URL $WF_TRACE_SERVER_URL \
                  $WEAVE_SERVER_CACHE_DIR $WANDB_API_KEY $no_proxy";
    let mut run = around(dir.path(), &options, &["sh", "-c", script]);
    let run = run.env_remove("WANDB_API_KEY").env("http_proxy", "http://127.0.0.1:1");
    run.env_remove("no_proxy").env_remove("NO_PROXY").env_remove("WEAVE_SERVER_CACHE_DIR");
    let (code, stdout, stderr) = output(run);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<&str> = stdout.lines().collect();
    let [gateway, wandb, trace, cache, key, direct] = lines[..] else { panic!("{stdout}") };
    assert!(gateway.starts_with("http://127.0.0.1:"), "{stdout}");
    assert_eq!((wandb, trace), (gateway, format!("{gateway}/traces").as_str()));
    // A password is no part of a name.
    assert_eq!(Path::new(cache), dir.path().join("weave-cache/http_weave.example_1_traces"));
    assert_eq!((key.len(), direct), (40, "127.0.0.1"));
}

#[test]
fn the_exit_code_is_the_programs() {
    let dir = tempdir().unwrap();
    let not_executable = dir.path().join("script");
    fs::write(&not_executable, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&not_executable, fs::Permissions::from_mode(0o600)).unwrap();
    let not_executable = not_executable.to_str().unwrap();
    for (program, code, said) in [
        (&["true"][..], 0, ""),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9, ""),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15, ""),
        (&["./no-such-program"], 127, "there is no program ./no-such-program"),
        (&[not_executable], 126, "script cannot be started: Permission denied"),
        (&["/"], 126, "/ cannot be started"),
    ] {
        let (found, stdout, stderr) = output(&mut around(dir.path(), &[], program));
        assert_eq!((found, stdout.as_str()), (code, ""), "{program:?}: {stderr}");
        assert!(stderr.contains(said) && stderr.is_empty() == said.is_empty(), "{stderr}");
    }
}

#[test]
fn the_two_dashes_may_be_left_out() {
    let dir = tempdir().unwrap();
    let mut run = command(&["run", "--data-dir"]);
    let (code, ..) = output(run.arg(dir.path()).args(["sh", "-c", "exit 3"]));
    assert_eq!(code, 3);
    // What stands before the program is ours, and has to be known.
    let (code, _, stderr) = output(&mut command(&["run", "--no-such-flag", "true"]));
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(output(&mut command(&["run"])).0, 2);
}

#[test]
fn without_a_gateway_no_program_is_started() {
    let dir = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let started = dir.path().join("started");
    let touch = ["touch", started.to_str().unwrap()];
    let (code, _, stderr) = output(&mut around(dir.path(), &["--listen", &address], &touch));
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("cannot listen on {address}")), "{stderr}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, _, stderr) = output(&mut around(&file, &[], &touch));
    assert_eq!(code, 2);
    assert!(stderr.contains("file is a file"), "{stderr}");
    assert!(!started.exists());
}

#[test]
fn an_address_that_serve_is_told_is_not_for_runs() {
    let dir = tempdir().unwrap();
    let mut run = around(dir.path(), &[], &["sh", "-c", "echo $BACKHAUL_URL"]);
    let (code, stdout, _) = output(run.env("BACKHAUL_LISTEN", "127.0.0.1:1"));
    assert_eq!(code, 0);
    assert!(stdout.starts_with("http://127.0.0.1:") && stdout != "http://127.0.0.1:1\n");
    let mut run = around(dir.path(), &["--listen", "[::1]:0"], &["sh", "-c", "echo $BACKHAUL_URL"]);
    assert!(output(&mut run).1.starts_with("http://[::1]:"));
}

#[test]
fn stdin_and_stdout_are_the_programs_own() {
    let dir = tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let text = noise(7, 10_000_000);
    fs::write(&from, &text).unwrap();
    // By a pipe, which nobody may read from in the place of the program.
    let mut child = around(&dir.path().join("data"), &[], &["cat"])
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&to).unwrap())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(fs::read(&to).unwrap() == text.as_bytes());
}

/// A program that writes down the signals that it gets, one a line, and ends at SIGTERM.
const NOTE_SIGNALS: &str = "
import os, signal, sys, time
log = open(sys.argv[1], 'a', buffering=1)
def note(number, frame):
    print(signal.Signals(number).name, file=log)
    if number == signal.SIGTERM:
        time.sleep(float(sys.argv[2]))
        os._exit(42)
for name in ['INT', 'HUP', 'QUIT', 'USR1', 'USR2', 'TERM']:
    signal.signal(getattr(signal, 'SIG' + name), note)
print('ready', file=log)
while True:
    signal.pause()
";

struct Noted {
    child: Child,
    log: PathBuf,
}

impl Noted {
    fn start(dir: &Path) -> Self {
        let log = dir.join("log");
        let program = ["python3", "-c", NOTE_SIGNALS, log.to_str().unwrap(), "0"];
        let child = around(&dir.join("data"), &[], &program).spawn().unwrap();
        let noted = Self { child, log };
        noted.wait_for("ready");
        noted
    }

    fn lines(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().map(ToOwned::to_owned).collect()
    }

    #[track_caller]
    fn wait_for(&self, line: &str) {
        wait_until(|| self.lines().iter().any(|found| found == line));
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

#[test]
fn signals_are_passed_on_once() {
    let dir = tempdir().unwrap();
    let mut noted = Noted::start(dir.path());
    let signals = ["INT", "HUP", "QUIT", "USR1", "USR2", "TERM"];
    for name in signals {
        noted.signal(name);
        noted.wait_for(&format!("SIG{name}"));
    }
    assert_eq!(noted.child.wait().unwrap().code(), Some(42));
    let expected = signals.map(|name| format!("SIG{name}"));
    assert_eq!(noted.lines()[1..], expected);
}

/// A terminal: runs a command in it, presses Ctrl-C when it is ready, and then asks it to end
/// by SIGTERM to the group's leader alone; exits with the command's code.
const TERMINAL: &str = "
import os, pty, signal, sys, time
log, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
def wait_for(line):
    while not (os.path.exists(log) and line in open(log).read().split()):
        time.sleep(0.02)
wait_for('ready')
os.write(terminal, b'\\x03')
wait_for('SIGINT')
os.kill(pid, signal.SIGTERM)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
";

#[test]
fn a_terminals_interrupt_reaches_the_program_once() {
    let dir = tempdir().unwrap();
    let log = dir.path().join("log");
    let log = log.to_str().unwrap();
    let run = around(&dir.path().join("data"), &[], &["python3", "-c", NOTE_SIGNALS, log, "0.5"]);
    let mut terminal = support::alone(Command::new("python3"), &["-c", TERMINAL, log]);
    let status = terminal.arg(run.get_program()).args(run.get_args()).status().unwrap();
    assert_eq!(status.code(), Some(42));
    let lines = fs::read_to_string(log).unwrap();
    assert_eq!(lines.lines().collect::<Vec<_>>(), ["ready", "SIGINT", "SIGTERM"]);
}

#[test]
fn a_terminal_stays_one() {
    let dir = tempdir().unwrap();
    let script = "import os, sys; \
        own = os.tcgetpgrp(0) == os.getpgrp(); \
        print(all(os.isatty(fd) for fd in range(3)), own, file=open(sys.argv[1], 'w'))";
    let log = dir.path().join("log");
    let data = dir.path().join("data");
    let run = around(&data, &[], &["python3", "-c", script, log.to_str().unwrap()]);
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut terminal = support::alone(Command::new("python3"), &["-c", spawn]);
    let status = terminal.arg(run.get_program()).args(run.get_args()).output().unwrap();
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "True True\n");
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let dir = tempdir().unwrap();
    let run = around(dir.path(), &[], &["sh", "-c", "kill -HUP $$; kill -HUP $PPID; echo alive"]);
    let mut shell = support::alone(Command::new("sh"), &["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let (code, stdout, _) = output(shell.arg(run.get_program()).args(run.get_args()));
    assert_eq!((code, stdout.as_str()), (0, "alive\n"));
}

#[test]
fn the_limit_of_open_files_is_the_one_that_was_there() {
    let dir = tempdir().unwrap();
    let run = around(dir.path(), &[], &["sh", "-c", "ulimit -n"]);
    let mut shell =
        support::alone(Command::new("sh"), &["-c", "ulimit -Sn 300; exec \"$@\"", "sh"]);
    let (_, stdout, _) = output(shell.arg(run.get_program()).args(run.get_args()));
    assert_eq!(stdout, "300\n");
}

#[test]
fn what_the_program_leaves_running_is_not_waited_for() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("out");
    let mut run = around(&dir.path().join("data"), &[], &["sh", "-c", "sleep 1000 & echo $!"]);
    let status = run.stdout(fs::File::create(&out).unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let left = fs::read_to_string(&out).unwrap();
    assert!(Path::new(&format!("/proc/{}", left.trim())).exists());
    assert!(Command::new("kill").arg(left.trim()).status().unwrap().success());
}

#[test]
fn what_waits_is_delivered_at_the_end() {
    let (dir, hub_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(hub_dir.path());
    let url = format!("http://{}", hub.address);
    let script = "for n in range(1, 51): post(json.dumps({'run_id': f'run_{n}'}))";
    let (code, _, stderr) = output(&mut around_python(dir.path(), &["--runs-url", &url], script));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stored_bodies(hub_dir.path()), (1..=50).map(record).collect::<Vec<_>>());
}

#[test]
fn what_still_waits_at_the_end_is_said() {
    let dir = tempdir().unwrap();
    let script = "post('[{\"run_id\": \"run_1\"}, {\"run_id\": \"run_2\"}]')";
    let options = ["--runs-url", "http://127.0.0.1:9", "--drain-timeout", "0s"];
    let (code, _, stderr) = output(&mut around_python(dir.path(), &options, script));
    assert_eq!(code, 0);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let data_dir = dir.path().display();
    assert!(stderr.starts_with("backhaul: 2 records wait to be delivered"), "{stderr}");
    let sync = format!("`backhaul sync --data-dir {data_dir} --runs-url http://127.0.0.1:9` does");
    assert!(stderr.contains(&sync), "{stderr}");
}

/// A hub that takes connections and says nothing.
fn silent_hub() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn delivering_at_the_end_has_an_end() {
    let dir = tempdir().unwrap();
    let (_hub, url) = silent_hub();
    let script = "post('{\"run_id\": \"run_1\"}')";
    // An answer is waited for for a minute.
    let options = ["--runs-url", &url, "--drain-timeout", "300ms"];
    let (code, _, stderr) = output(&mut around_python(dir.path(), &options, script));
    assert_eq!(code, 0);
    assert!(stderr.contains("backhaul: 1 record waits to be delivered"), "{stderr}");
}

#[test]
fn who_tells_it_to_stop_does_not_wait_for_the_delivery() {
    let dir = tempdir().unwrap();
    let (_hub, url) = silent_hub();
    let mut run = around_python(
        dir.path(),
        &["--runs-url", &url, "--drain-timeout", "1h"],
        "post('{\"run_id\": \"run_1\"}'); print('sent', flush=True)",
    );
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Both ends are closed when the program is gone.
    let said: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().take(1).collect();
    assert_eq!(said.len(), 1);
    let program = format!("/proc/{}/task/{0}/children", child.id());
    wait_until(|| fs::read_to_string(&program).is_ok_and(|children| children.trim().is_empty()));
    let id = child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 record waits"));
}

#[test]
fn a_gateway_that_is_killed_has_lost_nothing_and_leaves_the_program_alone() {
    let dir = tempdir().unwrap();
    let (data, acknowledged) = (dir.path().join("data"), dir.path().join("acknowledged"));
    let script = "
import sys, time
log = open(sys.argv[1], 'a', buffering=1)
refused = 0
number = 0
while refused < 20:
    number += 1
    try:
        post(json.dumps({'run_id': f'run_{number}'}))
        print(number, file=log)
    except OSError:
        refused += 1
        time.sleep(0.02)
print('gave up', file=log)
";
    let mut program = python(script);
    program.push(acknowledged.to_str().unwrap().to_owned());
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut child = around(&data, &[], &program).spawn().unwrap();
    let log = || fs::read_to_string(&acknowledged).unwrap_or_default();
    wait_until(|| log().lines().count() > 20);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    // The program lives on, tries again, and ends as it wants to.
    wait_until(|| log().ends_with("gave up\n"));
    let stored = stored_bodies(&data);
    for number in log().lines().filter_map(|line| line.parse().ok()) {
        assert!(stored.contains(&record(number)), "run_{number} was acknowledged and is gone");
    }
}

/// A program that posts one record for each line on stdin, and says what became of it.
struct Poster(Child);

impl Poster {
    fn start(data_dir: &Path) -> Self {
        let script = "
import sys
for line in sys.stdin:
    for _ in range(100):
        try:
            answer = post(line)
            break
        except urllib.error.HTTPError as error:
            assert error.code == 503, error
    print(answer['accepted'], answer['duplicates'], flush=True)
";
        let mut run = around_python(data_dir, &[], script);
        Self(run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn post(&mut self, body: &str) -> (u64, u64) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{body}").unwrap();
        let mut line = String::new();
        // One byte at a time: the rest is for the next one.
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (accepted, duplicates) =
            line.trim().split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        (accepted.parse().unwrap(), duplicates.parse().unwrap())
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// A record that is known by its key.
fn keyed(number: u64) -> String {
    format!("{{\"run_id\": \"run_{number}\", \"metadata\": {{\"idempotency_key\": \"{number}\"}}}}")
}

#[test]
fn beside_a_hub_what_comes_goes_to_that() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&keyed(1)).receipt(), (1, 0));
    let mut poster = Poster::start(dir.path());
    assert_eq!(poster.post(&keyed(1)), (0, 1), "one intake knows what came");
    assert_eq!(poster.post(&keyed(2)), (1, 0));
    assert_eq!(hub.post(&keyed(2)).receipt(), (0, 1));
    // Its place is taken once it is gone, and what it knew is known.
    hub.kill();
    assert_eq!(poster.post(&keyed(2)), (0, 1));
    assert_eq!(poster.post(&keyed(3)), (1, 0));
    poster.end();
    assert_eq!(stored_bodies(dir.path()).len(), 3);
}

#[test]
fn two_runs_share_a_data_dir_and_the_second_outlives_the_first() {
    let dir = tempdir().unwrap();
    let mut first = Poster::start(dir.path());
    assert_eq!(first.post(&keyed(1)), (1, 0));
    let mut second = Poster::start(dir.path());
    assert_eq!(second.post(&keyed(1)), (0, 1));
    let (code, _, stderr) = support::backhaul(&["serve", "--listen", "127.0.0.1:0"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("another process serves from"), "{stderr}");
    first.end();
    assert_eq!(second.post(&keyed(1)), (0, 1));
    assert_eq!(second.post(&keyed(2)), (1, 0));
    second.end();
}

#[test]
fn a_body_goes_whole_to_the_process_that_takes_it() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let script = "
import gzip, sys
url = os.environ['BACKHAUL_URL']
body = '[' + ','.join(json.dumps({'run_id': f'run_{n}', 'x': 'y' * 1000}) for n in range(5000)) + ']'
headers = {'Content-Encoding': 'gzip'}
request = urllib.request.Request(url + '/v1/runs', gzip.compress(body.encode()), headers)
print(json.load(urllib.request.urlopen(request))['accepted'])
try:
    urllib.request.urlopen(urllib.request.Request(url + '/v1/runs', b'no json'))
except urllib.error.HTTPError as error:
    print(error.code, 'reason' in json.load(error))
print(json.load(urllib.request.urlopen(url + '/readyz')))
";
    let (code, stdout, stderr) = output(&mut around_python(dir.path(), &[], script));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "5000\n400 True\n{'ready': True}\n");
    assert_eq!(stored_bodies(dir.path()).len(), 5000);
    assert_eq!(hub.get("/readyz").status, 200);
}
