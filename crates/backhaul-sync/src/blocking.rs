//! Disk calls from async code.

/// Runs what may wait for the disk on a thread that may wait. `None`: it panicked, or
/// the runtime is going down.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Some(result),
        Err(error) => {
            tracing::error!(%error, "a disk call of the courier did not end");
            None
        }
    }
}
