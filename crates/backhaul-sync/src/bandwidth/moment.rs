//! Times that can be relied on.

use std::time::Duration;

use backhaul_store::Timestamp;
use serde::{Deserialize, Serialize};

/// Clocks that nobody corrects are off by at most one part in so many: the 500 ppm
/// that Linux itself assumes (`MAXFREQ` in its `timex.h`).
const DRIFT: u64 = 2_000;

/// Milliseconds for which the device was seen to be on, summed over its boots. Between
/// two of them at least so much time has passed, whatever any wall clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Proven(pub(crate) u64);

impl Proven {
    /// Milliseconds that have passed for sure since `earlier`, the clock's drift allowed for.
    pub(crate) fn surely_since(self, earlier: Proven) -> u64 {
        let elapsed = self.0.saturating_sub(earlier.0);
        elapsed - elapsed.div_ceil(DRIFT)
    }

    /// Milliseconds that have passed at most since `earlier`, in the same boot.
    pub(crate) fn at_most_since(self, earlier: Proven) -> u64 {
        let elapsed = self.0.saturating_sub(earlier.0);
        elapsed.saturating_add(elapsed.div_ceil(DRIFT))
    }
}

/// How long a clock has to run, by itself, to show that `true_ms` milliseconds have passed.
pub(crate) fn to_prove(true_ms: u64) -> u64 {
    // Rounded up: x - x / DRIFT is at least true_ms.
    true_ms.saturating_add(true_ms.div_ceil(DRIFT - 1)).saturating_add(1)
}

/// True time in milliseconds since 1970, not what a wall clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TrueTime(pub(crate) i64);

impl TrueTime {
    /// The millisecond that the time falls in.
    pub(crate) fn floor(time: Timestamp) -> Self {
        Self(time.as_micros().div_euclid(1000))
    }

    /// The first millisecond that is not before the time.
    pub(crate) fn ceil(time: Timestamp) -> Self {
        Self(time.as_micros().saturating_add(999).div_euclid(1000))
    }

    pub(crate) fn later(self, ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    pub(crate) fn earlier(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds since `earlier`; 0 where it is later.
    pub(crate) fn since(self, earlier: TrueTime) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_mul(1000))
    }
}

/// What is known of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Now {
    pub(crate) proven: Proven,
    /// The true time is not before this: a clock was known to be right once, and so much
    /// time has passed since. `None`: none ever was.
    pub(crate) not_before: Option<TrueTime>,
    /// The true time is not after this: a clock was known to be right in this boot.
    /// `None`: it may be any later time.
    pub(crate) not_after: Option<TrueTime>,
}

impl Now {
    /// Whether the true time is known.
    pub(crate) fn is_known(&self) -> bool {
        self.not_after.is_some()
    }
}

pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_ran_for_as_long_as_it_has_to_proves_the_time() {
        for wanted in [0, 1, 1999, 2000, 2001, 86_400_000, 31 * 86_400_000] {
            let ran = to_prove(wanted);
            assert!(Proven(ran).surely_since(Proven(0)) >= wanted, "{wanted}");
            assert!(ran <= wanted + wanted / 1999 + 2, "{wanted}");
        }
    }

    #[test]
    fn bounds_enclose_what_passed() {
        let (early, late) = (Proven(1_000), Proven(11_000));
        assert_eq!((late.surely_since(early), late.at_most_since(early)), (9_995, 10_005));
        assert_eq!((early.surely_since(late), early.at_most_since(late)), (0, 0));
    }

    #[test]
    fn true_time_rounds_to_the_careful_side() {
        let time = Timestamp::from_micros(1_500);
        assert_eq!((TrueTime::floor(time), TrueTime::ceil(time)), (TrueTime(1), TrueTime(2)));
        let early = Timestamp::from_micros(-1_500);
        assert_eq!((TrueTime::floor(early), TrueTime::ceil(early)), (TrueTime(-2), TrueTime(-1)));
    }
}
