//! The runtime that a command runs on.

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

/// Starts a runtime with so many threads beside those for what blocks.
///
/// # Errors
/// Where the system gives no threads.
pub(crate) fn start(worker_threads: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(worker_threads)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}
