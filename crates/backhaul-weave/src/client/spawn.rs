//! Work that runs elsewhere, below the call that it was begun in.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::task;

use super::context::Context;

/// [`tokio::spawn`], in the context of now: calls in the task stand below the current one.
///
/// # Panics
/// Outside a tokio runtime, as [`tokio::spawn`].
pub fn spawn<F>(future: F) -> task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(Context::current().run_async(future))
}

/// [`tokio::task::spawn_blocking`], in the context of now.
///
/// # Panics
/// Outside a tokio runtime, as [`tokio::task::spawn_blocking`].
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> task::JoinHandle<T> {
    let context = Context::current();
    task::spawn_blocking(move || context.run(work))
}

/// [`std::thread::spawn`], in the context of now.
///
/// ```
/// let thread = backhaul_weave::spawn_thread(|| 40 + 2);
/// assert_eq!(thread.join().ok(), Some(42));
/// ```
pub fn spawn_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let context = Context::current();
    std::thread::spawn(move || context.run(work))
}

/// The context of now with attributes for all calls that begin in it.
///
/// ```
/// use serde_json::json;
/// let site = backhaul_weave::attributes(json!({"site": "buoy 7"}));
/// assert_eq!(site.run(|| 40 + 2), 42);
/// ```
pub fn attributes(attributes: impl serde::Serialize) -> Context {
    Context::current().with_attributes(attributes)
}

/// The context of now in a conversation, which Weave calls a thread: each call that begins right
/// in it is a turn.
///
/// ```
/// assert_eq!(backhaul_weave::thread("a-conversation").run(|| 40 + 2), 42);
/// ```
pub fn thread(id: impl Into<String>) -> Context {
    Context::current().with_thread(id)
}
