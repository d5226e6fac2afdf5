//! The client that a program has.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::runtime::Handle;

use super::context::Context;
use super::online::Online;
use super::recorder::Recorder;
use crate::error::{TraceError, TraceErrorKind};
use crate::offline::OfflineTraceServer;
use crate::project::ProjectId;
use crate::reads::Reads;
use crate::remote::Remote;
use crate::sync::WeaveForwarder;

/// The one that ops log with. Whoever is in a call logs with that of the call.
static CURRENT: RwLock<Option<WeaveClient>> = RwLock::new(None);

/// What a program logs with: made by [`init`](crate::init). Cheap to clone; all clones are
/// one.
#[derive(Clone)]
pub struct WeaveClient {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) writer: Mutex<Option<JoinHandle<()>>>,
    /// The server that everything goes to; `None`: offline.
    pub(crate) online: Option<Online>,
    pub(crate) remote: Remote,
    /// Made when something is read for the first time.
    pub(crate) reads: OnceLock<Reads>,
}

/// How logging stands.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoggingStatus {
    /// Starts and ends of calls that are in memory, and not on disk yet.
    pub waiting: u64,
    /// Those that were dropped, since there was no room in memory and the disk took nothing.
    pub dropped: u64,
    /// Why the disk takes nothing at the moment, where that is so.
    pub last_error: Option<TraceError>,
}

impl WeaveClient {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The project that it logs to, under the name that it has here.
    pub fn project(&self) -> &ProjectId {
        &self.inner.recorder.project
    }

    /// The folder that it logs to.
    pub fn server(&self) -> &OfflineTraceServer {
        &self.inner.recorder.server
    }

    /// The server that its data is for.
    pub fn remote(&self) -> &Remote {
        &self.inner.remote
    }

    /// What delivers beside it, and the runtime that this belongs to.
    pub(crate) fn online(&self) -> Option<(WeaveForwarder, Handle)> {
        self.inner.online.as_ref().and_then(Online::forwarder)
    }

    pub(super) fn kept_reads(&self) -> &Reads {
        self.inner.reads.get_or_init(|| Reads::of_server(self.server()))
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.inner.recorder
    }

    /// Waits until everything that was logged so far is on stable storage.
    ///
    /// # Errors
    /// Where the disk takes nothing. It stays in memory then, and is tried again.
    pub fn flush(&self) -> Result<(), TraceError> {
        self.inner.recorder.flush()
    }

    /// How logging stands.
    pub fn status(&self) -> LoggingStatus {
        let Recorder { queue, .. } = &*self.inner.recorder;
        let last_error = self.inner.recorder.trouble.last();
        LoggingStatus { waiting: queue.waiting(), dropped: queue.dropped(), last_error }
    }

    /// Ends logging: everything is put on stable storage, and of what is on its way to a server
    /// the requests are waited for, 5 seconds at most. What is not delivered yet waits for the
    /// next start, or for a sync. What is logged after this is left out.
    ///
    /// # Errors
    /// Where the disk takes nothing: what was in memory is lost then.
    pub fn finish(&self) -> Result<(), TraceError> {
        let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.inner, &self.inner)) {
            *current = None;
        }
        drop(current);
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<(), TraceError> {
        if !self.recorder.is_here() {
            return Ok(());
        }
        let before = self.recorder.queue.dropped();
        self.recorder.queue.close();
        let writer = self.writer().take();
        let is_own = |writer: &JoinHandle<()>| writer.thread().id() == std::thread::current().id();
        if let Some(writer) = writer.filter(|writer| !is_own(writer)) {
            let _ = writer.join();
        }
        if let Some(online) = &self.online {
            online.stop();
        }
        match self.recorder.queue.dropped() - before {
            0 => Ok(()),
            lost => Err(TraceError::new(
                TraceErrorKind::Store,
                format!("{lost} starts and ends of calls are lost: the disk took nothing"),
            )),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    /// Calls that go on are logged still: the recorder ends with the last of them.
    fn drop(&mut self) {
        if !self.recorder.is_here() {
            return;
        }
        self.recorder.queue.wait_until_stored(self.recorder.queue.end());
        if let Some(online) = &self.online {
            online.stop();
        }
    }
}

impl std::fmt::Debug for WeaveClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeaveClient")
            .field("project", self.project())
            .field("dir", &self.server().dir())
            .field("is_offline", &self.inner.online.is_none())
            .finish_non_exhaustive()
    }
}

/// The client that ops log with: that of the last [`init`](crate::init). `None`: nothing is
/// logged.
pub fn client() -> Option<WeaveClient> {
    CURRENT.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The client, for what makes no sense without one.
pub(crate) fn required() -> Result<WeaveClient, TraceError> {
    client().ok_or_else(|| {
        let message = "there is no Weave client: call weave::init(\"team/project\").start() first";
        TraceError::new(TraceErrorKind::InvalidInput, message)
    })
}

/// Has ops log with `client` from now on. The one before goes on where it is used.
pub(crate) fn make_current(client: &WeaveClient) {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    let before = current.replace(client.clone());
    drop(current);
    // Outside the lock: its end waits for the disk.
    drop(before);
}

/// Who logs a call that begins in a context; `None`: nobody does.
pub(crate) fn recorder_of(context: &Context) -> Option<Arc<Recorder>> {
    let frame = context.as_frame();
    if frame.is_some_and(|frame| frame.is_left_out) {
        return None;
    }
    let of_call = frame.and_then(|frame| frame.recorder.clone());
    let recorder = of_call.or_else(|| {
        let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|client| Arc::clone(&client.inner.recorder))
    });
    recorder.filter(|recorder| recorder.is_here())
}

/// Ends the logging of the program, as [`WeaveClient::finish`] does.
///
/// # Errors
/// As there.
pub fn finish() -> Result<(), TraceError> {
    client().map_or(Ok(()), |client| client.finish())
}
