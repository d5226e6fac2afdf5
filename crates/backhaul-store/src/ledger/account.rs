//! What is settled of one chain at one destination: a floor, and exceptions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Settled, State, is_false};
use crate::clock::Timestamp;
use crate::id::Chain;

/// All accounts: by destination, then by chain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Accounts(pub(crate) BTreeMap<String, BTreeMap<String, Account>>);

/// A record that its destination will not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it was rejected, by the wall clock.
    pub at: String,
    /// Why.
    pub reason: String,
    /// The HTTP status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Attempts made before.
    pub attempts: u32,
}

/// A record that was tried, and waits to be tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Attempts made so far.
    pub count: u32,
    /// Those that count against the record's retries.
    #[serde(default)]
    pub spent: u32,
    /// Not before this wall-clock time, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_us: Option<i64>,
    /// What the last one came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Kept back until an operator decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<State>,
    /// Whether the last one began, and nobody knows what it came to: what it does may have
    /// happened.
    #[serde(default, skip_serializing_if = "is_false", rename = "begun")]
    pub is_begun: bool,
    /// Whether the last one came to nothing because no data cap holds the record.
    #[serde(default, skip_serializing_if = "is_false", rename = "oversized")]
    pub is_oversized: bool,
    /// Whether the destination has a summary of it.
    #[serde(default, skip_serializing_if = "is_false", rename = "summarized")]
    pub is_summarized: bool,
}

/// The books: accepted is always the sum of all the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Books {
    /// Acknowledged to a producer.
    pub accepted: u64,
    /// Taken by the destination, duplicates included.
    pub delivered: u64,
    /// Too old to be worth sending.
    pub expired: u64,
    /// Removed to make room.
    pub evicted: u64,
    /// Refused by the destination, and kept in `failed/`.
    pub rejected: u64,
    /// Replaced by a newer record with the same collapse key.
    pub superseded: u64,
    /// Removed by an operator.
    pub dropped: u64,
    /// Damaged on disk.
    pub damaged: u64,
    /// Waiting.
    pub pending: u64,
    /// Not accepted: places that hold no record, because a commit never ended.
    pub void: u64,
    /// Of the delivered: how many the destination had already.
    pub duplicates: u64,
}

impl Books {
    /// What became of the accepted records: each state by its name, and how many are in
    /// it; those that wait come last. The sum is `accepted` when the books balance.
    ///
    /// ```
    /// use backhaul_store::Books;
    ///
    /// let books = Books { accepted: 3, delivered: 2, pending: 1, ..Books::default() };
    /// let counts: Vec<_> = books.parts().into_iter().filter(|(_, count)| *count > 0).collect();
    /// assert_eq!(counts, [("delivered", 2), ("pending", 1)]);
    /// ```
    pub fn parts(&self) -> [(&'static str, u64); 8] {
        [
            ("delivered", self.delivered),
            ("rejected", self.rejected),
            ("expired", self.expired),
            ("evicted", self.evicted),
            ("superseded", self.superseded),
            ("dropped", self.dropped),
            ("damaged", self.damaged),
            ("pending", self.pending),
        ]
    }

    /// Whether accepted is the sum of the others.
    pub fn balance(&self) -> bool {
        self.accepted == self.parts().iter().map(|(_, count)| count).sum::<u64>()
    }

    /// Adds those of another spool or lane.
    pub fn add(&mut self, other: &Books) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.expired += other.expired;
        self.evicted += other.evicted;
        self.rejected += other.rejected;
        self.superseded += other.superseded;
        self.dropped += other.dropped;
        self.damaged += other.damaged;
        self.pending += other.pending;
        self.void += other.void;
        self.duplicates += other.duplicates;
    }

    fn count_of(&mut self, state: State) -> Option<&mut u64> {
        Some(match state {
            State::Delivered | State::Duplicate => &mut self.delivered,
            State::Expired => &mut self.expired,
            State::Evicted => &mut self.evicted,
            State::Rejected => &mut self.rejected,
            State::Superseded => &mut self.superseded,
            State::Dropped => &mut self.dropped,
            State::Damaged => &mut self.damaged,
            State::Void => &mut self.void,
            _ => return None,
        })
    }
}

/// One chain at one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The first sequence that the account knows of.
    base: u64,
    /// Everything before is settled, but for `requeued`.
    pub(crate) floor: u64,
    /// Everything before was acknowledged, as far as that was noted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) accepted: u64,
    /// Settled ranges from the floor on: first to last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settled: BTreeMap<u64, u64>,
    /// Rejected records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) failed: BTreeMap<u64, Failure>,
    /// Waiting records that were tried or held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) open: BTreeMap<u64, Attempts>,
    /// Waiting records that were settled before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) requeued: BTreeSet<u64>,
    /// Records settled by each final state; `accepted` and `pending` stay 0 here.
    counts: Books,
    /// When the floor stood where: microseconds since 1970, and the floor. Tells how
    /// long delivered data has been delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<(i64, u64)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// No spool counts further: what does was not written by one.
pub(crate) const MAX_NUMBER: u64 = 1 << 60;

/// Whether a time in microseconds is within some ten thousand years of 1970.
pub(crate) fn is_plausible_time(micros: i64) -> bool {
    micros.unsigned_abs() <= MAX_NUMBER
}

/// Marks kept per account; the time between two is a share of the retention.
const MARKS: usize = 8;

impl Account {
    pub(crate) fn new(base: u64) -> Self {
        Self {
            base,
            floor: base,
            accepted: 0,
            settled: BTreeMap::new(),
            failed: BTreeMap::new(),
            open: BTreeMap::new(),
            requeued: BTreeSet::new(),
            counts: Books::default(),
            marks: Vec::new(),
        }
    }

    fn is_plausible(&self) -> bool {
        let Books { accepted, delivered, expired, evicted, rejected, .. } = self.counts;
        let Books { superseded, dropped, damaged, pending, void, duplicates, .. } = self.counts;
        let counts = [
            accepted, delivered, expired, evicted, rejected, superseded, dropped, damaged, pending,
            void, duplicates,
        ];
        let mut numbers = counts.into_iter().chain([self.base, self.floor, self.accepted]);
        let mut places = self.failed.keys().chain(self.open.keys()).chain(&self.requeued);
        let mut ranges = self.settled.iter();
        let mut attempts = self.open.values();
        numbers.all(|number| number <= MAX_NUMBER)
            && self.base <= self.floor
            && places.all(|&sequence| sequence <= MAX_NUMBER)
            && ranges.all(|(first, last)| first <= last && *last <= MAX_NUMBER)
            && attempts.all(|open| open.count < u32::MAX && open.spent < u32::MAX)
            && self.open.values().filter_map(|open| open.not_before_us).all(is_plausible_time)
            && self.marks.iter().all(|(at, _)| is_plausible_time(*at))
    }

    /// Notes where the floor stands, if the last note is `keep`/8 old.
    pub(crate) fn mark(&mut self, now_us: i64, keep_us: i64) {
        let due = self.marks.last().is_none_or(|(at, floor)| {
            *floor != self.floor && (now_us - at >= keep_us / MARKS as i64 || now_us < *at)
        });
        if due {
            self.marks.push((now_us, self.floor));
            if self.marks.len() > MARKS + 1 {
                self.marks.remove(0);
            }
        }
    }

    /// Everything before this sequence has been settled for at least `keep_us`.
    pub(crate) fn settled_since(&self, now_us: i64, keep_us: i64) -> u64 {
        self.marks
            .iter()
            .filter(|(at, _)| now_us - at >= keep_us)
            .map(|(_, floor)| *floor)
            .max()
            .unwrap_or(0)
    }

    /// Whether the record waits no more.
    pub(crate) fn is_settled(&self, sequence: u64) -> bool {
        (sequence < self.floor || self.in_settled_range(sequence))
            && !self.requeued.contains(&sequence)
    }

    /// Whether anything is known of what became of a record.
    pub(crate) fn is_touched(&self, sequence: u64) -> bool {
        self.is_settled(sequence)
            || self.requeued.contains(&sequence)
            || self.open.contains_key(&sequence)
    }

    fn in_settled_range(&self, sequence: u64) -> bool {
        self.settled.range(..=sequence).next_back().is_some_and(|(_, last)| *last >= sequence)
    }

    /// The first sequence from `from` on that is neither settled nor requeued:
    /// where reading in order goes on.
    pub(crate) fn next_unsettled(&self, from: u64) -> u64 {
        let mut sequence = from.max(self.floor);
        while let Some((_, last)) =
            self.settled.range(..=sequence).next_back().filter(|(_, last)| **last >= sequence)
        {
            sequence = last + 1;
        }
        sequence
    }

    /// The stretches from `from` to `end`, the latter left out, that are not settled.
    pub(crate) fn unsettled_between(&self, from: u64, end: u64) -> Vec<(u64, u64)> {
        let requeued = self.requeued.range(from..end.max(from));
        let mut stretches: Vec<(u64, u64)> = requeued.map(|at| (*at, at + 1)).collect();
        let mut first = self.next_unsettled(from);
        while first < end {
            let next_settled = self.settled.range(first..).next().map_or(end, |(at, _)| *at);
            let stretch_end = next_settled.min(end);
            stretches.push((first, stretch_end));
            first = self.next_unsettled(stretch_end);
        }
        stretches
    }

    /// The highest sequence that the account mentions, and one more.
    pub(crate) fn beyond(&self) -> u64 {
        let settled = self.settled.values().next_back().map_or(0, |last| last + 1);
        let open = self.open.keys().next_back().map_or(0, |last| last + 1);
        self.floor.max(self.accepted).max(settled).max(open)
    }

    /// The books, given the next sequence of the chain.
    pub(crate) fn books(&self, next: u64) -> Books {
        let above: u64 = self
            .settled
            .range(..next)
            .map(|(first, last)| last.min(&(next.saturating_sub(1))) - first + 1)
            .sum();
        let mut books = self.counts;
        books.accepted = next.saturating_sub(self.base).saturating_sub(self.counts.void);
        books.pending =
            (next.saturating_sub(self.floor) + self.requeued.len() as u64).saturating_sub(above);
        books
    }

    /// How many records before `end` wait, and are not held.
    pub(crate) fn pending_before(&self, end: u64) -> u64 {
        let held = self.open.range(..end).filter(|(_, attempts)| attempts.held.is_some());
        self.books(end).pending.saturating_sub(held.count() as u64)
    }

    /// Whether every record of the range is delivered; needs it settled to start with.
    pub(crate) fn all_settled(&self, first: u64, next: u64) -> bool {
        self.next_unsettled(first) >= next && self.requeued.range(first..next).next().is_none()
    }

    /// Waiting records that no data cap holds, and those of them that are summarized.
    pub(crate) fn oversized(&self) -> (u64, u64) {
        let oversized = self.open.values().filter(|attempts| attempts.is_oversized);
        oversized.fold((0, 0), |(all, summarized), attempts| {
            (all + 1, summarized + u64::from(attempts.is_summarized))
        })
    }

    /// Waiting records of which nobody knows whether what they do has happened.
    pub(crate) fn unknown(&self) -> u64 {
        self.open.values().filter(|attempts| attempts.held == Some(State::Unknown)).count() as u64
    }

    pub(crate) fn has_failed_in(&self, first: u64, next: u64) -> bool {
        self.failed.range(first..next).next().is_some()
    }

    /// Writes down what became of one record; again for the same record changes nothing.
    pub(crate) fn settle(&mut self, sequence: u64, settled: &Settled, at: &str) {
        match settled.state {
            State::Requeued => self.requeue(sequence),
            state if state.is_final() => self.close(sequence, settled, at),
            State::Accepted => self.accepted = self.accepted.max(sequence + 1),
            _ if self.is_settled(sequence) => {}
            State::Started => {
                let attempts = self.open.entry(sequence).or_default();
                attempts.count += 1;
                attempts.is_begun = true;
            }
            state @ (State::Held | State::Unknown) => {
                let attempts = self.open.entry(sequence).or_default();
                attempts.held = Some(state);
                if state == State::Unknown {
                    attempts.last_error.clone_from(&settled.reason);
                }
            }
            _ => {
                let attempts = self.open.entry(sequence).or_default();
                // One that was noted when it began is counted.
                attempts.count += u32::from(!attempts.is_begun);
                attempts.is_begun = settled.is_unclear;
                attempts.spent += u32::from(settled.spends_retry);
                attempts.not_before_us = settled.not_before_us;
                attempts.last_error.clone_from(&settled.reason);
                attempts.is_oversized = settled.is_oversized;
                attempts.is_summarized |= settled.is_summarized;
            }
        }
    }

    fn requeue(&mut self, sequence: u64) {
        if self.failed.remove(&sequence).is_some() && self.requeued.insert(sequence) {
            self.counts.rejected = self.counts.rejected.saturating_sub(1);
        } else if let Some(attempts) = self.open.get_mut(&sequence) {
            attempts.held = None;
            attempts.is_begun = false;
        }
    }

    fn close(&mut self, sequence: u64, settled: &Settled, at: &str) {
        let was_failed = self.failed.contains_key(&sequence);
        if was_failed && matches!(settled.state, State::Dropped | State::Evicted | State::Damaged) {
            self.failed.remove(&sequence);
            self.counts.rejected = self.counts.rejected.saturating_sub(1);
        } else if sequence < self.base || self.is_settled(sequence) {
            return;
        } else if !self.requeued.remove(&sequence) {
            self.mark_settled(sequence, sequence);
        }
        let attempts = self.open.remove(&sequence);
        if let Some(count) = self.counts.count_of(settled.state) {
            *count += 1;
        }
        self.counts.duplicates += u64::from(settled.state == State::Duplicate);
        if settled.state == State::Rejected {
            let failure = Failure {
                at: at.to_owned(),
                reason: settled.reason.clone().unwrap_or_default(),
                status: settled.status,
                attempts: attempts.map_or(1, |open| open.count + u32::from(!open.is_begun)),
            };
            self.failed.insert(sequence, failure);
        }
    }

    /// Writes down one fate for a range of records of which nothing else is known.
    /// `false`: something is, and they have to be settled one by one.
    fn close_range(&mut self, first: u64, last: u64, state: State) -> bool {
        let touched = first < self.floor
            || last < first
            || self.settled.range(..=last).next_back().is_some_and(|(_, end)| *end >= first)
            || self.open.range(first..=last).next().is_some()
            || self.requeued.range(first..=last).next().is_some();
        if touched || state == State::Rejected {
            return false;
        }
        let count = last - first + 1;
        if let Some(counted) = self.counts.count_of(state) {
            *counted += count;
        }
        if state == State::Duplicate {
            self.counts.duplicates += count;
        }
        self.mark_settled(first, last);
        true
    }

    /// Adds to the settled ranges, joining neighbours, and moves the floor.
    fn mark_settled(&mut self, mut first: u64, mut last: u64) {
        let before = self.settled.range(..first).next_back().map(|(start, end)| (*start, *end));
        if let Some((start, end)) = before
            && end + 1 == first
        {
            first = start;
        }
        if let Some(end) = self.settled.remove(&(last + 1)) {
            last = end;
        }
        self.settled.insert(first, last);
        if let Some(last) = self.settled.get(&self.floor).copied() {
            self.settled.remove(&self.floor);
            self.floor = last + 1;
        }
    }
}

/// Most records that one entry is taken to speak of, one by one: a sound ledger has
/// no longer ones.
const MAX_RANGE: u64 = 1 << 24;

impl Accounts {
    pub(crate) fn account(&self, destination: &str, chain: Chain) -> Option<&Account> {
        self.0.get(destination)?.get(&chain.to_string())
    }

    /// Whether all numbers are such as a spool can have counted.
    pub(crate) fn is_plausible(&self) -> bool {
        self.0.values().flat_map(BTreeMap::values).all(Account::is_plausible)
    }

    /// The account of a chain, opened at `base` where it is new.
    pub(crate) fn open(&mut self, destination: &str, chain: &str, base: u64) -> &mut Account {
        let chains = self.0.entry(destination.to_owned()).or_default();
        chains.entry(chain.to_owned()).or_insert_with(|| Account::new(base))
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        let account = self.open(&entry.destination, &entry.chain, 1);
        let state = entry.settled.state;
        if state == State::Accepted {
            account.settle(entry.last, &entry.settled, &entry.at);
            return;
        }
        if state.is_final() && account.close_range(entry.first, entry.last, state) {
            return;
        }
        for sequence in entry.first..=entry.last.min(entry.first.saturating_add(MAX_RANGE)) {
            account.settle(sequence, &entry.settled, &entry.at);
        }
    }

    /// Applies an entry that stands in a file, and notes where the floor stood when it was
    /// made: a process that was killed may have written no snapshot with its own notes.
    pub(crate) fn replay(&mut self, entry: &Entry, keep_us: i64) {
        self.apply(entry);
        if entry.settled.state.is_final()
            && let Some(at) = Timestamp::parse(&entry.at)
        {
            self.open(&entry.destination, &entry.chain, 1).mark(at.as_micros(), keep_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(account: &mut Account, sequence: u64, state: State) {
        account.settle(sequence, &Settled::new(state).reason("r"), "t");
    }

    #[test]
    fn the_floor_follows_settlements_in_any_order() {
        let mut account = Account::new(1);
        for sequence in [3, 1, 5, 2] {
            settle(&mut account, sequence, State::Delivered);
        }
        assert_eq!((account.floor, account.next_unsettled(4)), (4, 4));
        settle(&mut account, 4, State::Delivered);
        assert_eq!(account.floor, 6);
        assert!(account.settled.is_empty());
    }

    #[test]
    fn entries_that_are_read_again_tell_how_long_all_before_them_has_been_settled() {
        const DAY_US: i64 = 24 * 3600 * 1_000_000;
        let mut accounts = Accounts::default();
        for day in 0..10_u64 {
            let at = Timestamp::from_micros(DAY_US * i64::try_from(day).unwrap());
            let entry = Entry {
                at: at.to_string(),
                destination: "d".to_owned(),
                chain: "normal".to_owned(),
                first: 1 + day,
                last: 1 + day,
                settled: Settled::new(State::Delivered),
            };
            accounts.replay(&entry, 7 * DAY_US);
        }
        let account = accounts.open("d", "normal", 1);
        assert_eq!(account.settled_since(9 * DAY_US, 7 * DAY_US), 4, "of the days 0, 1 and 2");
    }

    #[test]
    fn a_range_settles_like_its_records_one_by_one() {
        let entry = |first, last, state| Entry {
            at: "t".to_owned(),
            destination: "d".to_owned(),
            chain: "normal".to_owned(),
            first,
            last,
            settled: Settled::new(state).reason("r"),
        };
        let ranges = [
            entry(5, 9, State::Delivered),
            entry(1, 2, State::Duplicate),
            entry(3, 3, State::Rejected),
            entry(2, 6, State::Evicted),
            entry(12, 14, State::Expired),
            entry(10, 11, State::Delivered),
        ];
        let (mut at_once, mut singly) = (Accounts::default(), Accounts::default());
        for range in &ranges {
            at_once.apply(range);
            for sequence in range.first..=range.last {
                singly.apply(&Entry { first: sequence, last: sequence, ..range.clone() });
            }
        }
        assert_eq!(at_once, singly);
        assert!(at_once.open("d", "normal", 1).books(20).balance());
    }

    #[test]
    fn unsettled_stretches_stand_between_the_settled_ones() {
        let mut account = Account::new(1);
        for sequence in [1, 4, 5, 8] {
            settle(&mut account, sequence, State::Delivered);
        }
        assert_eq!(account.unsettled_between(1, 10), [(2, 4), (6, 8), (9, 10)]);
        assert_eq!(account.unsettled_between(5, 7), [(6, 7)]);
        assert_eq!(account.unsettled_between(4, 6), []);
    }

    #[test]
    fn what_waits_before_a_place_is_neither_settled_nor_held() {
        let mut account = Account::new(1);
        for (sequence, state) in [(1, State::Delivered), (3, State::Held), (4, State::Rejected)] {
            settle(&mut account, sequence, state);
        }
        assert_eq!(account.pending_before(6), 2);
        assert_eq!(account.pending_before(3), 1);
        // It may be offered again, wherever it stands.
        settle(&mut account, 4, State::Requeued);
        assert_eq!(account.pending_before(6), 3);
    }

    #[test]
    fn settling_twice_counts_once() {
        let mut account = Account::new(1);
        settle(&mut account, 1, State::Delivered);
        settle(&mut account, 1, State::Duplicate);
        let books = account.books(3);
        assert_eq!((books.delivered, books.pending, books.accepted), (1, 1, 2));
        assert!(books.balance());
    }

    #[test]
    fn a_requeued_failure_waits_again_and_settles_once() {
        let mut account = Account::new(1);
        settle(&mut account, 1, State::Rejected);
        assert_eq!((account.books(2).rejected, account.is_settled(1)), (1, true));
        settle(&mut account, 1, State::Requeued);
        assert_eq!((account.books(2).pending, account.is_settled(1)), (1, false));
        settle(&mut account, 1, State::Delivered);
        assert!(account.books(2).balance());
        assert_eq!(account.books(2).delivered, 1);
    }

    #[test]
    fn a_record_is_oversized_as_its_last_try_says_and_summarized_for_good() {
        let mut account = Account::new(1);
        let later = || Settled::new(State::Later);
        for (settled, expected) in [
            (later().oversized(false), (1, 0)),
            (later().oversized(true), (1, 1)),
            (later(), (0, 0)),
            (later().oversized(false), (1, 1)),
        ] {
            account.settle(1, &settled, "t");
            assert_eq!(account.oversized(), expected);
            let text = serde_json::to_string(&account).unwrap();
            assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), account);
        }
        settle(&mut account, 1, State::Delivered);
        assert_eq!(account.oversized(), (0, 0));
    }

    #[test]
    fn later_keeps_the_record_waiting_and_counts_attempts() {
        let mut account = Account::new(1);
        settle(&mut account, 1, State::Later);
        account.settle(1, &Settled::new(State::Later).spends_retry(), "t");
        assert_eq!((account.open[&1].count, account.open[&1].spent), (2, 1));
        assert!(!account.is_settled(1));
    }
}
