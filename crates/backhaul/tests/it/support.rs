//! Starts `backhaul serve`, speaks HTTP to it, and counts what it stored.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backhaul::config::is_variable;
use backhaul::store::{Spool, StoredRecord};
use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_backhaul");

/// A device that sends, as it stands in `Backhaul-Source`.
pub(crate) const SOURCE: &str = "6ba7b8109dad11d180b400c04fd430c8/0000beef/normal";

/// A `backhaul serve` process, killed when it is dropped.
pub(crate) struct Hub {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it has written to stderr.
    said: Arc<Mutex<String>>,
    /// The lines after the first ones, for those who wait for one.
    lines: Mutex<Receiver<String>>,
}

impl Hub {
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    pub(crate) fn start_with(data_dir: &Path, options: &[&str]) -> Self {
        Self::try_start(command(&["serve"]).args(options), data_dir)
    }

    /// Starts where another hub was before.
    pub(crate) fn start_at(data_dir: &Path, address: SocketAddr) -> Self {
        Self::spawn(&mut command(&["serve"]), data_dir, &address.to_string())
    }

    pub(crate) fn try_start(serve: &mut Command, data_dir: &Path) -> Self {
        Self::spawn(serve, data_dir, "127.0.0.1:0")
    }

    fn spawn(serve: &mut Command, data_dir: &Path, listen: &str) -> Self {
        Self::run(serve.args(["--listen", listen, "--data-dir"]).arg(data_dir))
    }

    /// Runs a command line that says everything.
    pub(crate) fn run(serve: &mut Command) -> Self {
        let mut child = serve
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "serve ended: {said}");
            said.push_str(&line);
            if let Some(rest) = line.strip_prefix("listening on http://") {
                break rest.split(',').next().unwrap().parse().unwrap();
            }
        };
        let said = Arc::new(Mutex::new(said));
        let (tell, lines) = mpsc::channel();
        let listener = Arc::clone(&said);
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| {
                listener.lock().unwrap().push_str(&format!("{line}\n"));
                tell.send(line)
            })
        });
        Self { child, address, said, lines: Mutex::new(lines) }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits for a line on stderr that has this in it, from the last one on that was waited for.
    #[track_caller]
    pub(crate) fn says(&self, wanted: &str) -> String {
        loop {
            let line = self.lines.lock().unwrap().recv_timeout(Duration::from_secs(60));
            match line.unwrap_or_else(|error| panic!("{error} while waiting for {wanted:?}")) {
                line if line.contains(wanted) => return line,
                _ => {}
            }
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives how long the process took to end, and whether it ended well.
    pub(crate) fn terminate(mut self) -> (Duration, bool) {
        let began = Instant::now();
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        (began.elapsed(), status.success())
    }

    /// The most memory that the process ever had, in KB.
    pub(crate) fn peak_resident_kb(&self) -> u64 {
        self.memory_kb("VmHWM:")
    }

    /// The memory that the process has made for itself and has now, in KB.
    pub(crate) fn own_resident_kb(&self) -> u64 {
        self.memory_kb("RssAnon:")
    }

    fn memory_kb(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn post(&self, body: &str) -> Reply {
        self.send(&[], body.as_bytes())
    }

    /// Posts records as the backhaul `SOURCE` does.
    pub(crate) fn offer(&self, floor: u64, sequences: &str, body: &str) -> Reply {
        self.send(&origin(SOURCE, floor, sequences), body.as_bytes())
    }

    pub(crate) fn send(&self, headers: &[(String, String)], body: &[u8]) -> Reply {
        self.request("POST", "/v1/runs", headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Reply {
        let mut stream = self.connect();
        stream.write_all(&head(method, path, headers, body.len())).unwrap();
        // A refused sender may be cut off while it writes; the answer is there already.
        let _ = stream.write_all(body);
        Reply::read(stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn head(
    method: &str,
    path: &str,
    headers: &[(String, String)],
    length: usize,
) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
    head.into_bytes()
}

pub(crate) fn origin(source: &str, floor: u64, sequences: &str) -> Vec<(String, String)> {
    vec![
        header("Backhaul-Source", source),
        header("Backhaul-Floor", floor),
        header("Backhaul-Sequences", sequences),
    ]
}

pub(crate) fn header(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Accepted and duplicates of a 200.
    #[track_caller]
    pub(crate) fn receipt(&self) -> (u64, u64) {
        assert_eq!(self.status, 200, "{self:?}");
        let json = self.json();
        (json["accepted"].as_u64().unwrap(), json["duplicates"].as_u64().unwrap())
    }

    /// Status, and the index of the record to blame.
    pub(crate) fn refusal(&self) -> (u16, Option<u64>) {
        let json = self.json();
        assert!(json["error"].is_string() && json["reason"].is_string(), "{self:?}");
        (self.status, json.get("index").and_then(Value::as_u64))
    }
}

/// What the hub of a data dir has stored, read from its files.
pub(crate) fn stored(data_dir: &Path) -> Vec<StoredRecord> {
    stored_in(&data_dir.join("runs"))
}

/// What lies in a spool, read from its files.
pub(crate) fn stored_in(spool: &Path) -> Vec<StoredRecord> {
    let spool = Spool::open_read_only(spool).unwrap();
    let mut records = Vec::new();
    let visit = &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    };
    spool.each_from(&Default::default(), visit).unwrap();
    records
}

pub(crate) fn stored_bodies(data_dir: &Path) -> Vec<String> {
    stored(data_dir).into_iter().map(|record| String::from_utf8(record.body).unwrap()).collect()
}

/// `[{"run_id": "run_<first>"}, …]`, one for each number.
pub(crate) fn runs(numbers: impl IntoIterator<Item = u64>) -> String {
    let records: Vec<String> = numbers.into_iter().map(run).collect();
    format!("[{}]", records.join(","))
}

pub(crate) fn run(number: u64) -> String {
    format!("{{\"run_id\": \"run_{number}\"}}")
}

/// Text that does not shrink, another for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    std::iter::repeat_with(word).take(len.div_ceil(16)).collect()
}

/// The binary, away from the environment of whoever runs the tests.
pub(crate) fn command(arguments: &[&str]) -> Command {
    alone(Command::new(BINARY), arguments)
}

/// A program that is or starts the binary, away from the environment of whoever runs the
/// tests.
pub(crate) fn alone(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for variable in set.filter(|name| is_variable(name)) {
        command.env_remove(variable);
    }
    command.env("BACKHAUL_CONFIG", "/dev/null");
    command
}

/// Runs the binary on a data dir: exit code, stdout, stderr.
pub(crate) fn backhaul(arguments: &[&str], data_dir: &Path) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        command(arguments).arg("--data-dir").arg(data_dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Waits for what other processes do.
#[track_caller]
pub(crate) fn wait_until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "it did not come to that");
        std::thread::sleep(Duration::from_millis(50));
    }
}
