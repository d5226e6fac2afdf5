//! How a courier comes back, so that a fleet does not come back as one.
//!
//! It has no clock and draws no lots: both are passed in, so that a simulation of ten
//! thousand devices runs these very lines.

use std::time::Duration;

/// A link that was down for as long has kept a backlog back, and probably that of others
/// too. Shorter ones are hiccups: nobody waits for them.
const LONG: Duration = Duration::from_secs(60);
/// What is added to a wait that was asked for, at most: it is told in whole seconds, and
/// all who were told the same one would come together.
const JITTER_OF_ASKED: Duration = Duration::from_secs(1);
/// The part of the spread that is drawn anew each time, so that devices whose ids lie
/// together do not stay together.
const DRAWN: f64 = 0.1;

/// The outage that a courier is in, if it is in one, and how it comes out of it.
#[derive(Debug, Clone, Default)]
pub struct Outage {
    spread: Duration,
    /// The device's own place in the spread, from 0 to 1.
    place: f64,
    /// Since when nothing gets through, as time since boot.
    since: Option<Duration>,
    /// Whether the spread is being waited for, or was.
    has_waited: bool,
}

impl Outage {
    /// None yet, for a device with an id. No spread: it comes back at once.
    pub fn none(spread: Duration, id: &[u8]) -> Self {
        let place = f64::from(crc32fast::hash(id)) / f64::from(u32::MAX);
        Self { spread, place, since: None, has_waited: false }
    }

    /// Has the fleet spread over another time from the next outage on.
    pub(crate) fn spread_over(&mut self, spread: Duration) {
        self.spread = spread;
    }

    /// The link fails at a time since boot.
    pub fn link_fails(&mut self, now: Duration) {
        self.since.get_or_insert(now);
        self.has_waited = false;
    }

    /// Whether the link has been down for long: then it is begun small.
    pub fn is_long(&self, now: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= LONG)
    }

    /// The link is said to be up: how long to wait before anything is sent. `chance` is a
    /// random number from 0 to 1.
    pub fn link_is_up(&mut self, now: Duration, chance: f64) -> Duration {
        if self.has_waited || !self.is_long(now) {
            return Duration::ZERO;
        }
        self.has_waited = true;
        self.spread.mul_f64(self.place.mul_add(1.0 - DRAWN, chance * DRAWN).clamp(0.0, 1.0))
    }

    /// A batch got through, which ends it: how long to wait before the next one, where
    /// nobody had said before that the link is up.
    pub fn ends(&mut self, now: Duration, chance: f64) -> Duration {
        let wait = self.link_is_up(now, chance);
        self.is_over();
        wait
    }

    /// The link is known to be up: what was short is over, and counts no longer.
    pub(crate) fn link_is_proven(&mut self, now: Duration) {
        if !self.is_long(now) {
            self.is_over();
        }
    }

    /// It ended, and somebody else says when to come.
    pub fn is_over(&mut self) {
        self.since = None;
    }

    /// How long to wait when the destination asked for it: that, and up to a second more.
    pub fn asked(wait: Duration, chance: f64) -> Duration {
        wait.saturating_add(JITTER_OF_ASKED.mul_f64(chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fleet_comes_back_evenly_over_the_spread() {
        let mut tenths = [0_u32; 10];
        for device in 0..10_000_u32 {
            let mut outage = Outage::none(seconds(1000), &device.to_be_bytes());
            outage.link_fails(seconds(5));
            let chance = f64::from(device % 100) / 100.0;
            let wait = outage.link_is_up(HOUR, chance);
            assert!(wait <= seconds(1000));
            tenths[usize::try_from(wait.as_secs() / 100).unwrap().min(9)] += 1;
        }
        // The ends get less: what is drawn smooths them.
        assert!(tenths.iter().all(|count| (400..1200).contains(count)), "{tenths:?}");
    }

    #[test]
    fn a_device_has_about_the_same_place_each_time() {
        let mut outage = Outage::none(seconds(1000), b"device");
        let mut waits = Vec::new();
        for chance in [0.0, 0.5, 1.0] {
            outage.link_fails(seconds(5));
            waits.push(outage.link_is_up(HOUR, chance));
            assert_eq!(outage.ends(HOUR, chance), Duration::ZERO);
        }
        assert!(waits[0] < waits[1] && waits[1] < waits[2]);
        assert!(waits[2] - waits[0] <= seconds(100), "{waits:?}");
    }

    #[test]
    fn where_nobody_told_of_the_link_the_spread_comes_after_the_first_batch() {
        let mut outage = Outage::none(seconds(1000), b"device");
        outage.link_fails(seconds(5));
        assert!(outage.ends(HOUR, 0.5) > Duration::ZERO);
        assert_eq!(outage.ends(HOUR, 0.5), Duration::ZERO);
        assert_eq!(outage.link_is_up(HOUR, 0.5), Duration::ZERO);
    }

    #[test]
    fn short_outages_and_no_spread_cost_no_time() {
        let mut short = Outage::none(seconds(1000), b"device");
        short.link_fails(seconds(5));
        assert!(!short.is_long(seconds(64)) && short.is_long(seconds(65)));
        assert_eq!(short.link_is_up(seconds(64), 0.5), Duration::ZERO);
        let mut without = Outage::none(Duration::ZERO, b"device");
        without.link_fails(seconds(5));
        assert_eq!(without.link_is_up(HOUR, 0.5), Duration::ZERO);
    }

    #[test]
    fn nobody_comes_before_the_time_that_was_asked_for() {
        assert_eq!(Outage::asked(seconds(7), 0.0), seconds(7));
        assert_eq!(Outage::asked(seconds(7), 1.0), seconds(8));
    }
}
