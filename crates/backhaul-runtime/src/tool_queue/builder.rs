//! How a queue of calls is opened.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use backhaul_store::{Clock, Disk, Layout, Options, Spool, Standing};
use backhaul_sync::ConnectivityMonitor;
use tokio::sync::Notify;

use super::options::ToolQueueOptions;
use super::outcomes::{Keep, Outcomes};
use super::queue::ToolQueue;
use super::queue_error::ToolQueueError;
use super::shared::{Inside, Shared};
use crate::tools::ToolRegistry;

/// The folder of what calls came to, in that of the queue.
const RESULTS: &str = "results";
/// They take a tenth of the cap at most, as delivered records do.
const OF_THE_CAP: u64 = 10;

/// How a queue is opened. Made by [`ToolQueue::builder`].
#[must_use = "nothing is opened before open()"]
pub struct ToolQueueBuilder {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tools: ToolRegistry,
    pub(super) connectivity: Option<ConnectivityMonitor>,
    pub(super) options: ToolQueueOptions,
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
    /// [`InvalidOption`](super::ToolQueueErrorKind::InvalidOption), and where the disk refuses.
    pub fn open(self) -> Result<ToolQueue, ToolQueueError> {
        self.options.check()?;
        let options = Options {
            layout: Layout::Folder,
            max_bytes: self.options.max_bytes,
            ..Options::default()
        };
        let keep = Keep {
            time: self.options.keep_outcomes_for,
            bytes: self.options.max_bytes.map(|cap| cap / OF_THE_CAP),
        };
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        let outcomes = Outcomes::open(disk, clock, self.dir.join(RESULTS), keep);
        let spool = Spool::open_on(&self.dir, options, self.disk, self.clock)?;
        let mut inside = Inside::of(self.tools);
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
            beginning: Mutex::default(),
        };
        Ok(ToolQueue { shared: Arc::new(shared) })
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
