//! From scores to lanes.

use backhaul_store::Lane;
use serde::{Deserialize, Serialize};

use crate::options::OptionError;

/// The least score of each lane. What is below all of them goes to the bulk lane.
///
/// ```
/// use backhaul_store::Lane;
/// use backhaul_sync::LaneScores;
///
/// let lanes = LaneScores::default();
/// assert_eq!(lanes.lane(160.0), Lane::High);
/// assert_eq!(lanes.lane(60.0), Lane::Normal);
/// assert_eq!(lanes.lane(-0.5), Lane::Low);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaneScores {
    /// Beside the records that say of themselves that they are critical. These records are
    /// evicted last, and may use what of a data cap is kept for critical ones. Default: 1000.
    pub critical: f64,
    /// Default: 100.
    pub high: f64,
    /// Default: 0.
    pub normal: f64,
    /// Default: -100.
    pub low: f64,
}

impl Default for LaneScores {
    fn default() -> Self {
        Self { critical: 1000.0, high: 100.0, normal: 0.0, low: -100.0 }
    }
}

impl LaneScores {
    /// The lane for a score.
    pub fn lane(&self, score: f64) -> Lane {
        let least = [self.critical, self.high, self.normal, self.low];
        let reached = least.into_iter().zip(Lane::ALL).find(|(least, _)| score >= *least);
        reached.map_or(Lane::Bulk, |(_, lane)| lane)
    }

    pub(super) fn check(&self) -> Result<(), OptionError> {
        let scores = [
            ("lanes.critical", self.critical),
            ("lanes.high", self.high),
            ("lanes.normal", self.normal),
            ("lanes.low", self.low),
        ];
        let mut above = f64::INFINITY;
        for (option, score) in scores {
            if !score.is_finite() {
                return Err(OptionError::new(option, score, "a number"));
            }
            if score >= above {
                return Err(OptionError::new(option, score, "less than that of the lane before"));
            }
            above = score;
        }
        Ok(())
    }
}
