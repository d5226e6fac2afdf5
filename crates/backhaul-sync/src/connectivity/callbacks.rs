//! Calling those who want to know, each on its own: one that panics or never comes back
//! costs nobody else anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::state::Connectivity;

/// How long the callbacks of one state are waited for before those of the next are called:
/// they come in order as long as they come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something to call: a closure `|| { … }`, or `|| async { … }`, whose future is driven to
/// its end and may have any result. `Kind` tells them apart, and is found by the compiler.
///
/// Plain closures run on a thread that may wait. Only closures are callbacks.
pub trait Callback<Kind>: Send + Sync + 'static {
    /// The callback in the form that the monitor keeps.
    #[doc(hidden)]
    fn into_call(self) -> Call;
}

/// A callback that starts when it is called.
#[doc(hidden)]
pub struct Call(Box<dyn Fn() -> JoinHandle<()> + Send + Sync>);

/// Marks callbacks that are plain closures.
#[derive(Debug)]
pub enum Plain {}

/// Marks callbacks that are async closures.
#[derive(Debug)]
pub enum Async {}

impl<F> Callback<Plain> for F
where
    F: Fn() + Send + Sync + 'static,
{
    fn into_call(self) -> Call {
        let callback = Arc::new(self);
        Call(Box::new(move || {
            let callback = Arc::clone(&callback);
            tokio::task::spawn_blocking(move || callback())
        }))
    }
}

impl<F, R> Callback<Async> for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future + Send + 'static,
{
    fn into_call(self) -> Call {
        let callback = Arc::new(self);
        Call(Box::new(move || {
            let callback = Arc::clone(&callback);
            tokio::spawn(async move {
                callback().await;
            })
        }))
    }
}

/// A callback that was registered. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct CallbackHandle(Weak<Entry>);

impl CallbackHandle {
    /// Has the callback not be called any more. A call under way goes on.
    pub fn remove(&self) {
        if let Some(entry) = self.0.upgrade() {
            entry.is_removed.store(true, Ordering::SeqCst);
        }
    }
}

pub(crate) struct Entry {
    /// The state that it wants to hear of.
    of: Connectivity,
    call: Call,
    /// Held during a call.
    turn: tokio::sync::Mutex<()>,
    /// Another call waits for the end of the one under way.
    is_waiting: AtomicBool,
    is_removed: AtomicBool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callback").field("of", &self.of).finish_non_exhaustive()
    }
}

impl Entry {
    /// Calls, at once or when the call under way has come back; then only if the state is
    /// still the one it wants to hear of.
    async fn call(self: Arc<Self>, state: watch::Receiver<Connectivity>) {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                if self.is_waiting.swap(true, Ordering::SeqCst) {
                    return;
                }
                let turn = self.turn.lock().await;
                self.is_waiting.store(false, Ordering::SeqCst);
                if *state.borrow() != self.of {
                    return;
                }
                turn
            }
        };
        if self.is_removed.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = (self.call.0)().await {
            tracing::error!(%error, "a callback of the connectivity monitor did not end well");
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Callbacks(Mutex<Vec<Arc<Entry>>>);

impl Callbacks {
    pub(super) fn add(&self, of: Connectivity, call: Call) -> CallbackHandle {
        let entry = Arc::new(Entry {
            of,
            call,
            turn: tokio::sync::Mutex::default(),
            is_waiting: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        });
        let handle = CallbackHandle(Arc::downgrade(&entry));
        self.entries().push(entry);
        handle
    }

    /// Tells of each state that lasts until those who heard of the one before came back.
    /// Never ends.
    pub(super) async fn tell(&self, mut state: watch::Receiver<Connectivity>) {
        let mut told = Connectivity::Unknown;
        loop {
            let now = *state.borrow_and_update();
            if now != Connectivity::Unknown && now != told {
                told = now;
                let mut calls = JoinSet::new();
                for entry in self.of(now) {
                    calls.spawn(entry.call(state.clone()));
                }
                let ended = async { while calls.join_next().await.is_some() {} };
                if tokio::time::timeout(PATIENCE, ended).await.is_err() {
                    tracing::warn!("a callback of the connectivity monitor takes long");
                }
                calls.detach_all();
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The callbacks that want to hear of a state, in the order in which they came.
    fn of(&self, state: Connectivity) -> Vec<Arc<Entry>> {
        let mut entries = self.entries();
        entries.retain(|entry| !entry.is_removed.load(Ordering::SeqCst));
        entries.iter().filter(|entry| entry.of == state).cloned().collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        // Nothing in here leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
