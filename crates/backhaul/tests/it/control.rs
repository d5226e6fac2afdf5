//! The commands that change something, on a live hub or agent and on a resting spool alike.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backhaul::observability::RunRecord;
use backhaul::offline::OfflineQueue;
use backhaul::store::Timestamp;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::agent::Agent;
use crate::support::{
    BINARY, Hub, backhaul, command, noise, run, runs, stored, stored_in, wait_until,
};

/// Runs a command with `--json`: exit code and object.
#[track_caller]
pub(crate) fn ask(arguments: &[&str], data_dir: &Path) -> (i32, Value) {
    let arguments = [arguments, &["--json"]].concat();
    let (code, stdout, stderr) = backhaul(&arguments, data_dir);
    let object = serde_json::from_str(&stdout);
    (code, object.unwrap_or_else(|_| panic!("{arguments:?}: {code} {stdout} {stderr}")))
}

fn books(data_dir: &Path) -> Value {
    books_of(data_dir, "runs")
}

pub(crate) fn books_of(data_dir: &Path, spool: &str) -> Value {
    let (_, status) = ask(&["status"], data_dir);
    let books = status["spools"][spool]["books"].clone();
    assert_eq!(books["balance"], true, "{status}");
    books
}

/// A hub that refuses every record, on a port of its own, until the test ends.
fn refusing_hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = stream.read_exact(&mut body);
                let said = r#"{"error": "bad", "reason": "bad", "index": 0}"#;
                let _ = write!(
                    stream,
                    "HTTP/1.1 422 Bad\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{said}",
                    said.len()
                );
            });
        }
    });
    url
}

/// A data dir with a spool of this name, of a hub (`runs`) or of an agent (`offline`).
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: &'a Path,
    spool: &'static str,
}

/// Nobody that an agent could reach.
pub(crate) const NOBODY: &str = "http://127.0.0.1:9";

impl Place<'_> {
    fn path(self) -> PathBuf {
        self.dir.join(self.spool)
    }

    fn books(self) -> Value {
        books_of(self.dir, self.spool)
    }

    fn bytes(self) -> u64 {
        ask(&["status"], self.dir).1["spools"][self.spool]["bytes"].as_u64().unwrap()
    }

    fn socket(self) -> PathBuf {
        self.path().join("state/control.sock")
    }

    /// Stores records, as the one who keeps the spool does, and leaves it to rest. Gives how
    /// many there are.
    fn store(self, records: &str) -> u64 {
        let records: Vec<Value> = serde_json::from_str(records).unwrap();
        let count = records.len() as u64;
        if self.spool == "runs" {
            let hub = Hub::start(self.dir);
            let sent = hub.offer(1, &format!("1-{count}"), &json!(records).to_string());
            assert_eq!(sent.receipt(), (count, 0));
            hub.kill();
        } else {
            let queue = OfflineQueue::new(self.path()).unwrap();
            for record in records {
                queue
                    .enqueue(&RunRecord::from_json(record.to_string().as_bytes()).unwrap())
                    .unwrap();
            }
        }
        count
    }

    /// Leaves so many failed records, and nobody there.
    fn failed(self, count: u64) {
        assert_eq!(self.store(&runs(1..=count)), count);
        let url = refusing_hub();
        for _ in 0..20 {
            backhaul(&["sync", "--runs-url", &url], self.dir);
            if self.books()["rejected"] == count {
                return;
            }
        }
        panic!("{}", self.books());
    }

    fn start(self) -> Owner {
        match self.spool {
            "runs" => Owner::Hub(Hub::start(self.dir)),
            _ => Owner::Agent(Agent::start(self.dir, NOBODY)),
        }
    }
}

/// The process that a spool belongs to.
enum Owner {
    Hub(Hub),
    Agent(Agent),
}

/// A data dir of a hub with so many failed records, and nobody there.
fn failed(dir: &Path, count: u64) {
    Place { dir, spool: "runs" }.failed(count);
}

/// Does the same with a hub that runs, with an agent that delivers, and without them.
fn live_and_resting(prepare: impl Fn(Place<'_>), test: impl Fn(Place<'_>)) {
    for (spool, live) in [("runs", true), ("runs", false), ("offline", true), ("offline", false)] {
        let dir = tempdir().unwrap();
        let place = Place { dir: dir.path(), spool };
        prepare(place);
        let owner = live.then(|| place.start());
        assert_eq!(place.socket().exists() && is_answered(place), live);
        test(place);
        match owner {
            Some(Owner::Hub(hub)) => assert!(hub.terminate().1),
            Some(Owner::Agent(agent)) => agent.stop(),
            None => continue,
        }
        assert!(!place.socket().exists());
    }
}

fn is_answered(place: Place<'_>) -> bool {
    UnixStream::connect(place.socket()).is_ok()
}

#[test]
fn what_failed_is_put_back_by_name_or_all_at_once() {
    live_and_resting(
        |place| place.failed(3),
        |place| {
            let dir = place.dir;
            let (code, said) = ask(&["queue", "retry", "normal/2"], dir);
            assert_eq!((code, said), (0, json!({"requeued": 1, "unchanged": []})));
            // It waits already, which is what was wished for.
            let (code, said) = ask(&["queue", "retry", "normal/2"], dir);
            let waits = json!([{"id": "normal/2", "state": "pending"}]);
            assert_eq!((code, said), (0, json!({"requeued": 0, "unchanged": waits})));
            let (code, said) = ask(&["queue", "retry", "normal/1", "normal/9"], dir);
            let absent = json!([{"id": "normal/9", "state": "absent"}]);
            assert_eq!((code, said), (1, json!({"requeued": 1, "unchanged": absent})));
            let (code, said) = ask(&["queue", "retry", "--all"], dir);
            assert_eq!((code, &said["requeued"]), (0, &1.into()));
            let books = place.books();
            assert_eq!((&books["pending"], &books["rejected"]), (&3.into(), &0.into()));
        },
    );
}

#[test]
fn what_is_put_back_on_a_hub_that_forwards_goes_at_once() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    failed(from.path(), 3);
    let other = Hub::start(to.path());
    let url = format!("http://{}", other.address);
    let _hub = Hub::start_with(from.path(), &["--runs-url", &url]);
    assert_eq!(ask(&["queue", "retry", "--all"], from.path()).1["requeued"], 3);
    wait_until(|| stored(to.path()).len() == 3);
    assert_eq!(books(from.path())["delivered"], 3);
}

#[test]
fn only_what_is_named_is_dropped() {
    live_and_resting(
        |place| place.failed(3),
        |place| {
            let dir = place.dir;
            let (code, said) = ask(&["queue", "drop", "normal/1", "normal/3"], dir);
            assert_eq!((code, said), (0, json!({"dropped": 2, "unchanged": []})));
            let (code, said) = ask(&["queue", "drop", "normal/1"], dir);
            assert_eq!((code, &said["dropped"]), (1, &0.into()));
            let books = place.books();
            assert_eq!((&books["dropped"], &books["rejected"]), (&2.into(), &1.into()));
            for nothing in [&["queue", "drop"][..], &["queue", "retry"]] {
                assert_eq!(backhaul(nothing, dir).0, 2, "{nothing:?}");
            }
        },
    );
}

#[test]
fn whoever_is_at_a_terminal_is_asked_before_a_record_is_dropped() {
    let dir = tempdir().unwrap();
    failed(dir.path(), 2);
    let data_dir = dir.path().display();
    // script(1) runs a command on a terminal of its own.
    let answer = |answer: &str, more: &str| {
        let line = format!("{BINARY} queue drop normal/1 --data-dir {data_dir} {more}");
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        script.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = answer("no\n", "");
    assert!(code == Some(1) && said.contains("for good?"), "{code:?} {said}");
    assert_eq!(books(dir.path())["dropped"], 0);
    let (code, said) = answer("yes\n", "");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(books(dir.path())["dropped"], 1);
    let (code, said) = answer("", "--yes");
    assert!(code == Some(1) && !said.contains("for good?"), "{code:?} {said}");
}

#[test]
fn delivered_data_is_cleaned_and_still_known() {
    let to = tempdir().unwrap();
    let other = Hub::start(to.path());
    let url = format!("http://{}", other.address);
    let records = (1..=200).map(|number| {
        format!(
            "{{\"run_id\": \"run_{number}\", \"metadata\": {{\"noise\": \"{}\"}}}}",
            noise(number, 5000)
        )
    });
    let large = format!("[{}]", records.collect::<Vec<_>>().join(","));
    live_and_resting(
        |place| {
            assert_eq!(place.store(&large), 200);
            assert_eq!(backhaul(&["sync", "--runs-url", &url], place.dir).0, 0);
        },
        |place| {
            let dir = place.dir;
            let (code, said) = ask(&["clean", "--older-than", "1h"], dir);
            assert_eq!((code, &said["records"]), (0, &0.into()), "{said}");
            let before = place.bytes();
            let (code, said) = ask(&["clean", "--older-than", "0s"], dir);
            assert_eq!((code, &said["records"]), (0, &200.into()), "{said}");
            assert!(said["bytes"].as_u64().unwrap() > 0);
            assert_eq!(said["spools"][place.spool]["records"], 200);
            let after = place.bytes();
            assert!(after + 500_000 < before, "{before} {after}");
            assert_eq!(stored_in(&place.path()).len(), 0);
            assert_eq!(place.books()["delivered"], 200);
        },
    );
    // The hub that was killed before its first snapshot was cleaned at rest: what it had
    // received it knows all the same.
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-200", &runs(1..=200)).receipt(), (200, 0));
    hub.kill();
    assert_eq!(backhaul(&["sync", "--runs-url", &url], dir.path()).0, 0);
    assert_eq!(ask(&["clean", "--older-than", "0s"], dir.path()).1["records"], 200);
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-200", &runs(1..=200)).receipt(), (0, 200));
}

#[test]
fn what_waits_is_never_cleaned() {
    live_and_resting(
        |place| place.failed(3),
        |place| {
            let dir = place.dir;
            assert_eq!(ask(&["clean", "--older-than", "0s"], dir).1["records"], 0);
            assert_eq!(place.books()["rejected"], 3);
        },
    );
}

#[test]
fn an_outage_holds_records_back_until_it_is_turned_off() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let other = Hub::start(to.path());
    let url = format!("http://{}", other.address);
    let start = || Hub::start_with(from.path(), &["--runs-url", &url]);
    let hub = start();
    let (code, said) = ask(&["outage", "on"], from.path());
    let on = json!({"outage": {"left_seconds": null, "source": "switch"}});
    assert_eq!((code, &said), (0, &on));
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    let (code, report) = ask(&["sync"], from.path());
    assert_eq!((code, &report["blocked_by"]), (1, &"outage".into()), "{report}");
    let (_, status) = ask(&["status"], from.path());
    assert_eq!(status["outage"], on["outage"]);
    assert_eq!(status["spools"]["runs"]["courier"]["is_online"], false);
    let (_, text, _) = backhaul(&["status"], from.path());
    assert!(text.starts_with("OFFLINE: an outage was asked for"), "{text}");
    assert!(hub.get("/metrics").body.contains("\nbackhaul_outage 1\n"));
    // It outlives the process, and works for commands alone.
    hub.kill();
    let (code, report) = ask(&["sync", "--runs-url", &url], from.path());
    assert_eq!((code, &report["blocked_by"]), (1, &"outage".into()), "{report}");
    let _hub = start();
    assert_eq!(ask(&["sync"], from.path()).1["blocked_by"], "outage");
    assert_eq!(stored(to.path()).len(), 0);
    // Turned off, the courier goes on at once.
    assert_eq!(ask(&["outage", "off"], from.path()), (0, json!({"outage": null})));
    wait_until(|| stored(to.path()).len() == 3);
}

#[test]
fn an_outage_for_a_time_says_how_much_is_left_and_ends() {
    live_and_resting(
        |_| {},
        |place| {
            let dir = place.dir;
            let (code, said) = ask(&["outage", "for", "10m"], dir);
            let left = said["outage"]["left_seconds"].as_u64().unwrap();
            assert!(code == 0 && left > 590 && left <= 600, "{said}");
            let (_, text, _) = backhaul(&["outage", "for", "1s"], dir);
            assert!(text.contains("for 1 s more"), "{text}");
            let patience = Instant::now() + Duration::from_secs(30);
            let outage = || {
                let (_, status) = ask(&["status"], dir);
                status["outage"].clone()
            };
            if place.path().exists() {
                while !outage().is_null() {
                    assert!(Instant::now() < patience);
                }
            }
            assert_eq!(backhaul(&["outage", "for", "0m"], dir).0, 2);
        },
    );
}

#[test]
fn an_outage_of_the_settings_lasts_as_long_as_the_process() {
    let dir = tempdir().unwrap();
    let mut serve = command(&["serve", "--runs-url", "http://127.0.0.1:9"]);
    let hub = Hub::try_start(serve.env("BACKHAUL_OUTAGE", "on"), dir.path());
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    let (code, said) = ask(&["outage", "off"], dir.path());
    assert_eq!((code, &said["outage"]["source"]), (1, &"setting".into()));
    assert_eq!(ask(&["sync"], dir.path()).1["blocked_by"], "outage");
    drop(hub);
    let mut serve = command(&["serve", "--data-dir"]);
    let output = serve.arg(dir.path()).env("BACKHAUL_OUTAGE", "maybe").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("BACKHAUL_OUTAGE is \"maybe\""));
}

#[test]
fn the_switch_of_a_data_dir_holds_for_all_its_spools_wherever_they_lie() {
    let (data_dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    for queue in [data_dir.path(), elsewhere.path()] {
        let queue = OfflineQueue::new(queue.join("offline")).unwrap();
        queue.enqueue(&RunRecord::new("run_1", Timestamp::from_micros(1))).unwrap();
    }
    assert_eq!(backhaul(&["outage", "on"], data_dir.path()).0, 0);
    let sync = ["sync", "--json", "--runs-url", "http://127.0.0.1:9"];
    let named = [
        command(&sync).env("BACKHAUL_DATA_DIR", data_dir.path().join("offline")).output(),
        command(&sync)
            .env("BACKHAUL_DATA_DIR", data_dir.path())
            .env("BACKHAUL_STORAGE_PATH", elsewhere.path().join("offline"))
            .output(),
    ];
    for output in named {
        let report: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        assert_eq!((&report["remaining"], &report["blocked_by"]), (&1.into(), &"outage".into()));
    }
}

#[test]
fn the_queue_of_an_agent_is_operated_on_beside_the_agent_and_without_it() {
    let dir = tempdir().unwrap();
    let queue = OfflineQueue::new(dir.path().join("offline")).unwrap();
    for number in 0..3 {
        let at = Timestamp::from_micros(number);
        queue.enqueue(&RunRecord::new(format!("run_{number}"), at)).unwrap();
    }
    // The agent that has it open does not deliver, and lets the command have the part.
    assert_eq!(
        ask(&["queue", "drop", "normal/1"], dir.path()),
        (0, json!({"dropped": 1, "unchanged": []}))
    );
    // A hub that runs beside it has another spool.
    let hub = Hub::start(dir.path());
    assert_eq!(ask(&["queue", "drop", "normal/2"], dir.path()).1["dropped"], 1);
    drop((queue, hub));
    assert_eq!(
        ask(&["queue", "drop", "normal/3", "--spool", "offline"], dir.path()).1["dropped"],
        1
    );
    let (_, status) = ask(&["status"], dir.path());
    assert_eq!(status["spools"]["offline"]["books"]["dropped"], 3);
}

// --- The socket ------------------------------------------------------------

/// Of a hub, in its data dir.
const SOCKET: &str = "runs/state/control.sock";

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Asks over the socket without any client: status and body.
fn speak(data_dir: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    speak_at(&data_dir.join(SOCKET), method, path, body)
}

pub(crate) fn speak_at(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_socket_is_the_owners_and_goes_with_the_process() {
    let dir = tempdir().unwrap();
    let socket = dir.path().join(SOCKET);
    let hub = Hub::start(dir.path());
    let mode = std::fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert!(is_socket(&socket));
    assert_eq!(mode & 0o777, 0o600);
    assert!(hub.terminate().1);
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_a_killed_process_left_is_replaced_and_hides_nothing() {
    let dir = tempdir().unwrap();
    let socket = dir.path().join(SOCKET);
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    hub.kill();
    assert!(is_socket(&socket));
    // Nobody listens: commands do their work themselves.
    assert_eq!(ask(&["queue", "drop", "normal/1"], dir.path()).1["dropped"], 1);
    assert_eq!(ask(&["status"], dir.path()).1["spools"]["runs"]["pending"], 2);
    let _hub = Hub::start(dir.path());
    assert_eq!(speak(dir.path(), "GET", "/v1/status", "").0, 200);
}

#[test]
fn the_second_of_two_daemons_is_refused_and_the_first_goes_on() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let (code, _, stderr) = backhaul(&["serve", "--listen", "127.0.0.1:0"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("another process serves from"), "{stderr}");
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    assert_eq!(speak(dir.path(), "GET", "/v1/status", "").0, 200);
}

#[test]
fn a_data_dir_with_a_long_path_has_a_socket_too() {
    let dir = tempdir().unwrap();
    let long = dir.path().join("x".repeat(120)).join("y".repeat(120));
    let hub = Hub::start(&long);
    assert_eq!(hub.post(&runs(1..=2)).receipt(), (2, 0));
    assert!(is_socket(&long.join(SOCKET)));
    let (_, status) = ask(&["status"], &long);
    assert_eq!(status["spools"]["runs"]["forwards"], false);
    assert_eq!(ask(&["queue", "drop", "normal/1"], &long).1["dropped"], 1);
    assert!(hub.terminate().1);
    assert!(!long.join(SOCKET).exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = tempdir().unwrap();
    assert!(Hub::start(dir.path()).terminate().1);
    std::fs::write(dir.path().join(SOCKET), "mine").unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    hub.terminate();
    assert_eq!(std::fs::read(dir.path().join(SOCKET)).unwrap(), b"mine");
}

/// Runs a shell command as another user, with this test's files in reach.
fn as_nobody(script: &str) -> std::process::Output {
    setpriv(script).output().unwrap()
}

/// These tests need root, as in CI.
fn setpriv(script: &str) -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(
        status.lines().any(|line| line.starts_with("Uid:\t0\t")),
        "This test becomes another user: it needs root and setpriv(1)."
    );
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script]);
    // The home folder is still that of root.
    command.env("BACKHAUL_CONFIG", "/dev/null");
    command
}

#[test]
fn another_user_is_not_let_in() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&run(1)).receipt(), (1, 0));
    // A copy of the program that the other user can run.
    let binary = dir.path().join("backhaul");
    std::fs::copy(BINARY, &binary).unwrap();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let socket = dir.path().join(SOCKET);
    for folder in ["", "runs", "runs/state"] {
        open(&dir.path().join(folder), 0o755);
    }
    let drop = format!("{} outage on --data-dir {}", binary.display(), dir.path().display());
    let output = as_nobody(&drop);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("belongs to another user"), "{said}");
    // Also where the file lets everybody in, its owner does not.
    open(&socket, 0o666);
    let output = as_nobody(&drop);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("does not answer") || said.contains("is not asked"), "{said}");
    assert_eq!(ask(&["status"], dir.path()).1["outage"], Value::Null);
}

#[test]
fn a_socket_of_another_user_is_not_asked() {
    let dir = tempdir().unwrap();
    assert!(Hub::start(dir.path()).terminate().1);
    let folder = dir.path().join("runs/state");
    for (path, mode) in [(dir.path(), 0o755), (&dir.path().join("runs"), 0o755), (&folder, 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let script = format!(
        "cd {} && exec python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); \
         s.bind(\"control.sock\"); s.listen(); print(1, flush=True); s.accept()'",
        folder.display()
    );
    let mut impostor = setpriv(&script).stdout(std::process::Stdio::piped()).spawn().unwrap();
    impostor.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let (code, _, stderr) = backhaul(&["outage", "on"], dir.path());
    impostor.kill().unwrap();
    impostor.wait().unwrap();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("user id 65534"), "{stderr}");
}

#[test]
fn a_process_that_does_not_answer_is_said_and_the_files_are_read() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    hub.kill();
    let socket = dir.path().join(SOCKET);
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let hangs_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let (code, stdout, stderr) = backhaul(&["status", "--json"], dir.path());
    hangs_up.join().unwrap();
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &status["spools"]["runs"]["pending"]), (0, &3.into()));
    assert!(stderr.contains("does not answer"), "{stderr}");
}

#[test]
fn the_routes_are_what_their_page_says() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.post(&runs(1..=3)).receipt(), (3, 0));
    let (status, body) = speak(dir.path(), "GET", "/v1/status", "");
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &said["process"]), (200, &hub.process().into()));
    assert_eq!(said["spool"]["pending_by_lane"], json!({"normal": 3}));
    assert_eq!(speak(dir.path(), "GET", "/metrics", "").1, hub_metrics(&hub));
    for (method, path, body, status) in [
        ("POST", "/v1/drop", r#"{"ids": ["normal/1"]}"#, 200),
        ("POST", "/v1/drop", r#"{"ids": []}"#, 400),
        ("POST", "/v1/drop", r#"{"ids": ["nonsense"]}"#, 400),
        ("POST", "/v1/drop", "", 400),
        ("POST", "/v1/spools/runs/drop", r#"{"ids": ["normal/1"]}"#, 404),
        ("POST", "/v1/retry", r#"{"all": true}"#, 200),
        ("POST", "/v1/retry", r#"{"all": true, "ids": ["normal/1"]}"#, 400),
        ("POST", "/v1/retry", r#"{"everything": true}"#, 400),
        ("POST", "/v1/clean", r#"{"older_than_seconds": 0}"#, 200),
        ("POST", "/v1/clean", "{}", 400),
        ("POST", "/v1/sync", "{}", 404),
        ("PUT", "/v1/outage", r#"{"for_seconds": 0}"#, 400),
        ("PUT", "/v1/outage", "", 200),
        ("GET", "/v1/outage", "", 200),
        ("DELETE", "/v1/outage", "", 200),
        ("POST", "/v1/outage", "", 405),
        ("GET", "/v2/status", "", 404),
    ] {
        let (found, said) = speak(dir.path(), method, path, body);
        assert_eq!(found, status, "{method} {path} {body}: {said}");
        assert!(serde_json::from_str::<Value>(&said).is_ok(), "{said}");
    }
    assert_eq!(books(dir.path())["dropped"], 1);
}

/// Without the request that asks, which counts itself after it is answered.
fn hub_metrics(hub: &Hub) -> String {
    hub.get("/metrics").body
}
