//! Leaves a model alone that was just found not to answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{LlmError, LlmErrorKind};

/// Failures in a row after which a server that answers with errors is left alone. One that
/// does not answer is so after the first.
const FAILURES: u32 = 3;

/// What is known of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// It is asked.
    Closed,
    /// It is left alone.
    Open,
    /// It can be reached again: one call tries it, the others wait for what comes of that.
    HalfOpen,
}

impl BreakerState {
    /// `closed`, `open` or `half_open`.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// Why a model is left alone.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) error: LlmError,
    pub(super) since: Instant,
    /// How often it was so without an answer in between.
    pub(super) times: u32,
}

impl Opening {
    /// What a call is told that does not get through.
    fn shut(&self) -> LlmError {
        let ago = self.since.elapsed().as_secs();
        let message = format!("not asked, since {ago} s ago: {}", self.error);
        LlmError::new(self.error.kind(), message)
    }
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open(Opening),
    /// The second is whether a call is trying it.
    HalfOpen(Opening, bool),
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// In a row.
    failures: u32,
}

impl State {
    fn name(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open(_) => BreakerState::Open,
            Phase::HalfOpen(..) => BreakerState::HalfOpen,
        }
    }
}

/// What all calls of one model share.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    told: watch::Sender<BreakerState>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: Mutex::default(), told: watch::Sender::new(BreakerState::Closed) }
    }
}

impl Breaker {
    /// Lets a call through, or says why not.
    pub(super) fn admit(&self) -> Result<Pass<'_>, LlmError> {
        let mut state = self.lock();
        let is_trial = match &mut state.phase {
            Phase::Closed => false,
            Phase::Open(opening) | Phase::HalfOpen(opening, true) => return Err(opening.shut()),
            Phase::HalfOpen(_, is_tried) => {
                *is_tried = true;
                true
            }
        };
        Ok(Pass { breaker: self, is_trial })
    }

    pub(super) fn state(&self) -> (BreakerState, Option<Opening>) {
        let state = self.lock();
        let opening = match &state.phase {
            Phase::Closed => None,
            Phase::Open(opening) | Phase::HalfOpen(opening, _) => Some(opening.clone()),
        };
        (state.name(), opening)
    }

    /// A pass for a call that is made whatever the state is.
    pub(super) fn pass(&self) -> Pass<'_> {
        Pass { breaker: self, is_trial: false }
    }

    /// The state and its changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<BreakerState> {
        self.told.subscribe()
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed)
    }

    /// It answers.
    pub(super) fn close(&self) {
        self.set(&mut self.lock(), State::default());
    }

    /// It can be reached: the next call tries it.
    pub(super) fn half_open(&self) {
        let mut state = self.lock();
        if let Phase::Open(opening) = &state.phase {
            let (phase, failures) = (Phase::HalfOpen(opening.clone(), false), state.failures);
            self.set(&mut state, State { phase, failures });
        }
    }

    /// Notes a failure. Returns how often it was opened in a row, where this one opens it.
    pub(super) fn note_failure(&self, error: &LlmError) -> Option<u32> {
        let mut state = self.lock();
        let times = match &state.phase {
            // A call that began before it was opened.
            Phase::Open(_) => return None,
            Phase::HalfOpen(opening, _) => opening.times,
            Phase::Closed => 0,
        };
        match weight(error) {
            Weight::Nothing | Weight::Answers => return None,
            Weight::Whole => {}
            Weight::Part => {
                state.failures += 1;
                if times == 0 && state.failures < FAILURES {
                    return None;
                }
            }
        }
        let opening = Opening { error: error.clone(), since: Instant::now(), times: times + 1 };
        self.set(&mut state, State { phase: Phase::Open(opening), failures: 0 });
        Some(times + 1)
    }

    /// A call that was to try it was given up.
    fn give_up_trial(&self) {
        if let Phase::HalfOpen(_, is_tried) = &mut self.lock().phase {
            *is_tried = false;
        }
    }

    /// Told under the lock, so that changes are told in their order.
    fn set(&self, state: &mut State, new: State) {
        *state = new;
        let name = state.name();
        self.told.send_if_modified(|told| std::mem::replace(told, name) != name);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much a failure says of the next call.
enum Weight {
    /// The next one would fail alike.
    Whole,
    /// It may have been this one's bad luck.
    Part,
    /// Others wait longer.
    Nothing,
    /// It answers: the trouble is the key's, the request's, or over at a time that is known.
    Answers,
}

/// How long a model has to have had for a caller's impatience to say something of it.
const LONG_ENOUGH: Duration = Duration::from_secs(5);

fn weight(error: &LlmError) -> Weight {
    match (error.kind(), error.waited()) {
        (LlmErrorKind::Timeout, Some(waited)) if waited < LONG_ENOUGH => Weight::Nothing,
        (LlmErrorKind::Timeout, Some(_)) => Weight::Part,
        (LlmErrorKind::Unreachable | LlmErrorKind::Timeout | LlmErrorKind::Garbled, _) => {
            Weight::Whole
        }
        (LlmErrorKind::Busy | LlmErrorKind::BrokenOff | LlmErrorKind::Engine, _) => Weight::Part,
        _ => Weight::Answers,
    }
}

/// A call that was let through. One that is dropped without a word has said nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

impl Pass<'_> {
    pub(super) fn succeeded(mut self) {
        self.is_trial = false;
        self.breaker.close();
    }

    /// Returns how often it was opened in a row, where this opens it.
    pub(super) fn failed(self, error: &LlmError) -> Option<u32> {
        let opened = self.breaker.note_failure(error);
        if self.is_trial && matches!(weight(error), Weight::Answers) {
            // It does answer.
            self.breaker.close();
        }
        opened
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.give_up_trial();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: LlmErrorKind) -> LlmError {
        LlmError::new(kind, "as the test has it")
    }

    fn fail(breaker: &Breaker, kind: LlmErrorKind) -> Option<u32> {
        breaker.admit().unwrap().failed(&error(kind))
    }

    fn state(breaker: &Breaker) -> BreakerState {
        breaker.state().0
    }

    #[test]
    fn one_failure_to_connect_opens_it_at_once() {
        for kind in [LlmErrorKind::Unreachable, LlmErrorKind::Timeout, LlmErrorKind::Garbled] {
            let breaker = Breaker::default();
            assert_eq!(fail(&breaker, kind), Some(1));
            let shut = breaker.admit().unwrap_err();
            assert_eq!(shut.kind(), kind);
            assert!(shut.message().contains("as the test has it"), "{shut}");
        }
    }

    #[test]
    fn errors_of_the_server_open_it_when_they_come_in_a_row() {
        let breaker = Breaker::default();
        assert_eq!(fail(&breaker, LlmErrorKind::Busy), None);
        assert_eq!(fail(&breaker, LlmErrorKind::BrokenOff), None);
        breaker.admit().unwrap().succeeded();
        assert_eq!(fail(&breaker, LlmErrorKind::Busy), None);
        assert_eq!(fail(&breaker, LlmErrorKind::Busy), None);
        assert_eq!(fail(&breaker, LlmErrorKind::Busy), Some(1));
        assert_eq!(state(&breaker), BreakerState::Open);
    }

    #[test]
    fn each_change_is_told_and_nothing_else() {
        let breaker = Breaker::default();
        let mut told = breaker.subscribe();
        fail(&breaker, LlmErrorKind::Busy);
        breaker.admit().unwrap().succeeded();
        assert!(!told.has_changed().unwrap());
        fail(&breaker, LlmErrorKind::Unreachable);
        assert_eq!(*told.borrow_and_update(), BreakerState::Open);
        breaker.half_open();
        assert_eq!(*told.borrow_and_update(), BreakerState::HalfOpen);
        drop(breaker.admit().unwrap());
        assert!(!told.has_changed().unwrap());
        breaker.close();
        assert_eq!(*told.borrow_and_update(), BreakerState::Closed);
    }

    #[test]
    fn what_is_the_requests_or_the_keys_fault_never_opens_it() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for kind in [
                LlmErrorKind::Invalid,
                LlmErrorKind::Credentials,
                LlmErrorKind::RateLimited,
                LlmErrorKind::ContextLength,
            ] {
                assert_eq!(fail(&breaker, kind), None);
            }
        }
        assert_eq!(state(&breaker), BreakerState::Closed);
    }

    #[test]
    fn half_open_lets_one_call_through_at_a_time() {
        let breaker = Breaker::default();
        fail(&breaker, LlmErrorKind::Unreachable);
        breaker.half_open();
        let trial = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
        // A caller that goes away makes room for the next one.
        drop(trial);
        breaker.admit().unwrap().succeeded();
        assert_eq!(state(&breaker), BreakerState::Closed);
    }

    #[test]
    fn a_trial_that_fails_in_any_way_of_the_servers_opens_it_again() {
        let breaker = Breaker::default();
        fail(&breaker, LlmErrorKind::Unreachable);
        for times in 2..5 {
            breaker.half_open();
            assert_eq!(fail(&breaker, LlmErrorKind::Busy), Some(times));
        }
        breaker.half_open();
        assert_eq!(fail(&breaker, LlmErrorKind::Invalid), None);
        assert_eq!(state(&breaker), BreakerState::Closed, "it does answer");
    }

    #[test]
    fn a_late_failure_of_an_earlier_call_changes_nothing() {
        let breaker = Breaker::default();
        let (first, second) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        assert_eq!(first.failed(&error(LlmErrorKind::Unreachable)), Some(1));
        assert_eq!(second.failed(&error(LlmErrorKind::Unreachable)), None);
        // Nor does its failure when one has answered since: that is news.
        breaker.close();
        assert_eq!(state(&breaker), BreakerState::Closed);
    }
}
