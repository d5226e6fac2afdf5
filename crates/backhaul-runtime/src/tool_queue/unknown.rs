//! Calls of which nobody knows whether they were done, and what a person decides of them.

use std::ops::ControlFlow;

use backhaul_store::{Position, Settled, Standing, State};
use serde_json::Value;

use super::queue::ToolQueue;
use super::queue_error::{ToolQueueError, ToolQueueErrorKind};
use super::queue_status::UnknownCall;
use super::record::request_of;
use crate::tools::ToolRequest;

/// What a person decides of a call of which nobody knows whether it was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is done (again).
    Repeat,
    /// It was done, with this result.
    WasDone(Value),
    /// It will not be done.
    Abandon,
}

impl ToolQueue {
    /// The calls that wait for a person to decide: the oldest first.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn unknown_calls(&self) -> Result<Vec<UnknownCall>, ToolQueueError> {
        let mut unknown = Vec::new();
        self.shared.spool.each(Some(Standing::Pending), &mut |entry| {
            if entry.held == Some(State::Unknown) {
                unknown.push(entry);
            }
            ControlFlow::Continue(())
        })?;
        let described = unknown.into_iter().map(|entry| {
            let (_, record) = self.shared.spool.get(entry.id.position)?;
            Ok(request_of(&record).ok().map(|call| UnknownCall {
                id: entry.id.position.to_string(),
                call,
                age: entry.age,
                attempts: entry.attempts,
                reason: entry.last_error,
            }))
        });
        described.filter_map(Result::transpose).collect()
    }

    /// Decides a call of which nobody knows whether it was done, by its name in the queue.
    ///
    /// # Errors
    /// [`NotFound`](ToolQueueErrorKind::NotFound) where no such call waits for that,
    /// [`Busy`](ToolQueueErrorKind::Busy), and where the disk refuses.
    pub fn decide(&self, id: &str, decision: Decision) -> Result<(), ToolQueueError> {
        let shared = &self.shared;
        let unknown = self.unknown_calls()?.into_iter().find(|unknown| unknown.id == id);
        let (unknown, position) = unknown.zip(id.parse::<Position>().ok()).ok_or_else(|| {
            let message =
                format!("no call {id:?} waits for a decision: unknown_calls() lists those that do");
            ToolQueueError::new(ToolQueueErrorKind::NotFound, message)
        })?;
        shared.claim()?;
        match decision {
            Decision::Repeat => {
                shared.spool.requeue(position)?;
            }
            Decision::WasDone(value) => {
                let ToolRequest { tool, key, .. } = &unknown.call;
                if let Err(error) = shared.outcomes.put(tool, key, &value) {
                    tracing::warn!(%key, %error, "what a call came to cannot be stored");
                }
                shared.end(position, &unknown.call, Settled::new(State::Delivered))?;
            }
            Decision::Abandon => {
                let ToolRequest { tool, key, .. } = &unknown.call;
                let why = "abandoned by a person";
                if let Err(error) = shared.outcomes.abandon(tool, key, why) {
                    tracing::warn!(%key, %error, "that a call is abandoned cannot be stored");
                }
                let settled = Settled::new(State::Dropped).reason(why);
                shared.end(position, &unknown.call, settled)?;
            }
        }
        shared.wake.notify_one();
        Ok(())
    }

    /// Takes back a call that waits, by its name in the queue. `Ok(false)`: it was begun, and may
    /// have been done, or waits no more.
    ///
    /// # Errors
    /// [`Busy`](ToolQueueErrorKind::Busy), and where the disk refuses.
    pub fn withdraw(&self, id: &str) -> Result<bool, ToolQueueError> {
        let shared = &self.shared;
        let Ok(position) = id.parse::<Position>() else { return Ok(false) };
        let _none_begins = shared.beginning();
        let (entry, record) = shared.spool.get(position)?;
        if entry.standing != Standing::Pending || entry.is_begun || entry.held.is_some() {
            return Ok(false);
        }
        let Ok(request) = request_of(&record) else { return Ok(false) };
        let settled = Settled::new(State::Dropped).reason("taken back: it was not done");
        shared.end(position, &request, settled)?;
        Ok(true)
    }
}
