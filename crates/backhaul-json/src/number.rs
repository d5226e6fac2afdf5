//! Numbers in Python's spelling and with Python's idea of equality.

use serde_json::{Number, Value};

use super::{MARK, bare_word};

pub(super) fn from_float(value: f64) -> Value {
    if value.is_finite() {
        let number: Result<Number, _> = python_repr(value).parse();
        number.map_or(Value::Null, Value::Number)
    } else {
        Value::String(format!("{MARK}{}", python_repr(value)))
    }
}

pub(super) fn to_float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_str().parse().ok(),
        Value::String(text) => match bare_word(text)? {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            _ => Some(f64::NEG_INFINITY),
        },
        _ => None,
    }
}

/// The shortest text that reads back as `value`, with an exponent where Python has one.
pub(super) fn python_repr(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = shortest(value);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        exponent @ -4..=15 => without_exponent(digits, exponent),
        exponent @ 16.. => format!("{digits}e+{exponent:02}"),
        exponent => format!("{digits}e-{:02}", exponent.unsigned_abs()),
    }
}

/// `1.25` and 1 make `12.5`, with at least one digit on each side of the point.
fn without_exponent(scientific: &str, exponent: i32) -> String {
    let (sign, digits) = match scientific.strip_prefix('-') {
        Some(digits) => ("-", digits.replace('.', "")),
        None => ("", scientific.replace('.', "")),
    };
    let zeros_before = usize::try_from(-exponent).unwrap_or(0);
    let whole_digits = usize::try_from(exponent + 1).unwrap_or(1).max(1);
    let padded = format!("{}{digits:0<whole_digits$}", "0".repeat(zeros_before));
    let (whole, decimals) = padded.split_at_checked(whole_digits).unwrap_or((&padded, ""));
    format!("{sign}{whole}.{}", if decimals.is_empty() { "0" } else { decimals })
}

/// The shortest digits that read back as `value`, as `1.25e-7`.
///
/// Of two texts of that length which are equally near, Python takes the one with the even
/// digit at its end, and so does Rust when it is told how many digits to write.
fn shortest(value: f64) -> String {
    let scientific = format!("{value:e}");
    let digits = scientific.split('e').next().unwrap_or_default();
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let nearest = format!("{value:.decimals$e}");
    if nearest.parse() == Ok(value) { nearest } else { scientific }
}

/// How Python would write the number again after reading `spelling`.
pub(super) fn as_python_writes(spelling: &str) -> String {
    if is_integer(spelling) {
        return if spelling == "-0" { "0" } else { spelling }.to_owned();
    }
    spelling.parse().map_or_else(|_| spelling.to_owned(), python_repr)
}

fn is_integer(spelling: &str) -> bool {
    !spelling.contains(['.', 'e', 'E'])
}

/// Python's `==` on what JSON can hold: `1`, `1.0` and `True` are equal, key order is not
/// looked at. Unlike there, NaN equals itself: as in Python's containers, the same NaN is
/// no change.
pub fn same_in_python(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_in_python(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| {
                    right.get(key).is_some_and(|other| same_in_python(value, other))
                })
        }
        _ => match (exact_number(left), exact_number(right)) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        },
    }
}

/// A text that is equal for equal numbers: an integer in full where the value is whole.
fn exact_number(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) if is_integer(number.as_str()) => {
            Some(as_python_writes(number.as_str()))
        }
        _ => match to_float(value)? {
            0.0 => Some("0".to_owned()),
            whole if whole.is_finite() && whole.fract() == 0.0 => Some(format!("{whole:.0}")),
            other => Some(python_repr(other)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_floats_as_python_does() {
        for (value, spelling) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (123456.789, "123456.789"),
            (-(964_445_855_089_338.0 + 0.25), "-964445855089338.2"),
            (0.00015, "0.00015"),
        ] {
            assert_eq!(python_repr(value), spelling);
        }
    }

    #[test]
    fn compares_numbers_as_python_does() {
        let read = |text: &str| crate::from_slice(text.as_bytes()).unwrap();
        for (left, right, same) in [
            ("1", "1.0", true),
            ("1", "true", true),
            ("0", "false", true),
            ("0", "-0.0", true),
            ("1e3", "1000", true),
            ("0.5", "5e-1", true),
            ("NaN", "NaN", true),
            ("10000000000000000", "1e16", true),
            ("10000000000000001", "1e16", false),
            ("1", "\"1\"", false),
            ("null", "0", false),
            ("\"a\"", "\"a\"", true),
            ("{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":true}", true),
            ("[1]", "[1,2]", false),
            ("{\"a\":1}", "{\"b\":1}", false),
            ("Infinity", "1e999", true),
        ] {
            assert_eq!(same_in_python(&read(left), &read(right)), same, "{left} {right}");
        }
    }
}
