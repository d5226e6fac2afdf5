//! Reading all that a store holds, in a process that may crash or hang.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc;
use std::time::Duration;

use super::Peer;
use super::process::Group;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a store gave, and how that ended.
#[derive(Debug)]
pub struct Answer {
    pub records: Vec<Vec<u8>>,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// The store's own error.
    Error(String),
    /// Its process ended.
    Crashed,
    /// Nothing came for long.
    Hung,
}

/// What becomes of records that were read.
#[derive(Clone, Copy)]
pub enum After {
    Keep,
    Settle,
}

/// Reads stores one after the other, in one process for as long as that lives.
pub struct Reader {
    peer: Peer,
    after: After,
    process: Option<Process>,
}

struct Process {
    group: Group,
    asks: ChildStdin,
    says: mpsc::Receiver<Answer>,
}

impl Reader {
    pub fn new(peer: Peer, after: After) -> Self {
        Self { peer, after, process: None }
    }

    /// All that the store in a folder gives.
    pub fn read(&mut self, dir: &Path) -> Answer {
        let mut process =
            self.process.take().unwrap_or_else(|| Process::start(self.peer, self.after));
        // One that is gone is noticed below.
        let _ = writeln!(process.asks, "{}", dir.display());
        let answer = process.answer();
        if matches!(answer.end, End::Done | End::Error(_)) {
            self.process = Some(process);
        }
        answer
    }
}

impl Process {
    fn start(peer: Peer, after: After) -> Self {
        let after = match after {
            After::Keep => "keep",
            After::Settle => "settle",
        };
        let mut group = peer.start("read", &[after]);
        let asks = group.0.stdin.take().expect("piped");
        let mut says = BufReader::new(group.0.stdout.take().expect("piped"));
        let (sender, answers) = mpsc::channel();
        // Python may take long to begin, which is not the store's.
        says.read_line(&mut String::new()).expect("ready");
        std::thread::spawn(move || answer_all(says, &sender));
        Self { group, asks, says: answers }
    }

    fn answer(&self) -> Answer {
        let gone = || Answer { records: Vec::new(), end: End::Crashed };
        match self.says.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Disconnected) => gone(),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.group.kill();
                Answer { end: End::Hung, ..self.says.recv().unwrap_or_else(|_| gone()) }
            }
        }
    }
}

/// Collects what a process says, until it ends.
fn answer_all(mut says: BufReader<ChildStdout>, answers: &mpsc::Sender<Answer>) {
    let (mut records, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let is_over = says.read_until(b'\n', &mut line).unwrap_or(0) == 0;
        let end = match line.trim_ascii_end() {
            _ if is_over => End::Crashed,
            b"done" => End::Done,
            said if said.starts_with(b"=") => {
                records.push(line[1..].strip_suffix(b"\n").unwrap_or(&line[1..]).to_vec());
                continue;
            }
            said => End::Error(String::from_utf8_lossy(said).trim_start_matches("error ").into()),
        };
        let answer = Answer { records: std::mem::take(&mut records), end };
        if answers.send(answer).is_err() || is_over {
            return;
        }
    }
}
