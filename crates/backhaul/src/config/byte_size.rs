//! Sizes as people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, read from `64KB`, `1.5 GB` or `65536`. Units are decimal:
/// MB = 10^6 bytes.
///
/// ```
/// use backhaul::config::ByteSize;
/// assert_eq!("1.5 GB".parse(), Ok(ByteSize(1_500_000_000)));
/// assert_eq!(ByteSize(1_500_000_000).to_string(), "1.50 GB");
/// assert_eq!(ByteSize(1_500_000_000).exact(), "1500MB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 5] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];

impl ByteSize {
    /// The size in the largest unit that it is a whole number of, as it is read back.
    pub fn exact(self) -> String {
        let Self(bytes) = self;
        let fits = |factor: u64| bytes >= factor && bytes.is_multiple_of(factor);
        let (unit, factor) =
            UNITS.into_iter().find(|(_, factor)| fits(*factor)).unwrap_or(("B", 1));
        format!("{}{unit}", bytes / factor)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no size: expected a number with KB, MB, GB or TB");
        let upper = text.trim().to_ascii_uppercase();
        let unit = UNITS.iter().find(|(unit, _)| upper.ends_with(unit));
        let (number, factor) = match unit {
            Some((unit, factor)) => (upper.trim_end_matches(unit).trim_end(), *factor),
            None => (upper.as_str(), 1),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > 12 {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let mut bytes = u128::from(whole) * u128::from(factor);
        for (digit, place) in fraction.bytes().zip(1_u32..) {
            bytes += u128::from(digit - b'0') * u128::from(factor) / 10_u128.pow(place);
        }
        u64::try_from(bytes).map(Self).map_err(|_| bad())
    }
}

impl fmt::Display for ByteSize {
    /// Three digits or more and a unit: `1.23 MB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let (unit, factor) =
            UNITS.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(("B", 1));
        let whole = bytes / factor;
        let text = match (factor, whole) {
            (1, _) | (_, 100..) => format!("{whole} {unit}"),
            (_, 10..) => format!("{whole}.{} {unit}", bytes % factor * 10 / factor),
            _ => format!("{whole}.{:02} {unit}", bytes % factor * 100 / factor),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("64KB", 64_000),
            ("1.5 gb", 1_500_000_000),
            ("100mb", 100_000_000),
            ("7 B", 7),
            ("0.001KB", 1),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in ["", "MB", "-1", "1,5MB", "1e3", "99999999999 TB", "1.x"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn writes_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 KB"),
            (12_345, "12.3 KB"),
            (123_456_789, "123 MB"),
            (1_999_999_999, "1.99 GB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
