//! When to look next.
//!
//! A link that is fine is looked at less and less often, one in doubt soon and then less
//! often too. Traffic that gets through stands for a look. A change of the network asks
//! for one at once, also while one is under way: that one may be stuck in a network that
//! is no more.

use std::time::Duration;

use crate::backoff::Backoff;

/// A change of the network comes as several events within milliseconds; one look is for all.
pub(crate) const GATHER: Duration = Duration::from_millis(50);
/// The time to gather doubles with each look that is cut short, up to this many times:
/// events that never end let one look in a while come to its own end.
const MOST_DOUBLINGS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Schedule {
    /// Waits while the link is in doubt or down.
    doubt: Backoff,
    /// Waits while it is fine.
    calm: Backoff,
    due: Option<Duration>,
    ended_at: Duration,
    is_looking: bool,
    /// Looks that were cut short, one after the other.
    cut_short: u32,
    doubts: u32,
    calms: u32,
    /// Traffic contradicted the state since the last look.
    is_suspicious: bool,
    /// Looks in a row that traffic asked for and that changed nothing.
    false_alarms: u32,
}

impl Schedule {
    pub(crate) fn new(doubt: Backoff, calm: Backoff) -> Self {
        Self {
            doubt,
            calm,
            due: None,
            ended_at: Duration::ZERO,
            is_looking: false,
            cut_short: 0,
            doubts: 0,
            calms: 0,
            is_suspicious: false,
            false_alarms: 0,
        }
    }

    /// When the next look is due. A look that is under way then is to be cut short.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Starts anew: a look at once.
    pub(crate) fn restart(&mut self, now: Duration) {
        *self = Self { due: Some(now), ..Self::new(self.doubt, self.calm) };
    }

    /// No look is due or under way any more.
    pub(crate) fn pause(&mut self) {
        *self = Self::new(self.doubt, self.calm);
    }

    /// A look begins.
    pub(crate) fn begin(&mut self) {
        if self.is_looking {
            self.cut_short = self.cut_short.saturating_add(1);
        }
        self.is_looking = true;
        self.due = None;
    }

    /// A look came to its end.
    pub(crate) fn ended(&mut self, now: Duration, is_calm: bool, changed: bool) {
        self.is_looking = false;
        self.cut_short = 0;
        self.ended_at = now;
        if std::mem::take(&mut self.is_suspicious) && !changed {
            self.false_alarms = self.false_alarms.saturating_add(1);
        }
        let wait = if is_calm { self.next_calm() } else { self.next_doubt() };
        self.bring_forward(now.saturating_add(wait));
    }

    /// The network changed.
    pub(crate) fn network_changed(&mut self, now: Duration) {
        (self.doubts, self.calms, self.false_alarms) = (0, 0, 0);
        let gather = GATHER.saturating_mul(1 << self.cut_short.min(MOST_DOUBLINGS));
        self.bring_forward(now.saturating_add(gather));
    }

    /// Traffic got through where it was to be expected: the next look can wait.
    pub(crate) fn put_off(&mut self, now: Duration) {
        self.false_alarms = 0;
        self.is_suspicious = false;
        self.doubts = 0;
        let wait = self.calm.delay(self.calms.saturating_sub(1));
        // The end of a look that is under way says when the next is due.
        self.due = (!self.is_looking).then(|| now.saturating_add(wait));
    }

    /// Traffic contradicts the state: look soon, though not each time it does.
    pub(crate) fn suspect(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.is_suspicious, true) && !self.is_looking {
            let earliest = self.ended_at.saturating_add(self.doubt.delay(self.false_alarms));
            self.bring_forward(earliest.max(now));
        }
    }

    fn next_calm(&mut self) -> Duration {
        self.doubts = 0;
        let wait = self.calm.delay(self.calms);
        self.calms = self.calms.saturating_add(1);
        wait
    }

    fn next_doubt(&mut self) -> Duration {
        self.calms = 0;
        let wait = self.doubt.delay(self.doubts);
        self.doubts = self.doubts.saturating_add(1);
        wait
    }

    fn bring_forward(&mut self, at: Duration) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}
