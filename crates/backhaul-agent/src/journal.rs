//! A journal per open run, so that a crash loses nothing that was recorded.
//!
//! # Format
//! `running/<second>_<random>.jsonl` below the queue's path holds JSON Lines. The first
//! is `{"backhaul_journal": 1, "at": …, "start": <the record so far>}`, each event is
//! `{"at": …, "kind": …, "event": …}`, and the end, if it came to that, is
//! `{"at": …, "end": <the record without its events>}`. Times are upstream's.
//!
//! # Protocol
//! - The file is made under another name, locked, written, flushed and then named:
//!   whoever sees a journal sees its start, and a lock as long as its owner lives.
//! - Each event is written at once, which survives the end of the process; it is
//!   flushed only where that was asked for.
//! - The journal goes when its record is on stable storage, and not before.
//! - It takes room from the queue's cap before it grows, by whole blocks, and gives it
//!   back when it goes.
//! - What the disk does not take, or the cap, is written with the next event, up to a
//!   limit. The run goes on in memory meanwhile, and the queue's stats say so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backhaul_store::{Disk, DiskFile, FileRoom, Open, Spool, Timestamp};
use serde_json::Value;

use crate::journal_alarm::{JournalAlarm, RaisedAlarm};
use crate::json::{self, Style};
use crate::run_builder::{RunBuilder, RunEvent};
use crate::run_record::RunRecord;
use crate::run_span::RunEnd;
use crate::shape::{Entry, Node};
use crate::time;

/// The folder of the journals, below the queue's path.
pub(crate) const RUNNING: &str = "running";
/// What the name of a journal ends with.
pub(crate) const SUFFIX: &str = ".jsonl";
/// What the name of a journal ends with that was never begun.
pub(crate) const UNFINISHED: &str = ".jsonl.tmp";
/// Bytes of events kept for a disk that does not take them. They are in the run's
/// record too, so that this only bounds what a crash can lose.
const MOST_UNWRITTEN: usize = 1_000_000;
const FORMAT: i64 = 1;

/// The journal of one open run.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    room: FileRoom,
    /// Open once the journal has its name.
    file: Option<Box<dyn DiskFile>>,
    offset: u64,
    unwritten: Vec<u8>,
    flush_events: bool,
    state: State,
    alarm: JournalAlarm,
    /// There while something is missing in the journal.
    raised: Option<RaisedAlarm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    /// The disk does not take it; tried again with each event.
    Behind,
    /// Events are missing: nothing is written any more.
    GivenUp,
}

impl Journal {
    /// Begins the journal of a run in a queue's spool. Never fails: a disk in trouble,
    /// or without room, is tried again with each event.
    pub(crate) fn begin(
        spool: &Spool,
        alarm: &JournalAlarm,
        run: &RunRecord,
        now: Timestamp,
        flush_events: bool,
    ) -> Self {
        let (_, random) = uuid::Uuid::new_v4().as_u64_pair();
        let name = format!("{}_{random:016x}{SUFFIX}", now.file_name_second());
        let path = spool.dir().join(RUNNING).join(name);
        let mut journal = Self {
            disk: Arc::clone(spool.disk()),
            room: spool.room_for_file(&path, run.lane()),
            path,
            file: None,
            offset: 0,
            unwritten: Vec::new(),
            flush_events,
            state: State::Fine,
            alarm: alarm.clone(),
            raised: None,
        };
        let format = ("backhaul_journal", Node::Owned(FORMAT.into()));
        let entries = vec![format, at(now), ("start", run.shape())];
        journal.write(line_of(entries));
        journal
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, event: &RunEvent, now: Timestamp) {
        let [kind, event] = event.entries();
        self.write(line_of(vec![at(now), kind, event]));
    }

    /// Adds the end: a crash after this loses nothing of the run.
    pub(crate) fn end(&mut self, record: &RunRecord, now: Timestamp) {
        let mut end = RunRecord::new(record.run_id.as_str(), record.started_at);
        end.final_context = record.final_context.clone();
        end.completed_at = record.completed_at;
        end.success = record.success;
        end.error = record.error.clone();
        end.metadata = record.metadata.clone();
        self.write(line_of(vec![at(now), ("end", end.shape())]));
    }

    /// The run's record is on stable storage: the journal has served.
    pub(crate) fn remove(self) {
        // Not synced: a journal that comes back with a power cut is found to be stored.
        match self.disk.remove(&self.path) {
            Err(error) if self.file.is_some() && error.kind() != io::ErrorKind::NotFound => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "a journal that has served stays");
            }
            _ => self.room.give_back(),
        }
    }

    fn write(&mut self, line: Vec<u8>) {
        if self.state == State::GivenUp {
            return;
        }
        if self.state == State::Behind && self.unwritten.len() + line.len() > MOST_UNWRITTEN {
            tracing::error!(path = %self.path.display(), "the journal of a run is given up");
            self.state = State::GivenUp;
            self.unwritten = Vec::new();
            return;
        }
        self.unwritten.extend(line);
        match self.write_out() {
            Ok(()) => {
                if self.state == State::Behind {
                    tracing::info!(path = %self.path.display(), "the journal of a run is whole again");
                }
                self.state = State::Fine;
                self.raised = None;
            }
            Err(error) => {
                if self.raised.is_none() {
                    let path = self.path.display();
                    tracing::error!(%path, %error, "the journal of a run cannot be written");
                    let why = format!("the journal of an open run cannot be written: {error}");
                    self.raised = Some(self.alarm.raise(why));
                }
                self.state = State::Behind;
            }
        }
    }

    /// Writes what is not written yet where it belongs. After a write or a flush that
    /// failed, the same bytes are written over it.
    fn write_out(&mut self) -> io::Result<()> {
        let len = self.offset + self.unwritten.len() as u64;
        self.room.reserve(len).map_err(io::Error::other)?;
        match &self.file {
            Some(file) => {
                file.write_all_at(&self.unwritten, self.offset)?;
                if self.flush_events {
                    file.flush()?;
                }
            }
            None => self.file = Some(self.create()?),
        }
        self.offset = len;
        self.unwritten.clear();
        Ok(())
    }

    /// Under the one name at every try, and nothing of a try that failed is left.
    fn create(&self) -> io::Result<Box<dyn DiskFile>> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        self.disk.create_dir_all(dir)?;
        let temporary = self.path.with_extension("jsonl.tmp");
        let created = self.create_at(&temporary, dir);
        if created.is_err() {
            let _ = self.disk.remove(&temporary);
            let _ = self.disk.remove(&self.path);
        }
        created
    }

    fn create_at(&self, temporary: &Path, dir: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(temporary, Open::CreateNew)?;
        if !file.try_lock()? {
            return Err(io::Error::other("somebody else has locked the new journal"));
        }
        file.write_all_at(&self.unwritten, 0)?;
        file.flush()?;
        self.disk.rename(temporary, &self.path)?;
        self.disk.sync_dir(dir)?;
        Ok(file)
    }
}

/// What a journal tells of a run.
#[derive(Debug)]
pub(crate) struct Told {
    /// The run as far as it got: ended, or interrupted.
    pub(crate) record: RunRecord,
    /// Whether it ended.
    pub(crate) has_ended: bool,
    /// Lines that cannot be read; a torn last line is none of them.
    pub(crate) damaged_lines: usize,
}

/// Why nothing can be told from a journal.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// A newer version wrote it.
    Newer,
    /// It is not what this program writes.
    Damaged(String),
}

/// Reads a journal whose owner is gone.
pub(crate) fn read(bytes: &[u8]) -> Result<Told, Unreadable> {
    let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
    let start = lines.next().unwrap_or_default();
    let (mut run, mut last) = read_start(start)?;
    let (mut damaged_lines, mut end) = (0, None);
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        match read_line(line) {
            Some((at, Line::Event(event))) => {
                run.record(*event);
                last = at;
            }
            Some((_, Line::End(record))) => end = Some(*record),
            None if is_last => {}
            None => damaged_lines += 1,
        }
    }
    let has_ended = end.is_some();
    let record = match end {
        Some(end) => {
            let completed_at = end.completed_at.unwrap_or(last);
            run.finish(RunEnd::of(&end), completed_at)
        }
        None => run.interrupt("the process ended before the run did", last),
    };
    Ok(Told { record, has_ended, damaged_lines })
}

enum Line {
    Event(Box<RunEvent>),
    End(Box<RunRecord>),
}

fn read_start(line: &[u8]) -> Result<(RunBuilder, Timestamp), Unreadable> {
    let damaged = |why: String| Unreadable::Damaged(why);
    let mut value = json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
    match value.get("backhaul_journal").and_then(Value::as_i64) {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => return Err(Unreadable::Newer),
        _ => return Err(damaged("the first line does not begin a journal".to_owned())),
    }
    let at = time_of(&value).unwrap_or(Timestamp::from_micros(0));
    let start = value.get_mut("start").map(Value::take).unwrap_or_default();
    let record = RunRecord::from_value_at(start, at).map_err(|error| damaged(error.to_string()))?;
    Ok((RunBuilder::resume(record), at))
}

fn read_line(line: &[u8]) -> Option<(Timestamp, Line)> {
    let mut value = json::from_slice(line).ok()?;
    let at = time_of(&value)?;
    if let Some(end) = value.get_mut("end") {
        let record = RunRecord::from_value_at(end.take(), at).ok()?;
        return Some((at, Line::End(Box::new(record))));
    }
    let event = RunEvent::from_value(value).ok()?;
    Some((at, Line::Event(Box::new(event))))
}

fn time_of(value: &Value) -> Option<Timestamp> {
    time::parse(value.get("at")?.as_str()?)
}

fn at(time: Timestamp) -> Entry<'static> {
    ("at", Node::Owned(time::isoformat(time).into()))
}

fn line_of(entries: Vec<Entry<'_>>) -> Vec<u8> {
    let mut line = Node::Object(entries).to_vec(Style::Compact);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::queue::OfflineQueue;
    use crate::run_builder::INTERRUPTED;
    use crate::run_span::RunStart;
    use crate::tool_call::ToolCall;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn call(id: i64) -> RunEvent {
        RunEvent::ToolCall(ToolCall::new("t", json!({"n": id}), json!({})))
    }

    /// The bytes of a journal with a start and two events, and the run so far.
    fn journal(dir: &Path) -> (Journal, RunBuilder, PathBuf) {
        let start = RunStart::new("a/b\n").metadata("k", json::float(f64::NAN));
        let mut run = RunBuilder::start(start, second(1));
        let queue = OfflineQueue::builder(dir).maintenance_thread(false).open().unwrap();
        let mut journal = queue.begin_journal(run.current(), second(1), false);
        for at in [2, 3] {
            let event = call(at);
            journal.event(&event, second(at));
            run.record(event);
        }
        let path = journal.path.clone();
        (journal, run, path)
    }

    #[test]
    fn lines_are_those_of_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, run, path) = journal(dir.path());
        let record = |end: &str| {
            String::from(
                r#"{"run_id":"a/b\n","dag_name":"","initial_context":null,"final_context":null,"#,
            ) + r#""patches":[],"tool_calls":[],"llm_calls":[],"#
                + r#""started_at":"1970-01-01T00:00:01+00:00","#
                + end
                + r#","metadata":{"k":NaN},"total_cost_usd":0.0}"#
        };
        let start = record(r#""completed_at":null,"success":true,"error":null"#);
        let end =
            record(r#""completed_at":"1970-01-01T00:00:09+00:00","success":false,"error":"no""#);
        let event = |at, call: &ToolCall| {
            let call = String::from_utf8(json::to_vec(&call.to_value(), Style::Compact)).unwrap();
            format!(r#"{{"at":"1970-01-01T00:00:0{at}+00:00","kind":"tool_call","event":{call}}}"#)
        };
        let calls = &run.current().tool_calls;
        let lines = [
            format!(r#"{{"backhaul_journal":1,"at":"1970-01-01T00:00:01+00:00","start":{start}}}"#),
            event(2, &calls[0]),
            event(3, &calls[1]),
            format!(r#"{{"at":"1970-01-01T00:00:09+00:00","end":{end}}}"#),
        ];
        journal.end(&run.finish(RunEnd::failed("no"), second(9)), second(9));
        assert_eq!(std::fs::read_to_string(path).unwrap(), lines.join("\n") + "\n");
    }

    #[test]
    fn what_was_recorded_reads_back_as_an_interrupted_run() {
        let dir = tempfile::tempdir().unwrap();
        let (_journal, run, path) = journal(dir.path());
        let told = read(&std::fs::read(path).unwrap()).unwrap();
        assert!(!told.has_ended);
        assert_eq!(told.record.tool_calls, run.current().tool_calls);
        assert_eq!(told.record.completed_at, Some(second(3)));
        let error = told.record.error.unwrap();
        assert_eq!(error, "interrupted: the process ended before the run did");
        assert_eq!(told.record.metadata[INTERRUPTED], json!(true));
    }

    #[test]
    fn a_run_that_ended_reads_back_as_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, run, path) = journal(dir.path());
        let record = run.finish(RunEnd::failed("no").metadata("m", 1), second(9));
        journal.end(&record, second(9));
        let told = read(&std::fs::read(path).unwrap()).unwrap();
        assert!(told.has_ended);
        assert_eq!(told.record.to_json(), record.to_json());
    }

    #[test]
    fn a_journal_cut_anywhere_after_its_start_gives_a_prefix_of_its_events() {
        let dir = tempfile::tempdir().unwrap();
        let (_journal, run, path) = journal(dir.path());
        let bytes = std::fs::read(path).unwrap();
        let start = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        for cut in start..bytes.len() {
            let told = read(&bytes[..cut]).unwrap();
            assert_eq!(told.damaged_lines, 0);
            assert!(run.current().tool_calls.starts_with(&told.record.tool_calls));
        }
        for cut in 0..start {
            assert!(matches!(read(&bytes[..cut]), Err(Unreadable::Damaged(_))), "{cut}");
        }
    }

    #[test]
    fn a_damaged_line_between_others_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (_journal, run, path) = journal(dir.path());
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1] = "{\"at\": zero";
        let told = read((lines.join("\n") + "\n").as_bytes()).unwrap();
        assert_eq!(told.damaged_lines, 1);
        assert_eq!(told.record.tool_calls, run.current().tool_calls[1..]);
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = b"{\"backhaul_journal\":2,\"start\":{}}\n";
        assert!(matches!(read(newer), Err(Unreadable::Newer)));
        for bytes in [&b""[..], b"{}\n", b"\0\0\0\0", b"[1]\n", b"{\"backhaul_journal\":1}\n"] {
            assert!(matches!(read(bytes), Err(Unreadable::Damaged(_))));
        }
    }
}
