//! What keeps a run on disk, beside it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;

use crate::persistence::{PersistenceError, PersistentRun, RunStep};

/// Writes the steps of a run down, all that have come together at a time, while the run goes on.
#[derive(Debug)]
pub(super) struct Keeper {
    state: State,
    steps: Vec<RunStep>,
    error: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Nothing is kept.
    Off,
    Idle(Box<PersistentRun>),
    Writing(JoinHandle<Written>),
}

type Written = (Box<PersistentRun>, Result<(), PersistenceError>);

impl Keeper {
    pub(super) fn new(run: Option<PersistentRun>) -> Self {
        let state = run.map_or(State::Off, |run| State::Idle(Box::new(run)));
        Self { state, steps: Vec::new(), error: None }
    }

    /// Nothing is kept, for this reason.
    pub(super) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::new(None) }
    }

    /// Why not all of the run is on disk.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Takes a step that is to be written.
    pub(super) fn note(&mut self, step: impl FnOnce() -> RunStep) {
        if !matches!(self.state, State::Off) {
            self.steps.push(step());
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing(_))
    }

    /// Begins to write what has come, if nothing is being written. Whether it does.
    pub(super) fn write(&mut self) -> bool {
        if self.steps.is_empty() {
            return false;
        }
        match std::mem::replace(&mut self.state, State::Off) {
            State::Idle(mut run) => {
                let steps = std::mem::take(&mut self.steps);
                let work = move || {
                    let written = run.take(&steps);
                    (run, written)
                };
                self.state = State::Writing(tokio::task::spawn_blocking(work));
                true
            }
            state => {
                self.state = state;
                false
            }
        }
    }

    /// Waits until it is written. Forever, if nothing is.
    pub(super) fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let State::Writing(writing) = &mut self.state else { return Poll::Pending };
        match ready!(Pin::new(writing).poll(context)) {
            Ok((run, written)) => {
                self.state = State::Idle(run);
                // The run has what the disk refused, writes it with the next steps, and tells of
                // it in the log.
                self.error = written.err().map(|error| error.to_string());
            }
            Err(error) => {
                tracing::error!(%error, "a run is not kept any more: a crash would lose what it does");
                self.error = Some(format!("the thread that writes has ended: {error}"));
                self.state = State::Off;
                self.steps.clear();
            }
        }
        Poll::Ready(())
    }
}
