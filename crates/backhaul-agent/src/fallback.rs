//! The logger beside the queue, which sees every run.
//!
//! A [`RunLogger`] has one current run, an offline logger may have many. The first of
//! them goes to the fallback live; those that begin meanwhile are delivered to it whole
//! when they have ended, and not before the live one has: taking over a finished record
//! may close a run that is open there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::run_builder::RunEvent;
use crate::run_logger::RunLogger;
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};

/// Finished records that wait for the live run to end. They are on disk as well.
const MOST_WAITING: usize = 1000;

pub(crate) struct Fallback {
    logger: Arc<dyn RunLogger>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<u64>,
    last: u64,
    waiting: VecDeque<RunRecord>,
}

/// A run, as the fallback knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Fallback {
    pub(crate) fn new(logger: Arc<dyn RunLogger>) -> Self {
        Self { logger, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(&self, start: RunStart) -> Number {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        if state.live.is_none() {
            state.live = Some(number);
            // Under the lock: the calls of one run come one after the other.
            self.logger.start_run(start);
        }
        Number(number)
    }

    pub(crate) fn event(&self, number: Number, event: &RunEvent) {
        let state = self.lock();
        if state.live != Some(number.0) {
            return;
        }
        match event.clone() {
            RunEvent::ToolCall(call) => self.logger.record_tool_call(call),
            RunEvent::LlmCall(call) => self.logger.record_llm_call(call),
            RunEvent::Patch(patch) => self.logger.record_patch(patch),
            RunEvent::ProvenanceLink(link) => self.logger.record_provenance_link(link),
        }
    }

    pub(crate) fn ended(&self, number: Number, record: &RunRecord) {
        let mut state = self.lock();
        if state.live == Some(number.0) {
            state.live = None;
            let end = RunEnd {
                final_context: record.final_context.clone(),
                success: record.success,
                error: record.error.clone(),
                metadata: record.metadata.clone(),
            };
            if let Err(error) = self.logger.end_run(end) {
                tracing::warn!(%error, run_id = record.run_id, "the fallback logger lost a run");
            }
        } else {
            if state.waiting.len() == MOST_WAITING {
                state.waiting.pop_front();
                tracing::warn!("the fallback logger misses a run: too many run beside a long one");
            }
            state.waiting.push_back(record.clone());
        }
        if state.live.is_none() {
            for record in std::mem::take(&mut state.waiting) {
                if let Err(error) = self.logger.deliver(&record) {
                    tracing::warn!(%error, run_id = record.run_id, "the fallback logger lost a run");
                }
            }
        }
    }
}
