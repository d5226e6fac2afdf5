//! A program begins to log.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::call_state::OfProject;
use super::context::Context;
use super::online::Online;
use super::queue::Queue;
use super::recorder::{Item, Recorder};
use super::weave_client::{self, Inner, WeaveClient};
use super::writer::{self, Writer};
use crate::error::{TraceError, TraceErrorKind};
use crate::offline::{OfflineOptions, OfflineTraceServer};
use crate::project::{ProjectError, ProjectId};
use crate::sync::remote_of;

/// What is logged is collected for so long before it is stored together: a program that logs
/// all the time costs ten flushes a second, and one that is killed loses a tenth of a second.
const COLLECT_FOR: Duration = Duration::from_millis(100);
/// What is held in memory at most while the disk is slower than the program, or takes nothing.
const MAX_BYTES: usize = 64_000_000;
/// Keys whose values are never kept, as of Weave's client for Python, which looks at inputs.
const REDACTED_KEYS: [&str; 3] = ["api_key", "auth_headers", "authorization"];

/// Begins to log to a project, `team/project`; without an entity it is kept under `offline`
/// until the server's is known.
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// let client = weave::init("my_team/my_project")
///     .offline(true)
///     .offline_dir(dir.path())
///     .start()?;
/// assert_eq!(weave::call("add").input("a", 40).run(|| 40 + 2), 42);
/// client.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn init(project_name: impl Into<String>) -> Init {
    Init {
        project_name: project_name.into(),
        is_offline: false,
        offline_dir: None,
        server: None,
        options: OfflineOptions::default(),
        api_key: None,
        trace_url: None,
        wandb_url: None,
        is_durable: false,
        attributes: Value::Null,
        redacted_keys: REDACTED_KEYS.map(ToOwned::to_owned).to_vec(),
        collect_for: COLLECT_FOR,
        max_memory_bytes: MAX_BYTES,
    }
}

/// How a program logs. Made by [`init`], and used by [`start`](Init::start).
#[derive(Debug)]
#[must_use = "nothing is logged before start()"]
pub struct Init {
    project_name: String,
    is_offline: bool,
    offline_dir: Option<PathBuf>,
    server: Option<OfflineTraceServer>,
    options: OfflineOptions,
    api_key: Option<String>,
    trace_url: Option<String>,
    wandb_url: Option<String>,
    is_durable: bool,
    attributes: Value,
    redacted_keys: Vec<String>,
    collect_for: Duration,
    max_memory_bytes: usize,
}

impl Init {
    /// Whether everything stays on this device until [`sync_offline_data`](crate::sync_offline_data),
    /// `backhaul sync` or a `backhaul serve` that has the folder delivers it. Default: off. It
    /// is stored first then, too, and sent in the background while a server can be reached.
    pub fn offline(mut self, offline: bool) -> Self {
        self.is_offline = offline;
        self
    }

    /// The folder. Default: [`OfflineTraceServer::default_dir`], `~/.weave/offline`.
    pub fn offline_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.offline_dir = Some(dir.into());
        self
    }

    /// How the folder behaves: sizes of its files, its cap, compression.
    pub fn options(mut self, options: OfflineOptions) -> Self {
        self.options = options;
        self
    }

    /// A folder that is open already, in the place of [`offline_dir`](Init::offline_dir).
    pub fn server(mut self, server: OfflineTraceServer) -> Self {
        self.server = Some(server);
        self
    }

    /// The key of the server. Default: as of [`Credentials`](crate::Credentials). Never written.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The trace server. Default: `WF_TRACE_SERVER_URL`, else the one that belongs to
    /// [`wandb_url`](Init::wandb_url).
    pub fn trace_url(mut self, url: impl Into<String>) -> Self {
        self.trace_url = Some(url.into());
        self
    }

    /// The server of projects. Default: `WANDB_BASE_URL`, else the hosted one.
    pub fn wandb_url(mut self, url: impl Into<String>) -> Self {
        self.wandb_url = Some(url.into());
        self
    }

    /// Whether a call that ends waits until it is on stable storage, which costs a flush of the
    /// disk: then it survives a crash of the program and a power cut. Default: off; calls are
    /// stored a tenth of a second after they were logged, together.
    pub fn durable(mut self, durable: bool) -> Self {
        self.is_durable = durable;
        self
    }

    /// Attributes of all calls: an object.
    pub fn attributes(mut self, attributes: impl Serialize) -> Self {
        self.attributes = serde_json::to_value(attributes).unwrap_or(Value::Bool(false));
        self
    }

    /// One more name of what stands in inputs, outputs and attributes and is never kept, at any
    /// depth, in any case, beside `api_key`, `auth_headers` and `authorization`.
    pub fn redact_key(mut self, key: impl Into<String>) -> Self {
        self.redacted_keys.push(key.into().to_ascii_lowercase());
        self
    }

    /// How long what is logged is collected before it is stored together: more is fewer flushes
    /// of the disk, and more that is lost if the program is killed. Default: 100 ms.
    pub fn collect_for(mut self, time: Duration) -> Self {
        self.collect_for = time;
        self
    }

    /// Bytes of calls that are held in memory at most. At the limit calls wait for a disk that
    /// works, up to a second, and are dropped and counted where it takes nothing. Default: 64 MB.
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// Starts logging: ops log with this client from now on. Asks no server and waits for none.
    /// Whoever ends by [`finish`](WeaveClient::finish) loses nothing; a program that returns
    /// from the thread which called this, or exits there, does so too.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for a project's name, an address or
    /// attributes that are none, and where the folder cannot be made.
    pub fn start(self) -> Result<WeaveClient, TraceError> {
        let invalid = |message: String| TraceError::new(TraceErrorKind::InvalidInput, message);
        let project: ProjectId =
            self.project_name.parse().map_err(|error: ProjectError| invalid(error.to_string()))?;
        let attributes = match self.attributes {
            Value::Null => None,
            Value::Object(attributes) => Some(Arc::new(attributes)),
            other => return Err(invalid(format!("attributes are an object: found {other}"))),
        };
        let remote = remote_of(self.api_key, self.trace_url, self.wandb_url)?;
        let server = match self.server {
            Some(server) => server,
            None => OfflineTraceServer::open(folder(self.offline_dir)?, self.options)?,
        };
        let of_project = OfProject::new(&project.to_string(), self.redacted_keys);
        let mut recorder =
            Recorder::new(server.clone(), project, of_project, self.max_memory_bytes);
        recorder.is_durable = self.is_durable;
        recorder.attributes = attributes;
        let recorder = Arc::new(recorder);
        let online = match self.is_offline {
            true => None,
            false => Some(Online::start(server, remote.clone())?),
        };
        let writer = start_writer(&recorder, self.collect_for)?;
        let writer = Mutex::new(Some(writer));
        let client =
            WeaveClient::new(Inner { recorder, writer, online, remote, reads: OnceLock::new() });
        weave_client::make_current(&client);
        flush_at_exit(&client);
        Ok(client)
    }
}

fn folder(named: Option<PathBuf>) -> Result<PathBuf, TraceError> {
    named.or_else(OfflineTraceServer::default_dir).ok_or_else(|| {
        let message = "there is no home folder to keep offline data in: name offline_dir";
        TraceError::new(TraceErrorKind::InvalidInput, message)
    })
}

fn start_writer(
    recorder: &Recorder,
    collect_for: Duration,
) -> Result<std::thread::JoinHandle<()>, TraceError> {
    let writer = Writer::of(recorder);
    let thread = std::thread::Builder::new().name("weave-writer".to_owned());
    // Spans of what runs there are not logged: it would wait for itself.
    let context = Context::default().without_logging();
    let started = thread.spawn(move || context.run(|| writer::store_all(&writer, collect_for)));
    started.map_err(|error| {
        let message = format!("the thread that stores cannot be started: {error}");
        TraceError::new(TraceErrorKind::Store, message)
    })
}

thread_local! {
    /// Clients that were started here: flushed when the thread ends, that of `main` included.
    static STARTED: Mutex<Vec<FlushedAtExit>> = const { Mutex::new(Vec::new()) };
}

struct FlushedAtExit {
    queue: Weak<Queue<Item>>,
    process: u32,
}

impl Drop for FlushedAtExit {
    fn drop(&mut self) {
        let is_here = self.process == std::process::id();
        if let Some(queue) = self.queue.upgrade().filter(|_| is_here) {
            queue.wait_until_stored(queue.end());
        }
    }
}

/// A program's end ends no thread and drops nothing that is static; it does drop what belongs
/// to its main thread.
fn flush_at_exit(client: &WeaveClient) {
    let _ = STARTED.try_with(|started| {
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        started.retain(|before| before.queue.strong_count() > 0);
        let queue = Arc::downgrade(&client.recorder().queue);
        started.push(FlushedAtExit { queue, process: std::process::id() });
    });
}
