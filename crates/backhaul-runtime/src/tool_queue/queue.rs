//! Calls that wait for a network.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{OsDisk, Spool, SystemClock};
use serde_json::Value;

use super::builder::ToolQueueBuilder;
use super::call_outcome::CallOutcome;
use super::options::ToolQueueOptions;
use super::outcomes::Outcome;
use super::processor::{self, Callbacks, Processor, blocking};
use super::queue_error::{ToolQueueError, ToolQueueErrorKind};
use super::queue_status::{Drained, ToolQueueStatus};
use super::record::record_of;
use super::shared::{Inside, Shared, Tried, Watch, is_pending};
use crate::tools::{ToolError, ToolRegistry, ToolRequest, ToolResult};

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
    /// The same call was begun, nobody knows whether it was done, and it is not done again: by
    /// its tool's [`OnUnknown::Abandon`](crate::tools::OnUnknown::Abandon), or since a person
    /// has decided so.
    Abandoned {
        /// Why, in words.
        why: String,
    },
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
        Ok(self.place(call, false)?.0)
    }

    /// Stores a call; and where it is watched, waits for its first try, from before anybody can
    /// begin it.
    fn place(
        &self,
        call: ToolRequest,
        is_watched: bool,
    ) -> Result<(Placed, Option<Watch>), ToolQueueError> {
        let shared = &self.shared;
        match shared.outcomes.get(&call.key) {
            Ok(Some(Outcome { abandoned: Some(why), .. })) => {
                return Ok((Placed::Abandoned { why }, None));
            }
            Ok(Some(outcome)) => return Ok((Placed::AlreadyDone(outcome.value), None)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(key = %call.key, %error, "what a call came to cannot be read")
            }
        }
        let mut inside = shared.inside();
        let watch = |inside: &mut Inside| {
            is_watched.then(|| inside.watch(&shared.spool, &call.key, &call.tool)).flatten()
        };
        if let Some(position) = inside.waiting.get(&call.key).map(|(position, _)| *position) {
            // It may have expired, or been removed by a person.
            if is_pending(&shared.spool, position) {
                let placed = Placed::AlreadyQueued { id: position.to_string() };
                return Ok((placed, watch(&mut inside)));
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
        let watch = watch(&mut inside);
        inside.waiting.insert(call.key, (id.position, call.tool));
        drop(inside);
        shared.wake.notify_one();
        Ok((Placed::Queued { id: id.position.to_string() }, watch))
    }

    /// Stores a call, has it done where there is a network, and waits for what comes of that
    /// first try. It stays in the queue where that is nothing yet.
    ///
    /// Behind calls of the same tool that wait, it waits too: they go in order.
    ///
    /// # Errors
    /// As of [`enqueue`](Self::enqueue).
    pub async fn call(&self, call: ToolRequest) -> Result<ToolResult, ToolQueueError> {
        Ok(self.try_call(call).await?.result)
    }

    /// [`call`](Self::call), which says too why it waits.
    pub(crate) async fn try_call(&self, call: ToolRequest) -> Result<Tried, ToolQueueError> {
        let key = call.key.clone();
        let is_watched = self.shared.is_online() != Some(false);
        let queue = self.clone();
        let (placed, watch) = blocking(move || queue.place(call, is_watched)).await?;
        let id = match placed {
            Placed::AlreadyDone(value) => return Ok(Tried::ended(ToolResult::Done(value))),
            Placed::Abandoned { why } => {
                return Ok(Tried::ended(ToolResult::Failed(ToolError::unclear(why))));
            }
            Placed::Queued { id } | Placed::AlreadyQueued { id } => id,
        };
        let queued = Tried::ended(ToolResult::Queued { id, key });
        let Some(watch) = watch else { return Ok(queued) };
        if self.is_processing() {
            self.shared.wake.notify_one();
        } else {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { processor::drain(&shared).await });
        }
        Ok(watch.await.unwrap_or(queued))
    }

    /// Does calls from now on, whenever there is a network, on this runtime of tokio; and tells
    /// of each once, when it was done, or when it has failed for good. Of those that expire, give
    /// way to a newer one, or are dropped by a person, the [books](Self::status) tell.
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
    /// nothing. Whoever waits for it may be dropped: what was begun goes on.
    pub async fn drain(&self) -> Drained {
        let shared = Arc::clone(&self.shared);
        let drained = tokio::spawn(async move { processor::drain(&shared).await });
        processor::whole(drained.await).await
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
            running: inside.at_work.len() as u64,
            unknown,
            failed: status.books.rejected,
            books: status.books,
            oldest_age: status.oldest_age,
            is_online: self.shared.is_online(),
            last_error: inside.last_error.clone(),
        })
    }

    fn is_processing(&self) -> bool {
        self.shared.inside().processor.as_ref().is_some_and(|processor| !processor.has_ended())
    }
}

impl fmt::Debug for ToolQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolQueue").field("dir", &self.shared.spool.dir()).finish_non_exhaustive()
    }
}
