//! What came of it, second by second.

use std::time::Duration;

use super::plan::Plan;

/// The bounds of the issue.
const MOST_PEAK: f64 = 1.5;
const MOST_TIME: f64 = 1.3;
/// Each device is refused once, of the twenty and more requests that it needs.
const MOST_REFUSED: f64 = 0.1;

/// Counts of one second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Second {
    pub(super) requests: u32,
    pub(super) refused: u32,
    /// Records that began to be stored.
    pub(super) stored: u32,
}

/// Times are since the links came back.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) capacity: u32,
    pub(super) seconds: Vec<Second>,
    pub(super) ideal: Duration,
    behind: u32,
    /// When the last device had sent all that it had.
    pub(super) drained: Option<Duration>,
    refused_records: u64,
}

impl Figures {
    pub(super) fn new(plan: &Plan, backlog: u64) -> Self {
        Self {
            capacity: plan.capacity().get(),
            seconds: Vec::new(),
            ideal: plan.ideal(backlog),
            behind: plan.devices,
            drained: None,
            refused_records: 0,
        }
    }

    fn at(&mut self, time: Duration) -> &mut Second {
        let second = usize::try_from(time.as_secs()).unwrap();
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        &mut self.seconds[second]
    }

    pub(super) fn asked(&mut self, time: Duration) {
        self.at(time).requests += 1;
    }

    pub(super) fn refused(&mut self, time: Duration, records: usize) {
        self.at(time).refused += 1;
        self.refused_records += records as u64;
    }

    pub(super) fn stored(&mut self, time: Duration, records: usize) {
        self.at(time).stored += u32::try_from(records).unwrap();
    }

    pub(super) fn stored_at(&mut self, time: Duration) -> u32 {
        self.at(time).stored
    }

    pub(super) fn one_drained(&mut self, time: Duration) {
        self.behind -= 1;
        if self.behind == 0 {
            self.drained = Some(time);
        }
    }

    // --- Against the bounds -------------------------------------------------------

    /// # Errors
    /// The bound that was passed.
    pub(super) fn check(&self) -> Result<(), String> {
        for (what, found, bound) in [
            ("most records stored in a second / capacity", self.peak(), MOST_PEAK),
            ("time until all had drained / ideal", self.time(), MOST_TIME),
            ("share of requests that were refused", self.refused_share(), MOST_REFUSED),
        ] {
            if found > bound {
                return Err(format!("{what}: {found:.2}, expected at most {bound}"));
            }
        }
        Ok(())
    }

    /// The most records stored in one second, as a share of the capacity.
    pub(super) fn peak(&self) -> f64 {
        let most = self.seconds.iter().map(|second| second.stored).max().unwrap_or(0);
        f64::from(most) / f64::from(self.capacity)
    }

    /// The most requests in one second, stored or refused.
    pub(super) fn most_requests(&self) -> u32 {
        self.seconds.iter().map(|second| second.requests).max().unwrap_or(0)
    }

    /// The time until all had drained, as a multiple of the ideal one.
    pub(super) fn time(&self) -> f64 {
        self.drained
            .map_or(f64::INFINITY, |drained| drained.as_secs_f64() / self.ideal.as_secs_f64())
    }

    fn requests(&self) -> u64 {
        self.seconds.iter().map(|second| u64::from(second.requests)).sum()
    }

    fn refused_requests(&self) -> u64 {
        self.seconds.iter().map(|second| u64::from(second.refused)).sum()
    }

    /// Records of refused requests, as a share of those that were stored.
    pub(super) fn records_in_vain(&self) -> f64 {
        let stored: u64 = self.seconds.iter().map(|second| u64::from(second.stored)).sum();
        self.refused_records as f64 / stored as f64
    }

    /// Refused requests, as a share of all.
    pub(super) fn refused_share(&self) -> f64 {
        self.refused_requests() as f64 / self.requests() as f64
    }
}
