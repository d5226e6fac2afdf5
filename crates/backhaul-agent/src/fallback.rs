//! The logger beside the queue, which sees every run.
//!
//! A [`RunLogger`] has one current run, an offline logger may have many. The first of
//! them goes to the fallback live; those that begin meanwhile are delivered to it whole
//! when they have ended, and not before the live one has: taking over a finished record
//! may close a run that is open there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
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
    live: Option<Number>,
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

    pub(crate) fn start(&self, start: RunStart) -> Number {
        let mut state = lock(&self.state);
        state.last += 1;
        let number = Number(state.last);
        if state.live.is_none() {
            state.live = Some(number);
            // Under the lock: the calls of one run come one after the other.
            self.logger.start_run(start);
        }
        number
    }

    pub(crate) fn event(&self, number: Number, event: &RunEvent) {
        let state = lock(&self.state);
        if state.live == Some(number) {
            self.logger.record(event.clone());
        }
    }

    pub(crate) fn ended(&self, number: Number, record: &RunRecord) {
        let mut state = lock(&self.state);
        if state.live == Some(number) {
            state.live = None;
            if let Err(error) = self.logger.end_run(RunEnd::of(record)) {
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
