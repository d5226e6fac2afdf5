//! The process that is killed, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What agents have said, one after the other.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The runs that were said to have ended.
    pub(super) ended: BTreeSet<String>,
    /// Of these: the ones that a later process went on with.
    pub(super) went_on: BTreeSet<String>,
    /// How often each message came to the people on duty, by its key.
    pub(super) messages: BTreeMap<String, u64>,
    /// The device's clocks, where they are moved: wall and since boot, in microseconds.
    pub(super) clock: Option<(i64, u64)>,
    /// Lines that speak of anything else than success.
    pub(super) trouble: Vec<String>,
}

impl Said {
    fn note(&mut self, line: &str) {
        if let Some(message) = line.strip_prefix("to the people on duty: ") {
            let key = message.rsplit_once('(').unwrap().1.trim_end_matches(')');
            *self.messages.entry(key.to_owned()).or_default() += 1;
        } else if let Some((run_id, rest)) = line.split_once(" went on, and is ") {
            self.ended.insert(run_id.to_owned());
            self.went_on.insert(run_id.to_owned());
            self.is_success(rest, line);
        } else if let Some((run_id, rest)) = line.split_once(" is ")
            && run_id.starts_with("run_")
        {
            self.ended.insert(run_id.to_owned());
            self.is_success(rest, line);
        } else if let Some(clocks) = line.strip_prefix("clock ") {
            let (wall, since_boot) = clocks.split_once(' ').unwrap();
            self.clock = Some((wall.parse().unwrap(), since_boot.parse().unwrap()));
        } else if line.starts_with("trouble: ") {
            self.trouble.push(line.to_owned());
        }
    }

    fn is_success(&mut self, status: &str, line: &str) {
        if !status.starts_with("completed") {
            self.trouble.push(line.to_owned());
        }
    }
}

/// An agent. It is killed when it is dropped.
pub(super) struct Agent {
    child: Child,
    listener: Option<JoinHandle<()>>,
}

impl Agent {
    pub(super) fn start(mut command: Command, errors: &Path, said: &Arc<Mutex<Said>>) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(errors).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::clone(said);
        let listener = std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).unwrap() > 0 {
                // A kill may end the last line early: what is not said whole is not said.
                if let Some(whole) = line.strip_suffix('\n') {
                    heard(&said).note(whole);
                }
                line.clear();
            }
        });
        Self { child, listener: Some(listener) }
    }

    /// `kill -9`; what it has said until then is noted.
    pub(super) fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it ended by itself: see its errors");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.listener.take().unwrap().join().unwrap();
    }

    /// Control-C, as a person ends it.
    pub(super) fn interrupt(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let end = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success());
        self.listener.take().unwrap().join().unwrap();
    }

    /// The memory that it has made for itself, in KB.
    pub(super) fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(super) fn descriptors(&self) -> u64 {
        std::fs::read_dir(self.proc("fd")).unwrap().count() as u64
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn heard(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap()
}
