//! A device in memory: a disk that fails when it is told to, and a clock that is moved.

use std::ops::ControlFlow;
use std::sync::Arc;

use backhaul_agent::{
    DeliverError, InMemoryRunLogger, OfflineQueue, OfflineQueueBuilder, OfflineRunLogger, RunEnd,
    RunEvent, RunLogger, RunLoggerError, RunRecord, RunStart, ToolCall,
};
use backhaul_store::{QueueEntry, Standing, Timestamp};
use backhaul_testkit::{Failed, Faults, FaultyDisk, Item, ManualClock, Prng, SimDisk};
use serde_json::json;

pub(crate) const PATH: &str = "/data/queue";

#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) disk: SimDisk,
    pub(crate) faults: Faults,
    pub(crate) clock: ManualClock,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self::with(SimDisk::new())
    }

    pub(crate) fn with(disk: SimDisk) -> Self {
        Self { disk, faults: Faults::new(), clock: ManualClock::new() }
    }

    pub(crate) fn builder(&self) -> OfflineQueueBuilder {
        OfflineQueue::builder(PATH)
            .disk(Arc::new(FaultyDisk::new(self.disk.clone(), self.faults.clone())))
            .clock(Arc::new(self.clock.clone()))
            .maintenance_thread(false)
    }

    pub(crate) fn queue(&self) -> OfflineQueue {
        self.builder().open().unwrap()
    }

    /// A logger on a queue of its own, with a fallback.
    pub(crate) fn logger(&self) -> (OfflineRunLogger, InMemoryRunLogger) {
        let fallback = InMemoryRunLogger::new().with_clock(Arc::new(self.clock.clone()));
        let logger = OfflineRunLogger::builder()
            .fallback(fallback.clone())
            .queue(self.queue())
            .build()
            .unwrap();
        (logger, fallback)
    }

    /// Ends the process without a chance to tidy up: what it held is leaked.
    pub(crate) fn kill<T>(&self, held: T) {
        std::mem::forget(held);
        self.disk.kill_process();
    }

    /// Names of the files in a folder of the queue, sorted.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let folder = format!("{PATH}/{folder}/");
        self.disk
            .paths()
            .iter()
            .filter_map(|path| Some(path.to_str()?.strip_prefix(&folder)?.to_owned()))
            .collect()
    }
}

/// A record of one tool call.
pub(crate) fn record(run_id: &str) -> RunRecord {
    let mut record = RunRecord::new(run_id, Timestamp::from_micros(1_705_314_600_000_000));
    record.completed_at = Some(record.started_at);
    record.tool_calls.push(ToolCall::new("thermometer", json!({}), json!({"celsius": 21.5})));
    record
}

/// A record whose JSON has about this many bytes.
pub(crate) fn large_record(run_id: &str, bytes: usize) -> RunRecord {
    let mut record = record(run_id);
    record.metadata.insert("padding".into(), "x".repeat(bytes).into());
    record
}

/// A record that no compression makes small.
pub(crate) fn noise(run_id: &str, bytes: usize) -> RunRecord {
    let seed =
        run_id.bytes().fold(bytes as u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut prng = Prng::new(seed);
    let letters: Vec<char> = ('!'..='~').filter(|letter| !"\"\\".contains(*letter)).collect();
    let text: String = (0..bytes).map(|_| letters[prng.index(letters.len())]).collect();
    let mut record = record(run_id);
    record.metadata.insert("noise".into(), text.into());
    record
}

pub(crate) fn run_id(entry: &QueueEntry) -> &str {
    &entry.facts.labels["run_id"]
}

pub(crate) fn run_ids(queue: &OfflineQueue, standing: Standing) -> Vec<String> {
    let entries = queue.list(Some(standing)).unwrap();
    entries.iter().map(|entry| run_id(entry).to_owned()).collect()
}

/// What is kept as failed, for an oracle.
pub(crate) fn failed(queue: &OfflineQueue) -> Vec<Failed> {
    let entries = queue.list(Some(Standing::Failed)).unwrap().into_iter();
    let failed = entries.map(|entry| {
        let (_, stored) = queue.spool().get(entry.id.into()).unwrap();
        let item = Item::new(entry.id.to_string(), stored.body);
        Failed::new(item, entry.last_error.unwrap_or_default())
    });
    failed.collect()
}

/// Every record in the queue, wherever it stands.
pub(crate) fn all_records(queue: &OfflineQueue) -> Vec<RunRecord> {
    let mut positions = Vec::new();
    queue
        .each(None, &mut |entry| {
            positions.push(entry.id);
            ControlFlow::Continue(())
        })
        .unwrap();
    positions.into_iter().map(|id| queue.get(id.into()).unwrap().1).collect()
}

type Answer = Box<dyn Fn(&RunRecord) -> Result<(), DeliverError> + Send + Sync>;

/// A logger that answers as it is told.
pub(crate) struct Told(Answer);

impl Told {
    pub(crate) fn new(
        answer: impl Fn(&RunRecord) -> Result<(), DeliverError> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(answer))
    }
}

impl RunLogger for Told {
    fn start_run(&self, _: RunStart) {}
    fn record(&self, _: RunEvent) {}
    fn end_run(&self, _: RunEnd) -> Result<RunRecord, RunLoggerError> {
        Err(RunLoggerError::NoRunInProgress)
    }
    fn get_current_record(&self) -> Option<RunRecord> {
        None
    }
    fn deliver(&self, record: &RunRecord) -> Result<(), DeliverError> {
        (self.0)(record)
    }
}
