//! A question about the context.

use std::cmp::Ordering;

use backhaul_agent::Context;
use backhaul_json::same_in_python;
use serde_json::Value;

use super::ordering::compare;

/// A question about one field of the context.
///
/// Equality is that of Python: `1`, `1.0` and `true` are equal, at any depth. A field that is
/// missing counts as null. Numbers are compared exactly, integers to 127 bits, also with
/// floats; text is ordered by code points. Of two values without an order, null among them,
/// neither is greater or less.
///
/// ```
/// use backhaul_agent::Context;
/// use backhaul_runtime::dag::Condition;
/// let context = Context::new().set("reading.celsius", 31.5);
/// assert!(Condition::greater_than("reading.celsius", 30).holds(&context));
/// assert!(Condition::is_none("reading.humidity").holds(&context));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The dot path of the field.
    pub field: String,
    /// What is asked of it.
    pub operator: Operator,
    /// What it is compared with. Unused, and null, for the two operators that compare with none.
    pub value: Value,
}

/// What is asked of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Whether it equals the value.
    Equals,
    /// Whether it does not.
    NotEquals,
    /// Whether it is greater than the value. False where either is null or they have no order.
    GreaterThan,
    /// Whether it is less than the value. False where either is null or they have no order.
    LessThan,
    /// Whether it is text with the value in it, a list with the value among its items, or an
    /// object with the value as a key.
    Contains,
    /// Whether it is null or missing.
    IsNone,
    /// Whether it is there and not null.
    IsNotNone,
}

impl Condition {
    /// The field equals the value.
    pub fn equals(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(field.into(), Operator::Equals, value.into())
    }

    /// The field does not equal the value.
    pub fn not_equals(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(field.into(), Operator::NotEquals, value.into())
    }

    /// The field is greater than the value.
    pub fn greater_than(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(field.into(), Operator::GreaterThan, value.into())
    }

    /// The field is less than the value.
    pub fn less_than(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(field.into(), Operator::LessThan, value.into())
    }

    /// The field contains the value.
    pub fn contains(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(field.into(), Operator::Contains, value.into())
    }

    /// The field is null or missing.
    pub fn is_none(field: impl Into<String>) -> Self {
        Self::of(field.into(), Operator::IsNone, Value::Null)
    }

    /// The field is there and not null.
    pub fn is_not_none(field: impl Into<String>) -> Self {
        Self::of(field.into(), Operator::IsNotNone, Value::Null)
    }

    fn of(field: String, operator: Operator, value: Value) -> Self {
        Self { field, operator, value }
    }

    /// Whether it is so in this context.
    pub fn holds(&self, context: &Context) -> bool {
        self.holds_of(context.get(&self.field).as_ref())
    }

    fn holds_of(&self, found: Option<&Value>) -> bool {
        let found = found.unwrap_or(&Value::Null);
        let wanted = &self.value;
        match self.operator {
            Operator::Equals => same_in_python(found, wanted),
            Operator::NotEquals => !same_in_python(found, wanted),
            Operator::GreaterThan => compare(found, wanted) == Some(Ordering::Greater),
            Operator::LessThan => compare(found, wanted) == Some(Ordering::Less),
            Operator::Contains => contains(found, wanted),
            Operator::IsNone => found.is_null(),
            Operator::IsNotNone => !found.is_null(),
        }
    }
}

impl Operator {
    /// Every operator.
    pub(super) const ALL: [Self; 7] = [
        Self::Equals,
        Self::NotEquals,
        Self::GreaterThan,
        Self::LessThan,
        Self::Contains,
        Self::IsNone,
        Self::IsNotNone,
    ];

    /// Its name in JSON and TOML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEquals => "not_equals",
            Self::GreaterThan => "greater_than",
            Self::LessThan => "less_than",
            Self::Contains => "contains",
            Self::IsNone => "is_none",
            Self::IsNotNone => "is_not_none",
        }
    }
}

fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(items), wanted) => items.iter().any(|item| same_in_python(item, wanted)),
        (Value::Object(map), Value::String(key)) => map.contains_key(key),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(condition: &Condition, field: Value) -> bool {
        condition.holds(&Context::new().set("a.b", field))
    }

    #[test]
    fn equality_is_that_of_python() {
        for (value, wanted, equal) in [
            (json!(1), json!(1.0), true),
            (json!(1), json!(true), true),
            (json!([{"n": 0}]), json!([{"n": -0.0}]), true),
            (json!("1"), json!(1), false),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), false),
        ] {
            assert_eq!(holds(&Condition::equals("a.b", wanted.clone()), value.clone()), equal);
            assert_eq!(holds(&Condition::not_equals("a.b", wanted), value), !equal);
        }
    }

    #[test]
    fn a_missing_field_counts_as_null() {
        let empty = Context::new();
        assert!(Condition::is_none("a.b").holds(&empty));
        assert!(Condition::equals("a.b", Value::Null).holds(&empty));
        assert!(Condition::not_equals("a.b", 1).holds(&empty));
        assert!(!Condition::is_not_none("a.b").holds(&empty));
        assert!(!Condition::greater_than("a.b", -1).holds(&empty));
        assert!(!Condition::less_than("a.b", 1).holds(&empty));
        assert!(!Condition::contains("a.b", Value::Null).holds(&empty));
    }

    #[test]
    fn contains_looks_into_text_lists_and_objects() {
        for (value, wanted, is_in) in [
            (json!("roof is hot"), json!("hot"), true),
            (json!([1, 2]), json!(2.0), true),
            (json!([1, 2]), json!(3), false),
            (json!({"roof": 1}), json!("roof"), true),
            (json!({"roof": 1}), json!(1), false),
            (json!(12), json!(1), false),
        ] {
            assert_eq!(holds(&Condition::contains("a.b", wanted), value), is_in);
        }
    }
}
