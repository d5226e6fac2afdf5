//! When the allowance is full again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};

use super::moment::TrueTime;
use crate::options::OptionError;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// When the allowance is full again, in UTC. Reads back from its text.
///
/// ```
/// use backhaul_sync::Refill;
/// use std::time::Duration;
///
/// assert_eq!(Refill::default().to_string(), "daily at 00:00");
/// let refill: Refill = "monthly on 15 at 06:30".parse().unwrap();
/// assert_eq!(refill, Refill::Monthly { day: 15, at: Duration::from_secs(6 * 3600 + 30 * 60) });
/// let error = "weekly".parse::<Refill>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "refill is \"weekly\": expected \"daily\" or \"monthly on DAY\", and possibly \"at HH:MM\""
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refill {
    /// Once a day.
    Daily {
        /// The time since 00:00 UTC, less than a day.
        at: Duration,
    },
    /// Once a month, on the day that a carrier bills; the limit is one for the month then.
    Monthly {
        /// The day of the month, 1 to 31. Months that are shorter have it on their last day.
        day: u8,
        /// The time since 00:00 UTC, less than a day.
        at: Duration,
    },
}

impl Default for Refill {
    fn default() -> Self {
        Self::Daily { at: Duration::ZERO }
    }
}

impl Refill {
    /// # Errors
    /// Names the option `refill`.
    pub(crate) fn check(self) -> Result<(), OptionError> {
        let bad = |found: String, expected| Err(OptionError::new("refill", found, expected));
        if let Refill::Monthly { day, .. } = self
            && !(1..=31).contains(&day)
        {
            return bad(format!("on day {day}"), "a day from 1 to 31");
        }
        if self.at() >= Duration::from_millis(DAY_MS) {
            return bad(format!("at {:?}", self.at()), "less than 24 hours after 00:00 UTC");
        }
        Ok(())
    }

    fn at(self) -> Duration {
        match self {
            Refill::Daily { at } | Refill::Monthly { at, .. } => at,
        }
    }

    /// The longest time between two refills, in milliseconds: wherever so much time has
    /// passed there was one.
    pub(crate) fn longest_ms(self) -> u64 {
        match self {
            Refill::Daily { .. } => DAY_MS,
            Refill::Monthly { .. } => 31 * DAY_MS,
        }
    }

    /// The first refill after `time`. What is counted at a refill belongs behind it.
    pub(crate) fn next_after(self, time: TrueTime) -> TrueTime {
        let at = i64::try_from(self.at().as_millis()).unwrap_or(0);
        let shifted = time.0.saturating_sub(at);
        let next = match self {
            Refill::Daily { .. } => {
                let day = i64::try_from(DAY_MS).unwrap_or(i64::MAX);
                shifted.div_euclid(day).saturating_add(1).saturating_mul(day)
            }
            Refill::Monthly { day, .. } => next_billing_day(shifted, day).unwrap_or(i64::MAX),
        };
        TrueTime(next.saturating_add(at))
    }
}

/// The first 00:00 UTC after `ms` that begins a billing day. `None` past the year 9999.
fn next_billing_day(ms: i64, day: u8) -> Option<i64> {
    let today = Offset::UTC.to_datetime(Timestamp::from_millisecond(ms).ok()?).date();
    let this_month = billing_day(today, day)?;
    let next = if today < this_month {
        this_month
    } else {
        billing_day(today.first_of_month().checked_add(1.month()).ok()?, day)?
    };
    let midnight = Offset::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok()?;
    Some(midnight.as_millisecond())
}

/// The billing day in the month of `date`.
fn billing_day(date: Date, day: u8) -> Option<Date> {
    let last = date.days_in_month();
    let day = i8::try_from(day).unwrap_or(last).min(last);
    Date::new(date.year(), date.month(), day).ok()
}

impl fmt::Display for Refill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refill::Daily { .. } => f.write_str("daily")?,
            Refill::Monthly { day, .. } => write!(f, "monthly on {day}")?,
        }
        let minutes = self.at().as_secs() / 60;
        write!(f, " at {:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl FromStr for Refill {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let expected = "\"daily\" or \"monthly on DAY\", and possibly \"at HH:MM\"";
        let unknown = || OptionError::new("refill", format!("{text:?}"), expected);
        let (when, at) = text.split_once(" at ").unwrap_or((text, "00:00"));
        let at = time_of_day(at).ok_or_else(unknown)?;
        let refill = match when.strip_prefix("monthly on ") {
            Some(day) => Refill::Monthly { day: day.parse().map_err(|_| unknown())?, at },
            None if when == "daily" => Refill::Daily { at },
            None => return Err(unknown()),
        };
        refill.check().map(|()| refill)
    }
}

fn time_of_day(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u64>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60).then(|| Duration::from_secs(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> TrueTime {
        TrueTime::floor(backhaul_store::Timestamp::parse(text).unwrap())
    }

    fn next(refill: &str, after: &str) -> String {
        let refill: Refill = refill.parse().unwrap();
        refill.next_after(time(after)).timestamp().to_string()
    }

    #[test]
    fn daily_refills_come_at_their_time_of_day() {
        for (refill, after, expected) in [
            ("daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("daily", "2026-01-01T23:59:59.999Z", "2026-01-02T00:00:00Z"),
            ("daily at 06:30", "2026-01-01T06:29:59Z", "2026-01-01T06:30:00Z"),
            ("daily at 06:30", "2026-01-01T06:30:00Z", "2026-01-02T06:30:00Z"),
            ("daily", "1969-12-31T12:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(refill, after), expected, "{refill} after {after}");
        }
    }

    #[test]
    fn monthly_refills_come_on_the_billing_day_or_the_last_of_a_shorter_month() {
        for (refill, after, expected) in [
            ("monthly on 1", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"),
            ("monthly on 15", "2026-01-15T00:00:00Z", "2026-02-15T00:00:00Z"),
            ("monthly on 15", "2026-01-14T23:59:59Z", "2026-01-15T00:00:00Z"),
            ("monthly on 31", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            ("monthly on 31", "2028-02-10T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("monthly on 31", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("monthly on 30 at 23:59", "2026-12-30T23:59:00Z", "2027-01-30T23:59:00Z"),
            ("monthly on 1 at 12:00", "2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z"),
        ] {
            assert_eq!(next(refill, after), expected, "{refill} after {after}");
        }
    }

    #[test]
    fn no_two_refills_are_further_apart_than_the_longest_time() {
        for text in ["daily at 13:00", "monthly on 1", "monthly on 29", "monthly on 31 at 23:59"] {
            let refill: Refill = text.parse().unwrap();
            let mut at = time("2023-12-31T00:00:00Z");
            for _ in 0..60 {
                let next = refill.next_after(at);
                assert!(next > at, "{text}");
                assert!(next.since(at) <= refill.longest_ms(), "{text}");
                assert_eq!(refill.next_after(TrueTime(next.0 - 1)), next, "{text}");
                at = next;
            }
        }
    }

    #[test]
    fn texts_read_back_and_others_are_refused_by_name() {
        for text in ["daily at 00:00", "daily at 23:59", "monthly on 31 at 06:05"] {
            assert_eq!(text.parse::<Refill>().unwrap().to_string(), text);
        }
        for text in
            ["", "daily at 24:00", "daily at 6:00", "monthly", "monthly on 0", "monthly on 32"]
        {
            let error = text.parse::<Refill>().unwrap_err();
            assert_eq!(error.option(), "refill", "{text}");
        }
    }
}
