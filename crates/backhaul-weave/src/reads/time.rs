//! Times, as requests have them and as answers have them.

use backhaul_store::Timestamp;
use serde_json::Value;

/// Numbers above this are milliseconds, as they are to Weave's server.
const MILLISECONDS_FROM: f64 = 2e10;

/// Microseconds since 1970 of a time in JSON: a text, in UTC where it names no zone; or a
/// number of seconds or milliseconds.
pub(super) fn of_value(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => of_text(text),
        Value::Number(_) => backhaul_json::as_f64(value).map(of_number),
        _ => None,
    }
}

/// The same of a number.
pub(super) fn of_number(number: f64) -> i64 {
    let seconds = if number.abs() > MILLISECONDS_FROM { number / 1e3 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "times beyond an i64 become its ends")]
    let micros = (seconds * 1e6).round() as i64;
    micros
}

/// The same of a text.
pub(super) fn of_text(text: &str) -> Option<i64> {
    let time = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}Z")))?;
    Some(time.as_micros())
}

/// As Weave's server writes a time: six digits of a second, or none.
pub(super) fn to_text(micros: i64) -> String {
    let text = Timestamp::from_micros(micros).to_string();
    let Some((seconds, digits)) = text.trim_end_matches('Z').split_once('.') else { return text };
    format!("{seconds}.{digits:0<6}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_each_form_and_written_in_one() {
        let noon = 1_705_320_000_000_000;
        for value in [
            json!("2024-01-15T12:00:00Z"),
            json!("2024-01-15T13:00:00+01:00"),
            json!("2024-01-15T12:00:00"),
            json!(1_705_320_000),
            json!(1_705_320_000_000_i64),
        ] {
            assert_eq!(of_value(&value), Some(noon), "{value}");
        }
        assert_eq!(to_text(noon), "2024-01-15T12:00:00Z");
        assert_eq!(to_text(noon + 120_000), "2024-01-15T12:00:00.120000Z");
        assert_eq!(of_value(&json!("noon")), None);
    }
}
