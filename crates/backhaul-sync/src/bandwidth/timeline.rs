//! The device's own time: how long it was on, and what that says of the true time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::moment::{Now, Proven, TrueTime, whole_ms};

/// Proven time is written down after a minute, two, four… of a boot, and then every
/// quarter of an hour, so that a boot that is cut short loses at most half of its time.
const FIRST_STAMP_MS: u64 = 60 * 1000;
const MOST_UNWRITTEN_MS: u64 = 15 * 60 * 1000;

/// Counts proven time over boots, and remembers when a clock was last right.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Timeline {
    /// The boot in which this was written.
    boot: String,
    /// Time since that boot.
    since_boot_ms: u64,
    /// Proven time then.
    proven: Proven,
    /// Proven time when that boot was first seen.
    boot_seen_at: Proven,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<Anchor>,
}

/// A moment at which the true time was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    proven: Proven,
    not_before: TrueTime,
    not_after: TrueTime,
    /// Whether the proven time since then is all the time that has passed: it was in
    /// this boot.
    unbroken: bool,
}

impl Timeline {
    /// Moves on to a moment. False: it cannot be said how much time has passed, because
    /// this is another boot; none counts as proven.
    pub(crate) fn advance(&mut self, boot: &str, since_boot: Duration) -> bool {
        let since_boot_ms = whole_ms(since_boot);
        let same = self.boot == boot && since_boot_ms >= self.since_boot_ms;
        if same {
            let elapsed = since_boot_ms - self.since_boot_ms;
            self.proven = Proven(self.proven.0.saturating_add(elapsed));
        } else {
            boot.clone_into(&mut self.boot);
            self.boot_seen_at = self.proven;
            if let Some(anchor) = &mut self.anchor {
                anchor.unbroken = false;
            }
        }
        self.since_boot_ms = since_boot_ms;
        same
    }

    /// Notes what the true time is now.
    pub(crate) fn learn(&mut self, not_before: TrueTime, not_after: TrueTime) {
        self.anchor = Some(Anchor { proven: self.proven, not_before, not_after, unbroken: true });
    }

    /// Notes what the true time was `ago` in this boot, unless something newer is known.
    pub(crate) fn learn_late(&mut self, not_before: TrueTime, not_after: TrueTime, ago: Duration) {
        let ago = whole_ms(ago);
        let known_for = |anchor: Anchor| self.proven.0.saturating_sub(anchor.proven.0);
        if self.anchor.is_some_and(|anchor| anchor.unbroken && known_for(anchor) <= ago) {
            return;
        }
        let (then, now) = (Proven(0), Proven(ago));
        self.learn(
            not_before.later(now.surely_since(then)),
            // What was cut off to the millisecond is made good.
            not_after.later(now.at_most_since(then)).later(1),
        );
    }

    /// What is known of the moment that was moved on to.
    pub(crate) fn now(&self) -> Now {
        let anchor = self.anchor.as_ref();
        Now {
            proven: self.proven,
            not_before: anchor
                .map(|anchor| anchor.not_before.later(self.proven.surely_since(anchor.proven))),
            not_after: anchor
                .filter(|anchor| anchor.unbroken)
                .map(|anchor| anchor.not_after.later(self.proven.at_most_since(anchor.proven))),
        }
    }

    /// Whether so much time is proven that was not written down that it is worth a write.
    pub(crate) fn is_stamp_due(&self, written: &Timeline) -> bool {
        let unwritten = self.proven.0.saturating_sub(written.proven.0);
        let in_this_boot = written.proven.0.saturating_sub(written.boot_seen_at.0);
        unwritten >= in_this_boot.clamp(FIRST_STAMP_MS, MOST_UNWRITTEN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn proven(timeline: &Timeline) -> u64 {
        timeline.now().proven.0 / 1000
    }

    #[test]
    fn time_counts_within_a_boot_and_not_between_boots() {
        let mut timeline = Timeline::default();
        assert!(!timeline.advance("a", seconds(1_000)));
        assert!(timeline.advance("a", seconds(1_600)));
        assert_eq!(proven(&timeline), 600);
        assert!(!timeline.advance("b", seconds(50_000)));
        assert_eq!(proven(&timeline), 600);
        assert!(timeline.advance("b", seconds(50_001)));
        assert_eq!(proven(&timeline), 601);
    }

    #[test]
    fn processes_that_see_different_boots_prove_nothing() {
        let mut timeline = Timeline::default();
        for round in 0..100 {
            timeline.advance("a", seconds(1_000 * round));
            timeline.advance("b", seconds(9_000_000 + round));
        }
        assert_eq!(proven(&timeline), 0);
    }

    #[test]
    fn a_clock_that_was_right_is_right_until_the_reboot_and_a_lower_bound_after_it() {
        let mut timeline = Timeline::default();
        timeline.advance("a", seconds(0));
        assert_eq!(timeline.now().not_before, None);
        timeline.learn(TrueTime(1_000_000), TrueTime(1_000_500));
        timeline.advance("a", seconds(2_000));
        let now = timeline.now();
        assert_eq!(now.not_before, Some(TrueTime(2_999_000)));
        assert_eq!(now.not_after, Some(TrueTime(3_001_500)));
        timeline.advance("b", seconds(0));
        timeline.advance("b", seconds(2_000));
        let now = timeline.now();
        assert_eq!((now.not_before, now.not_after), (Some(TrueTime(4_998_000)), None));
    }

    #[test]
    fn the_newest_knowledge_counts() {
        let mut timeline = Timeline::default();
        timeline.advance("a", seconds(100));
        timeline.learn_late(TrueTime(5_000), TrueTime(5_000), seconds(50));
        assert_eq!(timeline.now().not_before, Some(TrueTime(54_975)));
        timeline.learn(TrueTime(1), TrueTime(2));
        timeline.learn_late(TrueTime(5_000), TrueTime(5_000), seconds(50));
        assert_eq!(timeline.now().not_before, Some(TrueTime(1)));
    }

    #[test]
    fn stamps_come_after_one_two_four_minutes_and_then_every_quarter_of_an_hour() {
        let mut written = Timeline::default();
        written.advance("a", seconds(0));
        let mut stamps = Vec::new();
        for minute in 1..80 {
            let mut now = written.clone();
            now.advance("a", seconds(60 * minute));
            if now.is_stamp_due(&written) {
                stamps.push(minute);
                written = now;
            }
        }
        assert_eq!(stamps, [1, 2, 4, 8, 16, 31, 46, 61, 76]);
    }
}
