//! How much may leave the device, and how fast.

use super::limits::Limits;
use super::refill::Refill;
use crate::options::OptionError;

/// A megabyte is a million bytes, as data plans are sold.
const MEGABYTE: u64 = 1_000_000;
/// The largest limit in megabytes: no sum of bytes comes near the end of its range.
const MOST_MB: u64 = 1_000_000_000;
/// Bytes a second in a kilobit a second, which is a thousand bits.
const BYTES_PER_KBPS: u64 = 125;
/// The largest rate: 10 Tbit/s.
const MOST_KBPS: u64 = 10_000_000_000;

/// Settings of a [`BandwidthManager`](crate::BandwidthManager). The first three are
/// CEMAF's; its document shows 100, 50 and 20. Megabytes and kilobits are decimal.
///
/// ```
/// use backhaul_sync::BandwidthOptions;
///
/// let options = BandwidthOptions {
///     daily_limit_mb: Some(100),
///     rate_limit_kbps: Some(50),
///     priority_reserve_mb: 20,
///     ..BandwidthOptions::default()
/// };
/// assert!(options.check().is_ok());
///
/// let error = BandwidthOptions { priority_reserve_mb: 200, ..options }.check().unwrap_err();
/// assert_eq!(error.to_string(), "priority_reserve_mb is 200: expected at most daily_limit_mb");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BandwidthOptions {
    /// The cap in megabytes (10^6 bytes) from one refill to the next: of a month where
    /// [`refill`](BandwidthOptions::refill) is monthly. `None`: no cap. Default: none.
    pub daily_limit_mb: Option<u64>,
    /// The rate in kilobits (10^3 bits) a second. `None`: no limit. Default: none.
    pub rate_limit_kbps: Option<u64>,
    /// What of the cap is kept for critical traffic, in megabytes. It lies inside the
    /// cap: other traffic may use the cap less this, critical traffic all of it.
    /// Default: 0.
    pub priority_reserve_mb: u64,
    /// When the cap is full again. Default: every day at 00:00 UTC.
    pub refill: Refill,
}

impl BandwidthOptions {
    /// Checks that the values make sense together.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        let bad = |option, found: u64, expected| {
            Err(OptionError::new(option, found.to_string(), expected))
        };
        match self.daily_limit_mb {
            Some(0) => return bad("daily_limit_mb", 0, "at least 1, or none for no limit"),
            Some(limit) if limit > MOST_MB => {
                return bad("daily_limit_mb", limit, "at most 1000000000");
            }
            _ => {}
        }
        match self.rate_limit_kbps {
            Some(0) => return bad("rate_limit_kbps", 0, "at least 1, or none for no limit"),
            Some(rate) if rate > MOST_KBPS => {
                return bad("rate_limit_kbps", rate, "at most 10000000000");
            }
            _ => {}
        }
        let reserve = self.priority_reserve_mb;
        match self.daily_limit_mb {
            None if reserve > 0 => {
                return bad("priority_reserve_mb", reserve, "0 where daily_limit_mb is not set");
            }
            Some(limit) if reserve > limit => {
                return bad("priority_reserve_mb", reserve, "at most daily_limit_mb");
            }
            _ => {}
        }
        self.refill.check()
    }

    /// The cap in bytes.
    pub(crate) fn limits(&self) -> Option<Limits> {
        self.daily_limit_mb.map(|limit| Limits {
            limit: limit.saturating_mul(MEGABYTE),
            reserve: self.priority_reserve_mb.saturating_mul(MEGABYTE),
        })
    }

    /// The rate in bytes a second.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.rate_limit_kbps.map(|rate| rate.saturating_mul(BYTES_PER_KBPS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_is_limited_by_default() {
        let options = BandwidthOptions::default();
        assert_eq!(options.check(), Ok(()));
        assert_eq!((options.limits(), options.bytes_per_second()), (None, None));
        assert_eq!(options.refill.to_string(), "daily at 00:00");
    }

    #[test]
    fn the_values_of_the_document_are_decimal_bytes() {
        let options = BandwidthOptions {
            daily_limit_mb: Some(100),
            rate_limit_kbps: Some(50),
            priority_reserve_mb: 20,
            ..BandwidthOptions::default()
        };
        assert_eq!(options.check(), Ok(()));
        let limits = Limits { limit: 100_000_000, reserve: 20_000_000 };
        assert_eq!((options.limits(), options.bytes_per_second()), (Some(limits), Some(6_250)));
    }

    #[test]
    fn values_without_sense_are_refused_by_name() {
        let base = BandwidthOptions { daily_limit_mb: Some(100), ..BandwidthOptions::default() };
        let day = Duration::from_secs(24 * 3600);
        for (name, options) in [
            ("daily_limit_mb", BandwidthOptions { daily_limit_mb: Some(0), ..base }),
            ("daily_limit_mb", BandwidthOptions { daily_limit_mb: Some(u64::MAX), ..base }),
            ("rate_limit_kbps", BandwidthOptions { rate_limit_kbps: Some(0), ..base }),
            ("rate_limit_kbps", BandwidthOptions { rate_limit_kbps: Some(u64::MAX), ..base }),
            ("priority_reserve_mb", BandwidthOptions { priority_reserve_mb: 101, ..base }),
            (
                "priority_reserve_mb",
                BandwidthOptions { priority_reserve_mb: 1, ..BandwidthOptions::default() },
            ),
            ("refill", BandwidthOptions { refill: Refill::Daily { at: day }, ..base }),
            (
                "refill",
                BandwidthOptions { refill: Refill::Monthly { day: 0, at: Duration::ZERO }, ..base },
            ),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.option(), name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
