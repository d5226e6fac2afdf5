//! When records that were put off are due again.

use std::collections::BTreeSet;
use std::time::Duration;

/// Times remembered at once. The ledger has them all; beyond this many the interval
/// finds what is due.
const MOST: usize = 1024;

/// Due times, as time since boot.
#[derive(Debug, Default)]
pub(crate) struct DueTimes(BTreeSet<Duration>);

impl DueTimes {
    pub(crate) fn add(&mut self, at: Duration) {
        self.0.insert(at);
        if self.0.len() > MOST {
            self.0.pop_last();
        }
    }

    /// Forgets what is due by now: it is offered next.
    pub(crate) fn pass(&mut self, now: Duration) {
        self.0 = self.0.split_off(&(now + Duration::from_nanos(1)));
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_passes() {
        let mut due = DueTimes::default();
        for second in [3, 1, 2] {
            due.add(Duration::from_secs(second));
        }
        assert_eq!(due.next(), Some(Duration::from_secs(1)));
        due.pass(Duration::from_secs(2));
        assert_eq!(due.next(), Some(Duration::from_secs(3)));
        due.pass(Duration::from_secs(4));
        assert_eq!(due.next(), None);
    }

    #[test]
    fn a_flood_keeps_the_earliest() {
        let mut due = DueTimes::default();
        for second in (0..5000).rev() {
            due.add(Duration::from_secs(second));
        }
        assert_eq!((due.0.len(), due.next()), (MOST, Some(Duration::ZERO)));
    }
}
