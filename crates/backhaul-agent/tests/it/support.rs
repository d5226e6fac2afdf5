//! A clock that stands still until it is moved, a logger of somebody else's, and the way
//! to Python.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use backhaul_agent::{
    InMemoryRunLogger, RunEnd, RunEvent, RunLogger, RunLoggerError, RunRecord, RunStart,
};
use backhaul_store::{Clock, Moment, Timestamp};

#[derive(Debug)]
pub(crate) struct TestClock(Mutex<Moment>);

impl TestClock {
    /// 2024-01-15T10:30:00Z.
    pub(crate) fn new() -> Self {
        let wall = Timestamp::from_micros(1_705_314_600_000_000);
        Self(Mutex::new(Moment { wall, since_boot: Duration::ZERO }))
    }

    pub(crate) fn advance(&self, time: Duration) {
        let mut moment = self.0.lock().unwrap();
        let micros = i64::try_from(time.as_micros()).unwrap();
        moment.wall = Timestamp::from_micros(moment.wall.as_micros() + micros);
        moment.since_boot += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        self.0.lock().unwrap().clone()
    }

    fn boot_id(&self) -> &str {
        "test"
    }
}

/// A logger of somebody else's: it only does what every logger has to, and knows nothing
/// of delivery.
pub(crate) struct Foreign(pub(crate) InMemoryRunLogger);

impl RunLogger for Foreign {
    fn start_run(&self, start: RunStart) {
        self.0.start_run(start);
    }
    fn record(&self, event: RunEvent) {
        self.0.record(event);
    }
    fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError> {
        self.0.end_run(end)
    }
    fn get_current_record(&self) -> Option<RunRecord> {
        self.0.get_current_record()
    }
}

pub(crate) fn fixture_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Runs Python with `input`; its output. No Python is a failure, never a skip.
pub(crate) fn python(arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("python3")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests compare with the real python3, which has to be installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "python3 failed: {text}");
    text
}
