//! How long the device was on: what ages are counted in.
//!
//! The wall clock may say anything after a boot. What is certain is how long each boot was
//! seen to last, so that is written down, and a record is as old as what follows its stamp
//! in its own boot, all boots after that one, and this boot so far. What was not seen of a
//! boot, and the time between boots, do not count: nothing is ever taken for older than it is.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::MAX_NUMBER;
use crate::clock::Moment;
use crate::record::Stamp;

/// Boots that are remembered. A device that boots every hour needs eleven days for as many.
const MOST: usize = 256;
/// A boot is noted when it begins, after one, two, four minutes, and then every quarter of
/// an hour, so that one that is cut short loses at most half of its time.
const FIRST_NOTE_MS: u64 = 60 * 1000;
const MOST_UNNOTED_MS: u64 = 15 * 60 * 1000;

/// A boot, as far as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boot {
    pub(crate) id: String,
    /// The spool's epoch then. In another one it was on another machine perhaps, whose
    /// boots ran beside this machine's.
    pub(crate) epoch: String,
    /// The time since the boot from which on it counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) from_ms: u64,
    /// The time since the boot when it was seen last.
    pub(crate) until_ms: u64,
    /// It was over before another boot was noted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_past: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Boot {
    pub(crate) fn is_plausible(&self) -> bool {
        self.from_ms <= self.until_ms && self.until_ms <= MAX_NUMBER
    }

    fn lasted(&self) -> Duration {
        Duration::from_millis(self.until_ms.saturating_sub(self.from_ms))
    }
}

/// The boots in which somebody delivered from the spool, oldest first; the last one is
/// this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Boots(VecDeque<Boot>);

impl Boots {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Boot> {
        self.0.iter()
    }

    /// This boot as it is to be noted, if so much of it was not noted yet.
    pub(crate) fn due(&self, id: &str, epoch: &str, since_boot: Duration) -> Option<Boot> {
        let now_ms = whole_ms(since_boot);
        let boot = |from_ms| Boot {
            id: id.to_owned(),
            epoch: epoch.to_owned(),
            from_ms,
            until_ms: now_ms,
            is_past: false,
        };
        let Some(last) = self.0.back() else { return Some(boot(0)) };
        if last.epoch != epoch {
            return Some(boot(now_ms));
        }
        let Some(known) = self.0.iter().find(|known| known.id == id) else { return Some(boot(0)) };
        let unnoted = now_ms.saturating_sub(known.until_ms);
        let noted = known.until_ms.saturating_sub(known.from_ms);
        let is_due = unnoted >= noted.clamp(FIRST_NOTE_MS, MOST_UNNOTED_MS);
        is_due.then(|| boot(known.from_ms))
    }

    /// The boot of a record, if nobody noted it: it was over before this one.
    pub(crate) fn unknown(&self, stamp: &Stamp) -> Option<Boot> {
        let last = self.0.back()?;
        let is_known =
            stamp.boot_id.is_empty() || self.0.iter().any(|known| known.id == stamp.boot_id);
        let until_ms = whole_ms(stamp.since_boot);
        (!is_known).then(|| Boot {
            id: stamp.boot_id.clone(),
            epoch: last.epoch.clone(),
            from_ms: until_ms,
            until_ms,
            is_past: true,
        })
    }

    pub(crate) fn note(&mut self, boot: &Boot) {
        if self.0.back().is_some_and(|last| last.epoch != boot.epoch) {
            self.0.clear();
        }
        match self.0.iter_mut().find(|known| known.id == boot.id) {
            Some(known) => known.until_ms = known.until_ms.max(boot.until_ms),
            None if boot.is_past => {
                let before_last = self.0.len().saturating_sub(1);
                self.0.insert(before_last, Boot { is_past: false, ..boot.clone() });
            }
            None => self.0.push_back(boot.clone()),
        }
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// For how long the device was on since a record was stamped, at least; `None` where
    /// the record does not say in which boot that was.
    pub(crate) fn power_on_since(&self, stamp: &Stamp, now: &Moment, id: &str) -> Option<Duration> {
        if stamp.boot_id.is_empty() {
            return None;
        }
        if stamp.boot_id == id {
            return Some(now.since_boot.saturating_sub(stamp.since_boot));
        }
        let this = self.0.iter().find(|boot| boot.id == id);
        let from = this.map_or(Duration::ZERO, |this| Duration::from_millis(this.from_ms));
        let this_boot = now.since_boot.saturating_sub(from);
        let Some(its) = self.0.iter().position(|boot| boot.id == stamp.boot_id) else {
            return Some(this_boot);
        };
        let rest = self.0.get(its).map_or(Duration::ZERO, |boot| {
            Duration::from_millis(boot.until_ms).saturating_sub(stamp.since_boot)
        });
        let later = self.0.iter().skip(its + 1).filter(|boot| boot.id != id);
        Some(later.map(Boot::lasted).fold(rest + this_boot, Duration::saturating_add))
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(MAX_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::record::Flush;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(since_boot: Duration) -> Moment {
        Moment { wall: Timestamp::from_micros(0), since_boot }
    }

    fn stamp(boot: &str, since_boot: Duration) -> Stamp {
        Stamp::new(&at(since_boot), boot, Flush::Always)
    }

    fn see(boots: &mut Boots, id: &str, epoch: &str, until: Duration) {
        if let Some(boot) = boots.due(id, epoch, until) {
            boots.note(&boot);
        }
    }

    #[test]
    fn time_counts_over_boots_and_never_more_than_was_seen() {
        let mut boots = Boots::default();
        for (id, minutes) in [("a", 0), ("a", 10), ("b", 1), ("b", 31), ("c", 0)] {
            see(&mut boots, id, "1", MINUTE * minutes);
        }
        let age = |stamp| boots.power_on_since(&stamp, &at(MINUTE * 5), "c");
        assert_eq!(age(stamp("a", MINUTE * 4)), Some(MINUTE * (6 + 31 + 5)));
        assert_eq!(age(stamp("a", MINUTE * 60)), Some(MINUTE * (31 + 5)));
        assert_eq!(age(stamp("b", MINUTE * 30)), Some(MINUTE * (1 + 5)));
        assert_eq!(age(stamp("c", MINUTE * 3)), Some(MINUTE * 2));
        assert_eq!(age(stamp("c", MINUTE * 7)), Some(Duration::ZERO));
        assert_eq!(age(stamp("", MINUTE)), None);
    }

    #[test]
    fn the_boot_of_a_record_that_nobody_noted_counts_from_the_next_one_on() {
        let mut boots = Boots::default();
        see(&mut boots, "a", "1", MINUTE * 9);
        see(&mut boots, "c", "1", MINUTE * 2);
        let record = stamp("b", MINUTE * 50);
        assert_eq!(boots.power_on_since(&record, &at(MINUTE * 3), "c"), Some(MINUTE * 3));
        let unknown = boots.unknown(&record).unwrap();
        boots.note(&unknown);
        assert_eq!(boots.unknown(&record), None);
        assert_eq!(boots.power_on_since(&record, &at(MINUTE * 3), "c"), Some(MINUTE * 3));
        see(&mut boots, "d", "1", MINUTE);
        assert_eq!(boots.power_on_since(&record, &at(MINUTE), "d"), Some(MINUTE * (2 + 1)));
    }

    #[test]
    fn on_another_machine_time_begins_anew() {
        let mut boots = Boots::default();
        see(&mut boots, "a", "1", MINUTE * 9);
        // That machine has been on for long, also while the record was made on this one.
        see(&mut boots, "b", "2", MINUTE * 9000);
        let record = stamp("a", MINUTE * 8);
        assert_eq!(boots.power_on_since(&record, &at(MINUTE * 9001), "b"), Some(MINUTE));
    }

    #[test]
    fn a_boot_is_noted_after_one_two_four_minutes_and_then_every_quarter_of_an_hour() {
        let mut boots = Boots::default();
        see(&mut boots, "a", "1", Duration::ZERO);
        let mut noted = Vec::new();
        for minute in 1..80 {
            if let Some(boot) = boots.due("a", "1", MINUTE * minute) {
                boots.note(&boot);
                noted.push(minute);
            }
        }
        assert_eq!(noted, [1, 2, 4, 8, 16, 31, 46, 61, 76]);
    }

    #[test]
    fn the_oldest_boots_are_forgotten() {
        let mut boots = Boots::default();
        for boot in 0..1000 {
            see(&mut boots, &boot.to_string(), "1", MINUTE);
        }
        assert_eq!(boots.iter().count(), MOST);
        let age = boots.power_on_since(&stamp("999", MINUTE), &at(MINUTE), "999");
        assert_eq!(age, Some(Duration::ZERO));
        let age = boots.power_on_since(&stamp("990", MINUTE), &at(MINUTE), "999");
        assert_eq!(age, Some(MINUTE * 9));
    }
}
