//! How far a call is, between those who make it and the one who stores it.

use std::sync::PoisonError;

use super::sync::{Mutex, MutexGuard};

/// A call that ends before it is stored is stored whole, by one record; any other by two.
#[derive(Debug)]
pub(crate) struct Phase<E> {
    step: Mutex<Step<E>>,
}

#[derive(Debug)]
enum Step<E> {
    /// It was handed over, and nothing of it is stored.
    Queued,
    /// Its start was given to the disk.
    Begun,
    /// It has ended, and nothing of it is stored.
    Ended(E),
    /// Nothing more comes of it.
    Over,
}

/// What is to be done with an end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending<E> {
    /// Nothing: it is stored together with the start.
    WithItsStart,
    /// It is to be handed over by itself.
    ByItself(E),
    /// Nothing: the call was over, or was dropped.
    TooLate,
}

/// What is to be stored of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<E> {
    /// Its start: it goes on.
    Start,
    /// All of it.
    Whole(E),
}

impl<E> Phase<E> {
    pub(crate) fn new() -> Self {
        Self { step: Mutex::new(Step::Queued) }
    }

    /// The call ends.
    pub(crate) fn end(&self, ending: E) -> Ending<E> {
        let mut step = self.step();
        match &*step {
            Step::Queued => {
                *step = Step::Ended(ending);
                Ending::WithItsStart
            }
            Step::Begun => {
                *step = Step::Over;
                Ending::ByItself(ending)
            }
            Step::Ended(_) | Step::Over => Ending::TooLate,
        }
    }

    /// The call was not taken: its end is not either.
    pub(crate) fn give_up(&self) {
        *self.step() = Step::Over;
    }

    /// It is its turn to be stored. `None`: it was stored before, or was dropped.
    pub(crate) fn store(&self) -> Option<Part<E>> {
        let mut step = self.step();
        match std::mem::replace(&mut *step, Step::Begun) {
            Step::Queued => Some(Part::Start),
            Step::Ended(ending) => {
                *step = Step::Over;
                Some(Part::Whole(ending))
            }
            before @ (Step::Begun | Step::Over) => {
                *step = before;
                None
            }
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.step(), Step::Ended(_) | Step::Over)
    }

    fn step(&self) -> MutexGuard<'_, Step<E>> {
        // No step leaves it half changed.
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
