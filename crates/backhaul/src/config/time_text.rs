//! Times as people write them.

use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `500ms`, `90s`, `10m`, `12h` or `7d`.
///
/// ```
/// use std::time::Duration;
/// use backhaul::config::read_time;
/// assert_eq!(read_time("90s"), Some(Duration::from_secs(90)));
/// assert_eq!(read_time("90"), None);
/// ```
pub fn read_time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor).map(Duration::from_millis)
}

/// A time in the largest unit that it is a whole number of.
pub(super) fn write(time: Duration) -> String {
    let millis = time.as_millis();
    let fits = |factor: u64| millis >= u128::from(factor) && millis.is_multiple_of(factor.into());
    match UNITS.into_iter().find(|(_, factor)| fits(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", millis / u128::from(factor)),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_with_their_unit() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("90s", 90_000), ("10m", 600_000), ("7d", 604_800_000)]
        {
            let time = Duration::from_millis(millis);
            assert_eq!(read_time(text), Some(time), "{text}");
            assert_eq!(write(time), text);
        }
        assert_eq!(write(Duration::from_secs(120)), "2m");
        assert_eq!(read_time("12 h"), Some(Duration::from_secs(43_200)));
    }

    #[test]
    fn times_need_a_number_and_a_unit() {
        for bad in ["", "s", "10", "1w", "-1s", "1.5s", "99999999999999999999d", "5µ"] {
            assert_eq!(read_time(bad), None, "{bad}");
        }
    }
}
