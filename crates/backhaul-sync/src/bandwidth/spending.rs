//! What was counted, and when.

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::moment::{Now, Proven, TrueTime, to_prove};
use super::refill::Refill;

/// What is counted within this part of the longest time between refills stands in one
/// entry. Where the time is not known, bytes may come back later by as much.
const PARTS: u64 = 24;
/// Entries at most; past that the oldest are joined.
const MOST_ENTRIES: usize = 48;

/// Bytes that were counted within some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When the first of them was counted.
    first: Proven,
    /// When the last of them was counted, or later.
    last: Proven,
    /// A true time that is not before the last of them. `None`: any is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<TrueTime>,
    bytes: Amount,
}

/// What was counted and may be of the present allowance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Spending(Vec<Entry>);

impl Entry {
    /// Whether a refill has come since, for sure: the true time has passed one that was
    /// not yet due when the last byte was counted, or so much time has passed that there
    /// was one in it.
    fn is_over(&self, now: &Now, refill: Refill) -> bool {
        self.over_in(now, refill) == 0
    }

    /// Milliseconds of power-on time after which that is so.
    fn over_in(&self, now: &Now, refill: Refill) -> u64 {
        let age = now.proven.0.saturating_sub(self.last.0);
        let by_age = to_prove(refill.longest_ms()).saturating_sub(age);
        let by_time = match (self.not_after, now.not_before) {
            (Some(last), Some(now)) => refill.next_after(last).since(now),
            _ => u64::MAX,
        };
        by_age.min(by_time)
    }

    /// Learns from the true time now how late the last byte can have been counted.
    fn narrow(&mut self, now: &Now) {
        let Some(latest) = now.not_after else { return };
        let latest = latest.earlier(now.proven.surely_since(self.last));
        self.not_after = Some(self.not_after.map_or(latest, |known| known.min(latest)));
    }

    fn fits_with(&self, other: &Entry, refill: Refill) -> bool {
        let next = |entry: &Entry| entry.not_after.map(|time| refill.next_after(time));
        let span = self.last.max(other.last).0 - self.first.min(other.first).0;
        next(self) == next(other) && span <= refill.longest_ms() / PARTS
    }

    /// Takes another entry in. What was known of its time is lost where it says less.
    fn join(&mut self, other: &Entry) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.not_after = self.not_after.zip(other.not_after).map(|(one, two)| one.max(two));
        self.bytes += other.bytes;
    }
}

impl Spending {
    /// Counts bytes now.
    pub(crate) fn count(&mut self, bytes: Amount, now: &Now, refill: Refill) {
        if !bytes.is_zero() {
            let at = now.proven;
            self.add(&Entry { first: at, last: at, not_after: now.not_after, bytes }, refill);
        }
    }

    fn add(&mut self, entry: &Entry, refill: Refill) {
        match self.0.iter_mut().rev().find(|known| known.fits_with(entry, refill)) {
            Some(known) => known.join(entry),
            None => self.0.push(*entry),
        }
        if self.0.len() > MOST_ENTRIES {
            self.0.sort_by_key(|entry| entry.last);
            let oldest = self.0.remove(0);
            if let Some(next) = self.0.first_mut() {
                next.join(&oldest);
            }
        }
    }

    /// Takes over what was counted elsewhere.
    pub(crate) fn merge(&mut self, other: &Spending, refill: Refill) {
        for entry in &other.0 {
            self.add(entry, refill);
        }
    }

    /// Forgets what is surely of an earlier allowance.
    pub(crate) fn forget(&mut self, now: &Now, refill: Refill) {
        for entry in &mut self.0 {
            entry.narrow(now);
        }
        self.0.retain(|entry| !entry.is_over(now, refill));
    }

    pub(crate) fn total(&self) -> Amount {
        self.0.iter().fold(Amount::default(), |sum, entry| sum + entry.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Milliseconds of power-on time until enough is forgotten that `is_enough` of what
    /// is left. `None`: it never is.
    pub(crate) fn enough_in(
        &self,
        now: &Now,
        refill: Refill,
        is_enough: impl Fn(Amount) -> bool,
    ) -> Option<u64> {
        let mut left = self.total();
        let mut entries: Vec<(u64, Amount)> =
            self.0.iter().map(|entry| (entry.over_in(now, refill), entry.bytes)).collect();
        entries.sort_by_key(|(wait, _)| *wait);
        entries.into_iter().find_map(|(wait, bytes)| {
            left -= bytes;
            is_enough(left).then_some(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600 * 1000;
    const DAILY: Refill = Refill::Daily { at: std::time::Duration::ZERO };

    /// A moment of which all is known, after so many hours of the year 1970 and of uptime.
    fn known(hour: u64) -> Now {
        let time = TrueTime(i64::try_from(hour * HOUR).unwrap());
        Now { proven: Proven(hour * HOUR), not_before: Some(time), not_after: Some(time) }
    }

    fn unknown(hour: u64) -> Now {
        Now { not_before: None, not_after: None, ..known(hour) }
    }

    /// What counts at the last moment of what was counted at the others.
    fn left(counted: &[(Now, u64)], now: Now) -> u64 {
        let mut spending = Spending::default();
        for (at, bytes) in counted {
            spending.count(Amount { normal: *bytes, critical: 0 }, at, DAILY);
        }
        spending.forget(&now, DAILY);
        spending.total().normal
    }

    #[test]
    fn a_known_clock_refills_at_the_refill_time_and_not_before() {
        let counted = [(known(10), 1), (known(23), 2), (known(24), 4)];
        assert_eq!(left(&counted, known(24)), 4);
        let early = Now { not_before: Some(TrueTime(24 * 3_600_000 - 1)), ..known(24) };
        assert_eq!(left(&counted[..2], early), 3);
    }

    #[test]
    fn an_unknown_clock_gives_bytes_back_when_a_day_has_surely_passed() {
        let counted = [(unknown(10), 1), (unknown(20), 2)];
        assert_eq!(left(&counted, unknown(34)), 3);
        assert_eq!(left(&counted, unknown(35)), 2);
        assert_eq!(left(&counted, unknown(45)), 0);
    }

    #[test]
    fn bytes_of_a_known_time_come_back_when_the_refill_has_surely_passed() {
        // Counted at 20:00; the clock is not known any more, but four hours have passed.
        let not_before = |hour: i64| Some(TrueTime(hour * 3_600_000));
        let after = |hour, floor| Now { not_before: not_before(floor), ..unknown(hour) };
        assert_eq!(left(&[(known(20), 1)], after(23, 23)), 1);
        assert_eq!(left(&[(known(20), 1)], after(24, 24)), 0);
    }

    #[test]
    fn a_clock_that_becomes_known_says_of_which_day_bytes_are() {
        // Counted two hours ago, at a time that was not known then.
        let now = |hour: i64| Now {
            proven: Proven(7 * HOUR),
            not_before: Some(TrueTime(hour * 3_600_000)),
            not_after: Some(TrueTime(hour * 3_600_000)),
        };
        assert_eq!(left(&[(unknown(5), 1)], now(26)), 1);
        assert_eq!(left(&[(unknown(5), 1)], now(25)), 0);
    }

    #[test]
    fn a_time_in_the_far_future_is_corrected_by_the_next_that_is_known() {
        let mut spending = Spending::default();
        let bytes = Amount { normal: 1, critical: 0 };
        let far = Now { proven: Proven(0), ..known(100 * 365 * 24) };
        spending.count(bytes, &far, DAILY);
        spending.forget(&known(12), DAILY);
        assert_eq!(spending.total(), bytes);
        spending.forget(&known(24), DAILY);
        assert!(spending.is_empty());
    }

    #[test]
    fn entries_stay_few_and_lose_no_byte() {
        let mut spending = Spending::default();
        for hour in 0..200 {
            for _ in 0..3 {
                spending.count(Amount { normal: 1, critical: 1 }, &unknown(2 * hour), DAILY);
            }
            assert!(spending.0.len() <= MOST_ENTRIES);
        }
        assert_eq!(spending.total(), Amount { normal: 600, critical: 600 });
    }

    #[test]
    fn what_is_counted_within_an_hour_of_one_day_is_one_entry() {
        let mut spending = Spending::default();
        let minutes = |count: u64| {
            let time = TrueTime(i64::try_from(count * 60_000).unwrap());
            Now { proven: Proven(count * 60_000), not_before: Some(time), not_after: Some(time) }
        };
        for minute in [23 * 60, 23 * 60 + 59, 24 * 60, 24 * 60 + 30] {
            spending.count(Amount { normal: 1, critical: 0 }, &minutes(minute), DAILY);
        }
        assert_eq!(spending.0.len(), 2);
        assert_eq!(left(&[(minutes(1439), 1), (minutes(1440), 2)], minutes(1441)), 2);
    }

    #[test]
    fn an_entry_is_forgotten_when_its_last_byte_is_old_enough_and_not_before() {
        let minutes = |count: u64| Now { proven: Proven(count * 60_000), ..unknown(0) };
        let counted = [(minutes(0), 1), (minutes(50), 2)];
        assert_eq!(left(&counted, minutes(24 * 60 + 49)), 3);
        assert_eq!(left(&counted, minutes(24 * 60 + 51)), 0);
    }

    #[test]
    fn the_wait_until_enough_comes_back_is_told() {
        let mut spending = Spending::default();
        for (hour, bytes) in [(0, 50), (10, 30), (20, 20)] {
            spending.count(Amount { normal: bytes, critical: 0 }, &unknown(hour), DAILY);
        }
        let wait = |most: u64| {
            spending.enough_in(&unknown(20), DAILY, |left| left.normal <= most).map(|ms| ms / HOUR)
        };
        assert_eq!((wait(50), wait(40), wait(0)), (Some(4), Some(14), Some(24)));
        assert_eq!(spending.enough_in(&unknown(20), DAILY, |_| false), None);
    }
}
