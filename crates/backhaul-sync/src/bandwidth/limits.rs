//! How much may be counted, and by whom.

use super::amount::{Amount, Criticality};

/// The largest piece of the allowance that a process takes ahead: a megabyte, so that a
/// day of 100 MB costs about a hundred updates of the file.
const MOST_AHEAD: u64 = 1_000_000;
/// The first piece. A process that is killed right after its start wastes no more.
const FIRST_AHEAD: u64 = 64_000;
/// No piece is larger than this share of the allowance.
const AHEAD_SHARE: u64 = 100;

/// The cap and the part of it that is kept for critical traffic, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) limit: u64,
    pub(crate) reserve: u64,
}

impl Limits {
    /// The most that traffic of this kind may ever use.
    pub(crate) fn most(self, kind: Criticality) -> u64 {
        match kind {
            Criticality::Normal => self.limit.saturating_sub(self.reserve),
            Criticality::Critical => self.limit,
        }
    }

    /// What is left for a kind when so much is taken.
    pub(crate) fn room(self, taken: Amount, kind: Criticality) -> u64 {
        let rest = self.limit.saturating_sub(taken.total());
        match kind {
            Criticality::Normal => rest.min(self.most(kind).saturating_sub(taken.normal)),
            Criticality::Critical => rest,
        }
    }

    /// How much a process takes ahead that has counted so much since it began: as much
    /// again, so that what a crash wastes stays in proportion.
    pub(crate) fn ahead(self, counted: u64) -> u64 {
        let most = (self.limit / AHEAD_SHARE).min(MOST_AHEAD);
        counted.clamp(FIRST_AHEAD.min(most), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { limit: 100, reserve: 20 };

    fn room(normal: u64, critical: u64) -> (u64, u64) {
        let taken = Amount { normal, critical };
        (LIMITS.room(taken, Criticality::Normal), LIMITS.room(taken, Criticality::Critical))
    }

    #[test]
    fn normal_traffic_leaves_the_reserve_and_critical_traffic_takes_it_first() {
        assert_eq!(room(0, 0), (80, 100));
        assert_eq!(room(80, 0), (0, 20));
        assert_eq!(room(0, 20), (80, 80));
        assert_eq!(room(0, 50), (50, 50));
        assert_eq!(room(80, 20), (0, 0));
        assert_eq!(room(0, 100), (0, 0));
    }

    #[test]
    fn what_was_counted_past_the_limit_leaves_nothing() {
        assert_eq!(room(130, 0), (0, 0));
        assert_eq!(room(90, 0), (0, 10));
        assert_eq!(room(u64::MAX, u64::MAX), (0, 0));
    }

    #[test]
    fn what_is_taken_ahead_grows_with_use_and_stays_a_hundredth() {
        let limits = Limits { limit: 100_000_000, reserve: 0 };
        let ahead: Vec<u64> =
            [0, 100_000, 300_000, 50_000_000].map(|counted| limits.ahead(counted)).into();
        assert_eq!(ahead, [64_000, 100_000, 300_000, 1_000_000]);
        let small = Limits { limit: 1_000_000, reserve: 0 };
        assert_eq!((small.ahead(0), small.ahead(900_000)), (10_000, 10_000));
    }
}
