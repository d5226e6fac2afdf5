//! Calls that wait for a network.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{
    Clock, Disk, Layout, Options, OsDisk, Position, QueueEntry, Record, Settled, Spool, Standing,
    State, StoredRecord, SystemClock,
};
use backhaul_sync::ConnectivityMonitor;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::call_outcome::CallOutcome;
use super::options::ToolQueueOptions;
use super::outcomes::Outcomes;
use super::processor::{Callbacks, Processor};
use super::queue_error::{ToolQueueError, ToolQueueErrorKind};
use super::queue_status::{Drained, ToolQueueStatus, UnknownCall};
use crate::tools::{IdempotencyKey, Tool, ToolRegistry, ToolRequest, ToolResult};

/// What the records of calls are called.
const KIND: &str = "tool_call";
/// Labels of their records.
const KEY: &str = "key";
/// The folder of what calls came to, in that of the queue.
const RESULTS: &str = "results";

/// Calls that wait for a network, and are done once each, as far as that can be had.
///
/// Cheap to clone; all clones are one. Several processes may store calls in one folder; one of
/// them does them.
///
/// ```
/// use backhaul_runtime::tool_queue::ToolQueue;
/// use backhaul_runtime::tools::{ToolRegistry, ToolRequest, tool};
/// use serde_json::json;
///
/// /// Sends a message to the people on duty.
/// #[tool(offline_policy = queue)]
/// async fn notify(message: String) -> String {
///     format!("sent: {message}")
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let tools = ToolRegistry::new().with(notify::tool())?;
/// let queue = ToolQueue::builder(dir.path()).tools(tools).open()?;
/// let arguments = json!({"message": "hot"}).as_object().unwrap().clone();
/// queue.enqueue(ToolRequest::new("notify", arguments, "run_001/alert"))?;
/// // The call is on stable storage now. When there is a network:
/// assert_eq!(queue.drain().await.done, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ToolQueue {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) spool: Spool,
    pub(super) outcomes: Outcomes,
    pub(super) options: ToolQueueOptions,
    pub(super) connectivity: Option<ConnectivityMonitor>,
    /// There is something to do.
    pub(super) wake: Notify,
    /// Who does calls: one at a time.
    pub(super) working: tokio::sync::Mutex<()>,
    inside: Mutex<Inside>,
}

/// What changes.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) tools: ToolRegistry,
    /// Calls that wait, as far as this process knows: where they are, and of which tool.
    waiting: HashMap<IdempotencyKey, (Position, String)>,
    pub(super) callbacks: Callbacks,
    /// Who waits for a call to be tried.
    watchers: Vec<Watcher>,
    /// How often calls were begun to be done.
    round: u64,
    pub(super) running: u64,
    pub(super) last_error: Option<String>,
    /// Calls in a row that found no network, and until when all wait since, by the boot clock.
    cut_off: u32,
    rest_until: Option<Duration>,
    processor: Option<Processor>,
}

/// Somebody who waits for a call to be tried.
struct Watcher {
    key: IdempotencyKey,
    /// The round in which he came: the next one is for him.
    round: u64,
    told: oneshot::Sender<ToolResult>,
}

/// Where a call went.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Placed {
    /// It is stored, and will be done.
    Queued {
        /// Its name in the queue.
        id: String,
    },
    /// The same call waits already.
    AlreadyQueued {
        /// Its name in the queue.
        id: String,
    },
    /// The same call was done: this is what it gave.
    AlreadyDone(Value),
}

/// What a person decides of a call of which nobody knows whether it was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is done (again).
    Repeat,
    /// It was done, with this result.
    WasDone(Value),
    /// It will not be done.
    Abandon,
}

/// How a queue is opened. Made by [`ToolQueue::builder`].
#[must_use = "nothing is opened before open()"]
pub struct ToolQueueBuilder {
    dir: std::path::PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    tools: ToolRegistry,
    connectivity: Option<ConnectivityMonitor>,
    options: ToolQueueOptions,
}

impl ToolQueueBuilder {
    /// The tools that calls are of. One that is not among them fails, and is kept.
    pub fn tools(self, tools: ToolRegistry) -> Self {
        Self { tools, ..self }
    }

    /// Who knows whether there is a network. Without one, a call that finds none says so, and
    /// all wait for a while.
    pub fn connectivity(self, monitor: ConnectivityMonitor) -> Self {
        Self { connectivity: Some(monitor), ..self }
    }

    /// How calls are kept and done.
    pub fn options(self, options: ToolQueueOptions) -> Self {
        Self { options, ..self }
    }

    /// Calls that may wait. Default: 1,000.
    pub fn max_queue_size(mut self, calls: u64) -> Self {
        self.options.max_queue_size = calls;
        self
    }

    /// On a disk and by a clock of one's own.
    pub fn on(self, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Self {
        Self { disk, clock, ..self }
    }

    /// Opens the queue.
    ///
    /// # Errors
    /// [`InvalidOption`](ToolQueueErrorKind::InvalidOption), and where the disk refuses.
    pub fn open(self) -> Result<ToolQueue, ToolQueueError> {
        self.options.check()?;
        let options = Options {
            layout: Layout::Folder,
            max_bytes: self.options.max_bytes,
            ..Options::default()
        };
        let results = self.dir.join(RESULTS);
        let outcomes = Outcomes::new(Arc::clone(&self.disk), Arc::clone(&self.clock), results);
        outcomes.remove_old(self.options.keep_outcomes_for);
        let spool = Spool::open_on(&self.dir, options, self.disk, self.clock)?;
        let mut inside = Inside { tools: self.tools, ..Inside::default() };
        spool.each(Some(Standing::Pending), &mut |entry| {
            inside.note_waiting(&entry);
            ControlFlow::Continue(())
        })?;
        let shared = Shared {
            spool,
            outcomes,
            options: self.options,
            connectivity: self.connectivity,
            wake: Notify::new(),
            working: tokio::sync::Mutex::default(),
            inside: Mutex::new(inside),
        };
        Ok(ToolQueue { shared: Arc::new(shared) })
    }
}

impl ToolQueue {
    /// Opens the queue in a folder, with the tools that its calls are of.
    ///
    /// # Errors
    /// As of [`ToolQueueBuilder::open`].
    pub fn new(
        storage_path: impl AsRef<Path>,
        tools: ToolRegistry,
    ) -> Result<Self, ToolQueueError> {
        Self::builder(storage_path).tools(tools).open()
    }

    /// A queue in a folder, which is made if it is not there.
    pub fn builder(storage_path: impl AsRef<Path>) -> ToolQueueBuilder {
        ToolQueueBuilder {
            dir: storage_path.as_ref().to_owned(),
            disk: Arc::new(OsDisk),
            clock: Arc::new(SystemClock::new()),
            tools: ToolRegistry::new(),
            connectivity: None,
            options: ToolQueueOptions::default(),
        }
    }

    /// The spool in which the calls are.
    pub fn spool(&self) -> &Spool {
        &self.shared.spool
    }

    /// Stores a call: it is on stable storage when this returns. The same call, by its key, is
    /// stored once.
    ///
    /// # Errors
    /// [`Full`](ToolQueueErrorKind::Full), [`TooLarge`](ToolQueueErrorKind::TooLarge), and where
    /// the disk refuses. Nothing was stored then.
    pub fn enqueue(&self, call: ToolRequest) -> Result<Placed, ToolQueueError> {
        let shared = &self.shared;
        match shared.outcomes.get(&call.key) {
            Ok(Some(outcome)) => return Ok(Placed::AlreadyDone(outcome.value)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(key = %call.key, %error, "what a call came to cannot be read")
            }
        }
        let mut inside = shared.inside();
        if let Some((position, _)) = inside.waiting.get(&call.key) {
            // It may have expired, or been removed by a person.
            if shared
                .spool
                .get(*position)
                .is_ok_and(|(entry, _)| entry.standing == Standing::Pending)
            {
                return Ok(Placed::AlreadyQueued { id: position.to_string() });
            }
        }
        let waiting = shared.spool.books()?.pending;
        if waiting >= shared.options.max_queue_size {
            let message = format!(
                "the queue in {} holds {waiting} calls, as many as max_queue_size allows: the call of {} is not stored",
                shared.spool.dir().display(),
                call.tool
            );
            return Err(ToolQueueError::new(ToolQueueErrorKind::Full, message));
        }
        let tool = inside.tools.get(&call.tool);
        let id = shared.spool.append(record_of(&call, tool.as_deref())?)?;
        inside.waiting.insert(call.key, (id.position, call.tool));
        drop(inside);
        shared.wake.notify_one();
        Ok(Placed::Queued { id: id.position.to_string() })
    }

    /// Stores a call, has it done where there is a network, and waits for what comes of that
    /// first try. It stays in the queue where that is nothing yet.
    ///
    /// Behind calls of the same tool that wait, it waits too: they go in order.
    ///
    /// # Errors
    /// As of [`enqueue`](Self::enqueue).
    pub async fn call(&self, call: ToolRequest) -> Result<ToolResult, ToolQueueError> {
        let key = call.key.clone();
        // Before it is stored: it may be done at once.
        let watch = match self.shared.is_online() {
            Some(false) => None,
            _ => self.shared.watch(&key, &call.tool),
        };
        let queue = self.clone();
        let placed = super::processor::blocking(move || queue.enqueue(call)).await?;
        let id = match placed {
            Placed::AlreadyDone(value) => return Ok(ToolResult::Done(value)),
            Placed::Queued { id } | Placed::AlreadyQueued { id } => id,
        };
        let queued = ToolResult::Queued { id, key };
        let Some(watch) = watch else { return Ok(queued) };
        if !self.is_processing() {
            let shared = Arc::clone(&self.shared);
            // A task of its own: whoever waits may be dropped, what was begun goes on.
            tokio::spawn(async move { super::processor::drain(&shared).await });
        }
        Ok(watch.await.unwrap_or(queued))
    }

    /// Does calls from now on, whenever there is a network, on this runtime of tokio; and tells
    /// of each once, when it was done, or when it will not be.
    ///
    /// # Errors
    /// [`NoRuntime`](ToolQueueErrorKind::NoRuntime). Started twice, it goes on with the new
    /// callbacks.
    pub fn start_processor(
        &self,
        on_success: impl Fn(&CallOutcome) + Send + Sync + 'static,
        on_failure: impl Fn(&CallOutcome) + Send + Sync + 'static,
    ) -> Result<(), ToolQueueError> {
        let mut inside = self.shared.inside();
        inside.callbacks = Callbacks {
            on_success: Some(Arc::new(on_success)),
            on_failure: Some(Arc::new(on_failure)),
        };
        if inside.processor.as_ref().is_none_or(Processor::has_ended) {
            inside.processor = Some(Processor::start(&self.shared)?);
        }
        Ok(())
    }

    /// Stops doing calls. Those at work are waited for, so long at most; what they do goes on
    /// after that, and is unknown if the program ends.
    pub async fn stop(&self, wait: Duration) {
        let processor = self.shared.inside().processor.take();
        if let Some(processor) = processor {
            processor.stop(wait).await;
        }
        self.shared.spool.rest();
    }

    /// Does what can be done now, and says what came of it. Where there is no network that is
    /// nothing.
    pub async fn drain(&self) -> Drained {
        super::processor::drain(&self.shared).await
    }

    /// The queue at this moment.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn status(&self) -> Result<ToolQueueStatus, ToolQueueError> {
        let status = self.shared.spool.status()?;
        let unknown = self.unknown_calls()?.len() as u64;
        let inside = self.shared.inside();
        Ok(ToolQueueStatus {
            pending: status.books.pending,
            running: inside.running,
            unknown,
            failed: status.books.rejected,
            books: status.books,
            oldest_age: status.oldest_age,
            is_online: self.shared.is_online(),
            last_error: inside.last_error.clone(),
        })
    }

    /// The calls that wait for a person to decide: the oldest first.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn unknown_calls(&self) -> Result<Vec<UnknownCall>, ToolQueueError> {
        let mut unknown = Vec::new();
        self.shared.spool.each(Some(Standing::Pending), &mut |entry| {
            if entry.held == Some(State::Unknown) {
                unknown.push(entry);
            }
            ControlFlow::Continue(())
        })?;
        let described = unknown.into_iter().map(|entry| {
            let (_, record) = self.shared.spool.get(entry.id.position)?;
            Ok(request_of(&record).ok().map(|call| UnknownCall {
                id: entry.id.position.to_string(),
                call,
                age: entry.age,
                attempts: entry.attempts,
                reason: entry.last_error,
            }))
        });
        described.filter_map(Result::transpose).collect()
    }

    /// Decides a call of which nobody knows whether it was done, by its name in the queue.
    ///
    /// # Errors
    /// [`NotFound`](ToolQueueErrorKind::NotFound) where no such call waits for that,
    /// [`Busy`](ToolQueueErrorKind::Busy), and where the disk refuses.
    pub fn decide(&self, id: &str, decision: Decision) -> Result<(), ToolQueueError> {
        let shared = &self.shared;
        let unknown = self.unknown_calls()?.into_iter().find(|unknown| unknown.id == id);
        let (unknown, position) = unknown.zip(id.parse::<Position>().ok()).ok_or_else(|| {
            let message =
                format!("no call {id:?} waits for a decision: unknown_calls() lists those that do");
            ToolQueueError::new(ToolQueueErrorKind::NotFound, message)
        })?;
        shared.claim()?;
        match decision {
            Decision::Repeat => {
                shared.spool.requeue(position)?;
            }
            Decision::WasDone(value) => {
                let ToolRequest { tool, key, .. } = &unknown.call;
                if let Err(error) = shared.outcomes.put(tool, key, &value) {
                    tracing::warn!(%key, %error, "what a call came to cannot be stored");
                }
                shared.end(position, &unknown.call, Settled::new(State::Delivered))?;
            }
            Decision::Abandon => {
                let settled = Settled::new(State::Dropped).reason("abandoned by a person");
                shared.end(position, &unknown.call, settled)?;
            }
        }
        shared.wake.notify_one();
        Ok(())
    }

    /// Takes back a call that waits, by its name in the queue. `Ok(false)`: it was begun, and may
    /// have been done, or waits no more.
    ///
    /// # Errors
    /// [`Busy`](ToolQueueErrorKind::Busy), and where the disk refuses.
    pub fn withdraw(&self, id: &str) -> Result<bool, ToolQueueError> {
        let shared = &self.shared;
        let Ok(position) = id.parse::<Position>() else { return Ok(false) };
        let (entry, record) = shared.spool.get(position)?;
        if entry.standing != Standing::Pending || entry.is_begun || entry.held.is_some() {
            return Ok(false);
        }
        let Ok(request) = request_of(&record) else { return Ok(false) };
        let settled = Settled::new(State::Dropped).reason("taken back: nobody was reached");
        shared.end(position, &request, settled)?;
        Ok(true)
    }

    fn is_processing(&self) -> bool {
        self.shared.inside().processor.as_ref().is_some_and(|processor| !processor.has_ended())
    }
}

impl Shared {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        // No step leaves it half changed.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a network; `None`: nobody knows.
    pub(super) fn is_online(&self) -> Option<bool> {
        self.connectivity.as_ref().map(ConnectivityMonitor::is_online)
    }

    /// A call found no network: all wait for a while, and ever longer.
    pub(super) fn rest(&self) {
        let now = self.spool.clock().now().since_boot;
        let mut inside = self.inside();
        inside.rest_until = Some(now + self.options.backoff.delay(inside.cut_off));
        inside.cut_off = inside.cut_off.saturating_add(1);
    }

    /// A call was answered: there is a network.
    pub(super) fn rested(&self) {
        let mut inside = self.inside();
        inside.cut_off = 0;
        inside.rest_until = None;
    }

    /// Whether all wait for a network.
    pub(super) fn is_resting(&self) -> bool {
        let now = self.spool.clock().now().since_boot;
        self.inside().rest_until.is_some_and(|until| now < until)
    }

    /// Makes this process the one that decides what becomes of calls.
    fn claim(&self) -> Result<(), ToolQueueError> {
        let nothing = backhaul_store::Limits { records: 1, bytes: 0, ..Default::default() };
        drop(self.spool.take(&nothing)?);
        Ok(())
    }

    /// Settles a call that waits no more.
    pub(super) fn end(
        &self,
        position: Position,
        call: &ToolRequest,
        settled: Settled,
    ) -> Result<(), ToolQueueError> {
        let ended = self.spool.settle(&[(position, settled)]);
        let mut inside = self.inside();
        if inside.waiting.get(&call.key).is_some_and(|(at, _)| *at == position) {
            inside.waiting.remove(&call.key);
        }
        Ok(ended?)
    }

    /// Waits for the first try of a call that is about to be stored, where no other of its tool
    /// goes before it.
    fn watch(&self, key: &IdempotencyKey, tool: &str) -> Option<oneshot::Receiver<ToolResult>> {
        let mut inside = self.inside();
        let mut others = inside.waiting.iter().filter(|(of, _)| *of != key);
        if others.any(|(_, (_, of))| of == tool) {
            return None;
        }
        let (told, watch) = oneshot::channel();
        let round = inside.round;
        inside.watchers.push(Watcher { key: key.clone(), round, told });
        Some(watch)
    }

    /// Tells those who wait for a call what its first try came to.
    pub(super) fn tell(&self, call: &ToolRequest, result: &ToolResult) {
        let mut inside = self.inside();
        let (told, wait) = std::mem::take(&mut inside.watchers)
            .into_iter()
            .partition(|watcher: &Watcher| watcher.key == call.key);
        inside.watchers = wait;
        drop(inside);
        told.into_iter().for_each(|watcher| drop(watcher.told.send(result.clone())));
    }

    /// Calls are about to be done.
    pub(super) fn begin_round(&self) -> u64 {
        let mut inside = self.inside();
        inside.round += 1;
        inside.round
    }

    /// What can be done was done: whoever waited for it, in vain, need not wait longer.
    pub(super) fn end_round(&self, round: u64) {
        self.inside().watchers.retain(|watcher| watcher.round >= round);
    }
}

impl Inside {
    fn note_waiting(&mut self, entry: &QueueEntry) {
        let key = entry.facts.labels.get(KEY).map(IdempotencyKey::chosen);
        if let Some((key, tool)) = key.zip(entry.facts.stream.clone()) {
            self.waiting.insert(key, (entry.id.position, tool));
        }
    }
}

fn record_of(call: &ToolRequest, tool: Option<&dyn Tool>) -> Result<Record, ToolQueueError> {
    let body = serde_json::to_vec(call).map_err(|error| {
        let message = format!("the arguments of {} are no JSON: {error}", call.tool);
        ToolQueueError::new(ToolQueueErrorKind::InvalidOption, message)
    })?;
    let mut record = Record::new(KIND, body).stream(&call.tool).label(KEY, call.key.as_str());
    if let Some(run_id) = &call.run_id {
        record = record.label("run_id", run_id);
    }
    let Some(options) = tool.map(Tool::options) else { return Ok(record) };
    if let Some(age) = options.expires_after {
        record = record.expires_after(age);
    }
    if let Some(names) = &options.collapse_by {
        let told_by: Vec<_> = names.iter().map(|name| call.arguments.get(name)).collect();
        let step = serde_json::to_string(&told_by).unwrap_or_default();
        let none = serde_json::Map::new();
        record = record.collapse_key(IdempotencyKey::of(&call.tool, &none, &step).as_str());
    }
    Ok(record)
}

/// The call that a record holds.
pub(super) fn request_of(record: &StoredRecord) -> Result<ToolRequest, serde_json::Error> {
    serde_json::from_slice(&record.body)
}

impl fmt::Debug for ToolQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolQueue").field("dir", &self.shared.spool.dir()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ToolQueueBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolQueueBuilder")
            .field("dir", &self.dir)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
