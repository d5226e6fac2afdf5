//! Which of the waiting records go first, where somebody else says so.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::time::Duration;

use super::Limits;
use crate::record::StoredRecord;

/// Says which of the waiting records go first: those with the highest scores, and of
/// equal ones the oldest. Used by [`Spool::take_chosen`](crate::Spool::take_chosen).
///
/// It is called while the spool is locked: it must not call the spool, and must not panic.
pub trait Chooser: Send + Sync {
    /// What scores a record from now on. Called once when the record comes into the
    /// window, with its body at hand; a large one is not kept. Once more where the process
    /// started anew in between, or another chooser was asked.
    fn scorer(&self, record: &StoredRecord) -> Scorer;

    /// What the choice is made from.
    fn choice(&self) -> Choice {
        Choice::default()
    }
}

/// The score of one record at a moment. NaN counts as 0.
pub type Scorer = Box<dyn FnMut(&Waited) -> f64 + Send>;

/// What changes of a record while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Since it was appended: power-on time where the boots tell it, never negative.
    pub age: Duration,
    /// Attempts made to deliver it.
    pub attempts: u32,
}

/// What a choice is made from, and what the scores have no say in.
///
/// The window of a chain is its first records that may be offered. With 256 of them a
/// choice costs less than sending a batch, and a million that wait behind them nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Most records in the window of a chain; as many as a batch may hold, at least.
    /// Default: 256.
    pub window_records: usize,
    /// The window ends with the record with which its bodies reach so many bytes, so that
    /// looking ahead never reads more than that. Default: 32 MB.
    pub window_bytes: usize,
    /// The share of the oldest, at least 1: of so many batches that are answered one begins
    /// with the record that has waited longest, whatever its lane, and in each batch every
    /// place of this number goes to the oldest that is left in the window. Default: 10.
    pub oldest_every: u32,
}

impl Default for Choice {
    fn default() -> Self {
        Self { window_records: 256, window_bytes: 32_000_000, oldest_every: 10 }
    }
}

impl Choice {
    /// Whether the batch after so many others belongs to the oldest.
    pub(super) fn is_of_the_oldest(&self, batches: u64) -> bool {
        (batches + 1).is_multiple_of(u64::from(self.oldest_every.max(1)))
    }
}

/// A score that can be compared with every other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score(f64);

impl Score {
    /// NaN counts as 0, and no zero is less than another.
    pub(super) fn new(score: f64) -> Self {
        Self(if score.is_nan() { 0.0 } else { score + 0.0 })
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

/// A record in the window of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) sequence: u64,
    pub(super) score: Score,
    pub(super) age: Duration,
    pub(super) bytes: usize,
}

/// The best of a window, best first. `window`: in the order of the chain. `oldest_first`:
/// the first place belongs to the oldest.
pub(super) fn best(
    window: &[Candidate],
    limits: &Limits,
    choice: &Choice,
    oldest_first: bool,
) -> Vec<u64> {
    let mut by_score: Vec<&Candidate> = window.iter().collect();
    by_score.sort_by_key(|candidate| Reverse(candidate.score));
    let (mut by_score, mut by_age) = (by_score.into_iter(), window.iter());
    let every = usize::try_from(choice.oldest_every.max(1)).unwrap_or(usize::MAX);
    let (mut best, mut chosen, mut bytes) = (Vec::new(), BTreeSet::new(), 0usize);
    for place in 1..=limits.records.max(1) {
        let is_of_the_oldest = place.is_multiple_of(every) || (oldest_first && place == 1);
        let is_left = |candidate: &&Candidate| !chosen.contains(&candidate.sequence);
        let next =
            if is_of_the_oldest { by_age.find(is_left) } else { by_score.find(|c| is_left(c)) };
        let Some(next) = next else { break };
        bytes = bytes.saturating_add(next.bytes);
        if place > 1 && bytes > limits.bytes {
            break;
        }
        chosen.insert(next.sequence);
        best.push(next.sequence);
    }
    best
}

/// Orders windows as they are to be taken from: the one with the oldest record first, or
/// the one with the best.
pub(super) fn order_windows<T>(windows: &mut [(T, Vec<Candidate>)], oldest_first: bool) {
    windows.sort_by_key(|(_, window)| {
        Reverse(if oldest_first {
            window.first().map(|oldest| (Score::new(0.0), oldest.age))
        } else {
            window.iter().map(|candidate| (candidate.score, candidate.age)).max()
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(scores: &[f64]) -> Vec<Candidate> {
        (1..)
            .zip(scores)
            .map(|(sequence, score)| Candidate {
                sequence,
                score: Score::new(*score),
                age: Duration::from_secs(100 - sequence),
                bytes: 10,
            })
            .collect()
    }

    fn limits(records: usize, bytes: usize) -> Limits {
        Limits { records, bytes, ..Limits::default() }
    }

    #[test]
    fn the_highest_go_first_and_of_equal_ones_the_oldest() {
        let window = window(&[1.0, 3.0, 1.0, -2.0, 3.0, f64::INFINITY, -0.0, f64::NAN, 0.0]);
        let choice = Choice::default();
        assert_eq!(best(&window, &limits(9, 1000), &choice, false), [6, 2, 5, 1, 3, 7, 8, 9, 4]);
        assert_eq!(best(&window, &limits(2, 1000), &choice, false), [6, 2]);
    }

    #[test]
    fn each_place_of_the_share_goes_to_the_oldest_that_is_left() {
        let window = window(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let choice = Choice { oldest_every: 3, ..Choice::default() };
        assert_eq!(best(&window, &limits(8, 1000), &choice, false), [8, 7, 1, 6, 5, 2, 4, 3]);
        assert_eq!(best(&window, &limits(4, 1000), &choice, true), [1, 8, 2, 7]);
        let always = Choice { oldest_every: 0, ..Choice::default() };
        assert_eq!(best(&window, &limits(3, 1000), &always, false), [1, 2, 3]);
    }

    #[test]
    fn bytes_end_a_batch_but_for_its_first_record() {
        let window = window(&[1.0, 2.0, 3.0]);
        let choice = Choice::default();
        assert_eq!(best(&window, &limits(3, 20), &choice, false), [3, 2]);
        assert_eq!(best(&window, &limits(3, 29), &choice, false), [3, 2]);
        assert_eq!(best(&window, &limits(3, 0), &choice, false), [3]);
        assert_eq!(best(&window, &limits(0, 99), &choice, false), [3]);
    }

    #[test]
    fn windows_stand_by_their_best_record_or_by_their_oldest() {
        let young = |scores| {
            let mut window = window(scores);
            window.iter_mut().for_each(|candidate| candidate.age /= 2);
            window
        };
        let mut windows = [
            ("empty", Vec::new()),
            ("young", young(&[1.0, 9.0])),
            ("old", window(&[9.0, 1.0])),
            ("poor", window(&[2.0])),
        ];
        let names = |windows: &[(&'static str, Vec<Candidate>)]| -> Vec<&'static str> {
            windows.iter().map(|(name, _)| *name).collect()
        };
        order_windows(&mut windows, false);
        assert_eq!(names(&windows), ["old", "young", "poor", "empty"]);
        order_windows(&mut windows, true);
        assert_eq!(names(&windows), ["old", "poor", "young", "empty"]);
    }
}
