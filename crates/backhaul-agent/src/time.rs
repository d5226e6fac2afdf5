//! Times as Python's `datetime` writes and reads them.

use backhaul_store::Timestamp;
use jiff::civil::{Date, date};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// 0001-01-01T00:00:00Z, the first instant that a Python `datetime` can hold.
const PYTHON_MIN: i64 = -62_135_596_800_000_000;

/// Writes a time as `isoformat()` of an aware UTC `datetime` does.
///
/// Six digits of fraction, and only when the microseconds are not zero. Times before the
/// year 1, which Python cannot hold, are written as its first instant.
///
/// ```
/// use backhaul_agent::time::isoformat;
/// use backhaul_store::Timestamp;
/// assert_eq!(isoformat(Timestamp::from_micros(0)), "1970-01-01T00:00:00+00:00");
/// assert_eq!(isoformat(Timestamp::from_micros(1_500_000)), "1970-01-01T00:00:01.500000+00:00");
/// ```
pub fn isoformat(time: Timestamp) -> String {
    let micros = time.as_micros().max(PYTHON_MIN);
    let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    let seconds = instant.strftime("%Y-%m-%dT%H:%M:%S");
    match micros.rem_euclid(MICROS_PER_SECOND) {
        0 => format!("{seconds}+00:00"),
        fraction => format!("{seconds}.{fraction:06}+00:00"),
    }
}

/// Reads a time: `2024-01-15T10:30:00`, then a fraction, then an offset or `Z`.
///
/// A time without an offset is taken as UTC, a date alone as its midnight. Digits of the
/// fraction after the sixth are dropped, as Python does; a leap second is taken as the
/// second before it. A space may stand for the `T`. `None` when the text is anything else.
///
/// ```
/// use backhaul_agent::time::{isoformat, parse};
/// let time = parse("2024-01-15T12:30:00.25+02:00").unwrap();
/// assert_eq!(isoformat(time), "2024-01-15T10:30:00.250000+00:00");
/// assert_eq!(parse("2024-01-15T10:30:00.25"), Some(time));
/// assert_eq!(parse("yesterday"), None);
/// ```
pub fn parse(text: &str) -> Option<Timestamp> {
    let mut cursor = Cursor(text.as_bytes());
    let day = cursor.day()?;
    if cursor.is_at_end() {
        return Some(Timestamp::from_micros(day * 86_400 * MICROS_PER_SECOND));
    }
    if !(cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b' ')) {
        return None;
    }
    let (second, micros) = cursor.time_of_day()?;
    let offset = cursor.offset()?;
    let micros = (day * 86_400 + second - offset) * MICROS_PER_SECOND + micros;
    cursor.is_at_end().then(|| Timestamp::from_micros(micros))
}

/// The wall clock of the machine, for defaults where no clock is given.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// What is left of the text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Days since 1970-01-01.
    fn day(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        let month = self.eat(b'-').then(|| self.digits(2))??;
        let day = self.eat(b'-').then(|| self.digits(2))??;
        let year = i16::try_from(year).ok().filter(|year| *year > 0)?;
        let day = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        Some(day.duration_since(date(1970, 1, 1)).as_secs() / 86_400)
    }

    /// Seconds since midnight, and microseconds.
    fn time_of_day(&mut self) -> Option<(i64, i64)> {
        let hour = self.at_most(23)?;
        let minute = self.eat(b':').then(|| self.at_most(59))??;
        let mut second = 0;
        let mut micros = 0;
        if self.eat(b':') {
            second = self.at_most(60)?.min(59);
            if self.eat(b'.') || self.eat(b',') {
                micros = self.fraction()?;
            }
        }
        Some((hour * 3600 + minute * 60 + second, micros))
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.is_at_end() || self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        let sign = if self.eat(b'-') { -1 } else { self.eat(b'+').then_some(1)? };
        let mut seconds = self.at_most(23)? * 3600;
        if !self.is_at_end() {
            let _colon = self.eat(b':');
            seconds += self.at_most(59)? * 60;
        }
        if self.eat(b':') {
            seconds += self.at_most(59)?;
        }
        Some(sign * seconds)
    }

    /// At least one digit; the first six as microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let mut micros = self.digits(1)? * 100_000;
        let mut unit = 10_000;
        while let Some(digit) = self.digits(1) {
            micros += digit * unit;
            unit /= 10;
        }
        Some(micros)
    }

    fn at_most(&mut self, limit: i64) -> Option<i64> {
        self.digits(2).filter(|value| *value <= limit)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut value = 0;
        for byte in digits {
            value = value * 10 + i64::from(char::from(*byte).to_digit(10)?);
        }
        self.0 = rest;
        Some(value)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Option<String> {
        parse(text).map(isoformat)
    }

    #[test]
    fn reads_every_offset_and_fraction() {
        for (text, expected) in [
            ("2024-01-15T10:30:00+00:00", "2024-01-15T10:30:00+00:00"),
            ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00+00:00"),
            ("2024-01-15T10:30:00", "2024-01-15T10:30:00+00:00"),
            ("2024-01-15 10:30", "2024-01-15T10:30:00+00:00"),
            ("2024-01-15", "2024-01-15T00:00:00+00:00"),
            ("2024-01-15T10:30:00.1Z", "2024-01-15T10:30:00.100000+00:00"),
            ("2024-01-15T10:30:00.1234567891234Z", "2024-01-15T10:30:00.123456+00:00"),
            ("2024-01-01T00:30:00+05:45", "2023-12-31T18:45:00+00:00"),
            ("2024-02-29T23:59:60.5-0330", "2024-03-01T03:29:59.500000+00:00"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999+00:00"),
            ("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:00"),
            ("2024-01-15T10:30:00+00:00:30", "2024-01-15T10:29:30+00:00"),
        ] {
            assert_eq!(normal(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_time() {
        for text in [
            "",
            "2024",
            "2024-01",
            "2024-13-01",
            "2023-02-29",
            "2024-01-15T",
            "2024-01-15T24:00",
            "2024-01-15T10",
            "2024-01-15T10:60:00",
            "2024-01-15T10:30:00.",
            "2024-01-15T10:30:00+",
            "2024-01-15T10:30:00+24:00",
            "2024-01-15T10:30:00Zz",
            "2024-01-15x10:30:00",
            "0000-01-01T00:00:00",
            "2024-01-15T10:30:00+00:00 ",
            "２024-01-15",
        ] {
            assert_eq!(normal(text), None, "{text}");
        }
    }

    #[test]
    fn takes_the_last_instant_of_python() {
        assert!(parse("9999-12-31T23:59:59.999999+00:00").is_some());
    }

    #[test]
    fn writes_times_before_the_year_one_as_the_first_instant() {
        assert_eq!(isoformat(Timestamp::from_micros(i64::MIN)), "0001-01-01T00:00:00+00:00");
    }
}
