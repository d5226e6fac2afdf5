//! Where the budget takes the time from.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Clock, Moment, Timestamp};

use super::clock_check::ClockCheck;
use super::moment::{TrueTime, whole_ms};
use super::timeline::Timeline;

/// A server's date that differs from the wall clock by no more than this agrees with it:
/// what Kerberos allows between two clocks (RFC 4120, section 5.2.4: typically 5 minutes).
const AGREES_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How old a server's date may be when it arrives: as long as a slow answer takes.
const DATE_TRAVELS: Duration = Duration::from_secs(60);

/// The device's clocks, and who says whether they are right.
#[derive(Debug)]
pub(crate) struct TimeSource {
    clock: Arc<dyn Clock>,
    check: Arc<dyn ClockCheck>,
}

/// When a server's date agreed with the wall clock.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    boot: String,
    since_boot: Duration,
    not_before: TrueTime,
    not_after: TrueTime,
}

impl TimeSource {
    pub(crate) fn new(clock: Arc<dyn Clock>, check: Arc<dyn ClockCheck>) -> Self {
        Self { clock, check }
    }

    pub(crate) fn since_boot(&self) -> Duration {
        self.clock.now().since_boot
    }

    /// Whether the wall clock is right, by its own account.
    pub(crate) fn is_synchronised(&self) -> bool {
        self.check.max_error().is_some()
    }

    /// Moves a timeline on to this moment, and tells it what is known of it. False: it was
    /// interrupted.
    pub(crate) fn advance(&self, time: &mut Timeline, witness: Option<&Witness>) -> bool {
        let (moment, error) = self.observe();
        let unbroken = time.advance(self.clock.boot_id(), moment.since_boot);
        if let Some(error) = error {
            let error_ms = u64::try_from(error.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            time.learn(
                TrueTime::floor(moment.wall).earlier(error_ms),
                TrueTime::ceil(moment.wall).later(error_ms),
            );
        } else if let Some(witness) = witness
            && witness.boot == self.clock.boot_id()
            && let Some(ago) = moment.since_boot.checked_sub(witness.since_boot)
        {
            time.learn_late(witness.not_before, witness.not_after, ago);
        }
        unbroken
    }

    /// Both clocks, and how far the wall clock may be off. Asked before and after, so
    /// that a clock that is set between the two is noticed.
    fn observe(&self) -> (Moment, Option<Duration>) {
        let before = self.check.max_error();
        let moment = self.clock.now();
        let error = before.and_then(|before| Some(before.max(self.check.max_error()?)));
        (moment, error)
    }

    /// What a server's date is worth that arrives now. `None`: it does not agree with the
    /// wall clock.
    pub(crate) fn witness(&self, date: Timestamp) -> Option<Witness> {
        let moment = self.clock.now();
        let (early, late) = (moment.wall.min(date), moment.wall.max(date));
        (late.since(early) <= AGREES_WITHIN).then(|| Witness {
            boot: self.clock.boot_id().to_owned(),
            since_boot: moment.since_boot,
            not_before: TrueTime::floor(early),
            not_after: TrueTime::ceil(late).later(whole_ms(DATE_TRAVELS)),
        })
    }
}
