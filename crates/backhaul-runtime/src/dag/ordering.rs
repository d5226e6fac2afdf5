//! Which of two JSON values is the greater one.

use std::cmp::Ordering;

use serde_json::Value;

/// The order of two numbers or two texts; `None` where there is none. `true` counts as 1.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => Number::of(left)?.compare(&Number::of(right)?),
    }
}

enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Integer(i128::from(*flag))),
            _ => match value.as_number().and_then(serde_json::Number::as_i128) {
                Some(integer) => Some(Self::Integer(integer)),
                None => backhaul_json::as_f64(value).map(Self::Float),
            },
        }
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => Some(left.cmp(right)),
            (Self::Float(left), Self::Float(right)) => left.partial_cmp(right),
            (Self::Integer(left), Self::Float(right)) => compare_mixed(*left, *right),
            (Self::Float(left), Self::Integer(right)) => {
                compare_mixed(*right, *left).map(Ordering::reverse)
            }
        }
    }
}

/// An integer and a float are compared without rounding either: first the float's whole part,
/// which is exact as an integer, then what stands behind its point.
fn compare_mixed(integer: i128, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within the range")]
    let whole = float.trunc() as i128;
    let behind = || 0.0.partial_cmp(&float.fract());
    Some(integer.cmp(&whole)).filter(|order| order.is_ne()).or_else(behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_without_rounding() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (less, greater) in [
            ("9007199254740992.0", "9007199254740993"),
            ("-9007199254740993", "-9007199254740992.0"),
            ("18446744073709551615", "18446744073709551616"),
            ("1", "1.5"),
            ("-1.5", "-1"),
            ("-0.5", "0"),
            ("false", "0.5"),
            ("170141183460469231731687303715884105727", "1e300"),
            ("-1e300", "-170141183460469231731687303715884105728"),
            (r#""Z""#, r#""a""#),
        ] {
            let (less, greater) = (read(less), read(greater));
            assert_eq!(compare(&less, &greater), Some(Ordering::Less), "{less} {greater}");
            assert_eq!(compare(&greater, &less), Some(Ordering::Greater), "{less} {greater}");
            assert_eq!(compare(&less, &less), Some(Ordering::Equal), "{less}");
        }
    }

    #[test]
    fn values_of_different_kinds_have_no_order() {
        for (left, right) in
            [(json!("1"), json!(1)), (json!(null), json!(0)), (json!([1]), json!([2]))]
        {
            assert_eq!(compare(&left, &right), None, "{left} {right}");
        }
    }
}
