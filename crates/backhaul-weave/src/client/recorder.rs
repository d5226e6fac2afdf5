//! Where calls go that begin and end: into the queue, as fast as they come.

use std::collections::hash_map::Entry as MapEntry;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use backhaul_store::Moment;
use serde_json::{Map, Value};

use super::call::Call;
use super::call_state::{Attributes, Beginning, CallState, Ended, OfProject};
use super::context::{Context, Frame};
use super::exception::Exception;
use super::json_object::put_over;
use super::op::{Op, OpInfo, OpVersion, Ops};
use super::phase::Ending;
use super::queue::{Position, Pushed, Queue};
use super::trouble::Trouble;
use super::value::Captured;
use crate::entry::{Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};
use crate::offline::OfflineTraceServer;
use crate::project::ProjectId;

/// What the queue holds.
#[derive(Debug)]
pub(crate) enum Item {
    /// A version of an op, which comes before its calls.
    Op(OpVersion),
    /// A call that has begun, and may have ended since.
    Call(Arc<CallState>),
    /// The end of a call whose start is stored.
    End(Arc<CallState>, Ended),
    /// Spans of OpenTelemetry's.
    #[cfg(feature = "opentelemetry")]
    Export(Entry),
}

/// Logs the calls of one project. A client that was replaced has one as long as a call goes on
/// that began in it.
pub(crate) struct Recorder {
    pub(crate) server: OfflineTraceServer,
    pub(crate) project: ProjectId,
    pub(crate) of_project: Arc<OfProject>,
    pub(crate) queue: Arc<Queue<Item>>,
    /// Whether a call that ends waits until it is on disk.
    pub(crate) is_durable: bool,
    /// Of all calls.
    pub(crate) attributes: Option<Arc<Attributes>>,
    /// The process that has the thread which stores. A child of fork(2) has none, and its
    /// locks may be held by threads that it has not.
    process: u32,
    pub(super) trouble: Arc<Trouble>,
    ops: RwLock<Ops>,
}

/// What is said of a call that begins now.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) inputs: Captured,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) display_name: Option<String>,
}

/// A call that goes on, and what runs in it.
pub(crate) struct Active {
    pub(crate) call: Arc<CallState>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) context: Context,
}

impl Recorder {
    pub(crate) fn new(
        server: OfflineTraceServer,
        project: ProjectId,
        of_project: OfProject,
        max_bytes: usize,
    ) -> Self {
        Self {
            server,
            project,
            of_project: Arc::new(of_project),
            queue: Arc::new(Queue::new(max_bytes)),
            is_durable: false,
            attributes: None,
            process: std::process::id(),
            trouble: Arc::default(),
            ops: RwLock::default(),
        }
    }

    /// Whether it stores what this process logs.
    pub(crate) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    pub(crate) fn now(&self) -> Moment {
        self.server.clock().now()
    }

    /// The op of a place in the code. The first time that it is met it is stored.
    pub(crate) fn op(
        &self,
        place: usize,
        info: &OpInfo,
        self_type: Option<&'static str>,
    ) -> Arc<Op> {
        let key = (place, self_type.unwrap_or_default());
        if let Some(op) = self.ops.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(op);
        }
        match self.ops.write().unwrap_or_else(PoisonError::into_inner).entry(key) {
            MapEntry::Occupied(known) => Arc::clone(known.get()),
            MapEntry::Vacant(new) => {
                let (op, version) = Op::of_code(&self.project, info, self_type);
                let bytes = version.bytes();
                // Within the lock: whoever finds it there finds it stored before his call.
                self.queue.push_always(Item::Op(version), bytes);
                Arc::clone(new.insert(Arc::new(op)))
            }
        }
    }

    /// A call begins in a context.
    pub(crate) fn begin(self: &Arc<Self>, op: Arc<Op>, said: Said, within: &Context) -> Active {
        let around = within.as_frame();
        let attributes = self.attributes_of(said.attributes, around);
        let beginning = Beginning {
            op,
            parent: around.and_then(|around| around.call.clone()),
            thread: around.and_then(|around| around.thread.clone()),
            display_name: said.display_name,
            attributes,
            inputs: said.inputs,
        };
        let call = Arc::new(CallState::begin(beginning, self.now()));
        if let Some(witness) = around.and_then(|around| around.witness.as_ref()) {
            let _ = witness.set(Call::new(Arc::clone(&call), Arc::clone(self)));
        }
        let bytes = call.bytes();
        if self.queue.push(Item::Call(Arc::clone(&call)), bytes) == Pushed::Dropped {
            // Those below it are tried all the same, and the disk may take them.
            call.phase.give_up();
        }
        let context = Context::of_frame(Frame {
            call: Some(Arc::clone(&call)),
            recorder: Some(Arc::clone(self)),
            thread: around.and_then(|around| around.thread.clone()),
            attributes: around.and_then(|around| around.attributes.clone()),
            is_left_out: false,
            witness: None,
        });
        Active { call, recorder: Arc::clone(self), context }
    }

    /// Those of the client, those of the context, and its own, the last of which counts. As in
    /// Weave's client for Python, objects are put together with those of the client alone.
    fn attributes_of(&self, own: Attributes, around: Option<&Frame>) -> Option<Arc<Attributes>> {
        let of_context = around.and_then(|around| around.attributes.as_ref());
        match (&self.attributes, of_context, own.is_empty()) {
            (None, None, true) => None,
            (Some(of_all), None, true) | (None, Some(of_all), true) => Some(Arc::clone(of_all)),
            (of_client, of_context, _) => {
                let mut near = of_context.map(|near| (**near).clone()).unwrap_or_default();
                near.extend(own);
                let mut all = of_client.as_deref().cloned().unwrap_or_default();
                put_over(&mut all, near);
                Some(Arc::new(all))
            }
        }
    }

    /// A call ends. Where calls are durable it waits for the disk.
    pub(crate) fn end(
        &self,
        call: &Arc<CallState>,
        output: Captured,
        exception: Option<Exception>,
    ) {
        if !self.is_here() || call.phase.is_over() {
            return;
        }
        let ended = call.end(&self.now(), output, exception);
        let bytes = ended.bytes();
        let position = match call.phase.end(ended) {
            Ending::WithItsStart => {
                self.queue.grow(bytes);
                self.is_durable.then(|| self.queue.end())
            }
            Ending::ByItself(ended) => {
                match self.queue.push(Item::End(Arc::clone(call), ended), bytes) {
                    Pushed::Taken(position) => Some(position),
                    Pushed::Dropped => None,
                }
            }
            Ending::TooLate => None,
        };
        if let Some(position) = position.filter(|_| self.is_durable) {
            self.wait_for(position);
        }
    }

    /// Waits until everything that was logged so far is on stable storage.
    pub(crate) fn flush(&self) -> Result<(), TraceError> {
        if !self.is_here() {
            let message = "this process is a child of fork(2), and logs nothing: call init() in it";
            return Err(TraceError::new(TraceErrorKind::InvalidInput, message));
        }
        if self.queue.wait_until_stored(self.queue.end()) {
            return Ok(());
        }
        Err(self.trouble.last().unwrap_or_else(|| {
            TraceError::new(TraceErrorKind::Store, "the disk takes nothing at the moment")
        }))
    }

    /// Stores something beside calls, durably.
    pub(crate) fn log(&self, entry_type: EntryType, data: &Value) -> Result<(), TraceError> {
        self.server.log(&self.project, &[Entry::of_value(entry_type, data)])?;
        Ok(())
    }

    /// Waits for the disk; what it does not take is told by who stores.
    fn wait_for(&self, position: Position) {
        self.queue.wait_until_stored(position);
    }
}

impl Drop for Recorder {
    /// No call goes on that is logged here, and none will begin: the thread which stores ends,
    /// once all is stored. Only the last call of a client that was replaced waits here.
    fn drop(&mut self) {
        if self.is_here() {
            self.queue.close();
            self.queue.wait_until_stored(self.queue.end());
        }
    }
}

impl Active {
    /// Ends the call with an output.
    pub(crate) fn finish(&self, output: Captured) {
        self.recorder.end(&self.call, output, None);
    }

    /// Ends the call with what went wrong.
    pub(crate) fn fail(&self, exception: Exception) {
        self.recorder.end(&self.call, Captured::null(), Some(exception));
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("project", &self.project).finish_non_exhaustive()
    }
}

impl Item {
    /// Bytes that it counts for in the queue, once it is known what is stored of it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Op(version) => version.bytes(),
            Self::Call(call) => call.bytes(),
            Self::End(_, ended) => ended.bytes(),
            #[cfg(feature = "opentelemetry")]
            Self::Export(entry) => entry.data().len(),
        }
    }
}
