//! The runtime that a command runs on.

use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

/// After which a thread for what blocks ends that has nothing to do. Work goes to the one that
/// has waited longest, so that a steady load keeps each thread awake that a burst once took,
/// and with it what the allocator keeps aside for it: some 100 KB.
const IDLE_THREAD: Duration = Duration::from_millis(50);

/// Starts a runtime with so many threads beside those for what blocks.
///
/// # Errors
/// Where the system gives no threads.
pub(crate) fn start(worker_threads: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(worker_threads)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}
