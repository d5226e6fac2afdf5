//! Values as queries compare them: after SQLite, in which Weave's reference server keeps
//! calls.

use std::cmp::Ordering;

use serde_json::Value;

use super::time;

/// A value of a field, or of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sql {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    /// Microseconds. Compares with texts that are times, and with numbers of seconds.
    Time(i64),
}

/// What a value is taken for where it meets one of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    None,
    Text,
    Number,
}

/// What a field is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    Int,
    Double,
    Bool,
    Text,
    Exists,
}

impl Sql {
    /// What SQLite's `json_extract` gives.
    pub(super) fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(is) => Self::Int(i64::from(*is)),
            Value::String(text) => Self::Text(text.clone()),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => backhaul_json::as_f64(value).map_or(Self::Null, Self::Real),
            },
            Value::Array(_) | Value::Object(_) => Self::Text(compact(value)),
        }
    }

    /// The JSON of a value, as the server keeps it.
    pub(super) fn of_whole(value: &Value) -> Self {
        let json = backhaul_json::to_vec(value, backhaul_json::Style::Python);
        Self::Text(String::from_utf8_lossy(&json).into_owned())
    }

    pub(super) fn of_bool(is: Option<bool>) -> Self {
        is.map_or(Self::Null, |is| Self::Int(i64::from(is)))
    }

    pub(super) fn of_text(text: Option<&str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }

    /// As text; `None`: there is nothing.
    pub(super) fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Int(whole) => whole.to_string(),
            Self::Real(real) => real_text(*real),
            Self::Text(text) => text.clone(),
            Self::Time(micros) => time::to_text(*micros),
        })
    }

    /// Whether it counts as true; `None`: not known.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.to_number(false) {
            Self::Int(whole) => Some(whole != 0),
            Self::Real(real) => Some(real != 0.0),
            _ => None,
        }
    }

    /// SQLite's `CAST`.
    pub(super) fn cast(&self, to: Cast) -> Self {
        if to == Cast::Exists {
            return Self::of_bool(Some(*self != Self::Null));
        }
        if *self == Self::Null {
            return Self::Null;
        }
        match (to, self.to_number(false)) {
            (Cast::Text, _) => Self::of_text(self.to_text().as_deref()),
            #[expect(clippy::cast_possible_truncation, reason = "as SQLite cuts it off")]
            (Cast::Int, Self::Real(real)) => Self::Int(real as i64),
            #[expect(clippy::cast_precision_loss, reason = "that is what is asked for")]
            (Cast::Double, Self::Int(whole)) => Self::Real(whole as f64),
            (_, number) => number,
        }
    }

    /// The number that it is or, where it is a text, begins with; 0 where there is none.
    /// `whole_only`: a text that is no number from end to end stays one.
    fn to_number(&self, whole_only: bool) -> Self {
        let Self::Text(text) = self else { return self.clone() };
        let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
        let len = number_len(trimmed);
        if whole_only && (len == 0 || len < trimmed.len()) {
            return self.clone();
        }
        let digits = trimmed.get(..len).unwrap_or_default();
        match (digits.parse(), digits.parse()) {
            (Ok(whole), _) => Self::Int(whole),
            (_, Ok(real)) => Self::Real(real),
            _ => Self::Int(0),
        }
    }

    /// Compares as SQLite does, values of different types after their affinities.
    /// `None`: one of them is nothing.
    pub(super) fn compare(
        &self,
        of_self: Affinity,
        other: &Self,
        of_other: Affinity,
    ) -> Option<Ordering> {
        let (left, right) = match (of_self, of_other) {
            (Affinity::Number, Affinity::Text | Affinity::None) => {
                (self.clone(), other.to_number(true))
            }
            (Affinity::Text | Affinity::None, Affinity::Number) => {
                (self.to_number(true), other.clone())
            }
            (Affinity::Text, Affinity::None) => (self.clone(), other.as_text()),
            (Affinity::None, Affinity::Text) => (self.as_text(), other.clone()),
            _ => (self.clone(), other.clone()),
        };
        (left != Self::Null && right != Self::Null).then(|| left.order(&right))
    }

    /// Text in place of a number; times stay.
    fn as_text(&self) -> Self {
        match self {
            Self::Int(_) | Self::Real(_) => Self::of_text(self.to_text().as_deref()),
            other => other.clone(),
        }
    }

    /// The order in which SQLite sorts: nothing, numbers, texts.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Time(left), Self::Time(right)) => left.cmp(right),
            (Self::Time(micros), other) => order_of_time(*micros, other),
            (other, Self::Time(micros)) => order_of_time(*micros, other).reverse(),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (left, right) => match (left.as_real(), right.as_real()) {
                (Some(left), Some(right)) => left.total_cmp(&right),
                _ => left.rank().cmp(&right.rank()),
            },
        }
    }

    pub(super) fn as_real(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "beside a real, a whole number is one")]
            Self::Int(whole) => Some(*whole as f64),
            // As SQLite has it, both zeros are one.
            Self::Real(real) => Some(*real + 0.0),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Int(_) | Self::Real(_) => 1,
            Self::Text(_) | Self::Time(_) => 2,
        }
    }
}

fn order_of_time(micros: i64, other: &Sql) -> Ordering {
    match other {
        Sql::Null => Ordering::Greater,
        Sql::Text(text) => match time::of_text(text) {
            Some(other) => micros.cmp(&other),
            None => time::to_text(micros).as_str().cmp(text),
        },
        number => micros.cmp(&time::of_number(number.as_real().unwrap_or(0.0))),
    }
}

/// The length of the number that a text begins with.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_at = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let digits_from = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let start = usize::from(is_at(0, b"+-"));
    let whole = digits_from(start);
    let mut end = start + whole;
    let mut digits = whole;
    if is_at(end, b".") {
        let fraction = digits_from(end + 1);
        digits += fraction;
        end += 1 + fraction;
    }
    if digits == 0 {
        return 0;
    }
    if is_at(end, b"eE") {
        let sign = usize::from(is_at(end + 1, b"+-"));
        let exponent = digits_from(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// A real as SQLite writes it: 15 digits, and always with a point.
fn real_text(real: f64) -> String {
    if !real.is_finite() {
        return if real > 0.0 { "Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{real:.14e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        let decimals = usize::try_from(14 - exponent).unwrap_or(0);
        return with_point(&format!("{real:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", with_point(digits), exponent.abs())
}

/// Without zeros at the end, but with one behind the point.
fn with_point(digits: &str) -> String {
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0'),
        false => digits,
    };
    match digits.strip_suffix('.') {
        Some(whole) => format!("{whole}.0"),
        None if digits.contains('.') => digits.to_owned(),
        None => format!("{digits}.0"),
    }
}

/// Without spaces, and as ASCII: so it stands in the server's columns.
fn compact(value: &Value) -> String {
    let json = backhaul_json::to_vec(value, backhaul_json::Style::Compact);
    let mut text = String::with_capacity(json.len());
    for character in String::from_utf8_lossy(&json).chars() {
        match character {
            ' '..='~' => text.push(character),
            other => other
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_are_written_as_sqlite_writes_them() {
        for (real, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1.0e+15"),
            (123_456_789.125, "123456789.125"),
            (1e-5, "1.0e-05"),
            (0.0001, "0.0001"),
            (1.0 / 3.0, "0.333333333333333"),
            (0.0, "0.0"),
        ] {
            assert_eq!(real_text(real), text);
        }
    }

    #[test]
    fn a_text_is_cast_to_the_number_that_it_begins_with() {
        let cast = |text: &str, to| Sql::Text(text.to_owned()).cast(to);
        assert_eq!(cast(" 12abc", Cast::Int), Sql::Int(12));
        assert_eq!(cast("1.9", Cast::Int), Sql::Int(1));
        assert_eq!(cast("1.5e1x", Cast::Double), Sql::Real(15.0));
        assert_eq!(cast("none", Cast::Double), Sql::Real(0.0));
        assert_eq!(cast("-.5", Cast::Bool), Sql::Real(-0.5));
        assert_eq!(Sql::Null.cast(Cast::Int), Sql::Null);
    }

    #[test]
    fn a_time_compares_with_texts_and_with_seconds() {
        let time = Sql::Time(1_705_320_000_000_000);
        let compare = |other: Sql| time.compare(Affinity::Text, &other, Affinity::None);
        assert_eq!(compare(Sql::Text("2024-01-15T12:00:00Z".into())), Some(Ordering::Equal));
        assert_eq!(compare(Sql::Text("2024-01-16".into())), Some(Ordering::Less));
        assert_eq!(compare(Sql::Int(1_705_319_999)), Some(Ordering::Greater));
        assert_eq!(compare(Sql::Null), None);
    }
}
