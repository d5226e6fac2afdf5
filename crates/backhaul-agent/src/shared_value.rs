//! A JSON value whose parts are shared between versions.
//!
//! A [`SharedValue`] holds what a [`Value`] holds. To clone one costs a reference count,
//! and to change one copies what lies on the way to the change: everything else belongs to
//! the old version and the new one. Numbers keep their text, strings their marks
//! ([`crate::json`]), so that a `Value` comes out as it went in.

use std::sync::Arc;

use serde_json::{Number, Value};

use crate::json::Writer;
use crate::shared_list::SharedList;
use crate::shared_object::SharedObject;
use crate::shared_walk;

/// How many entries a list or object has at most while it is one plain vector.
///
/// Most objects are small, and a vector takes the least memory; to change it copies it
/// whole. Up to here that is no slower than to copy the nodes of a tree, which hold as
/// many.
pub(crate) const SMALL: usize = 32;

#[derive(Clone)]
pub(crate) enum SharedValue {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    List(SharedList),
    Object(SharedObject),
}

/// When two values count as the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Equality {
    /// They are written as the same text.
    Text,
    /// They differ at most in the order of keys.
    Unordered,
    /// They are equal in Python: `1`, `1.0` and `True` too.
    Python,
}

impl SharedValue {
    pub(crate) fn to_value(&self) -> Value {
        shared_walk::to_value(self)
    }

    pub(crate) fn equals(&self, other: &Self, by: Equality) -> bool {
        shared_walk::equals(self, other, by)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        shared_walk::write(self, writer);
    }
}

impl From<Value> for SharedValue {
    fn from(value: Value) -> Self {
        shared_walk::from_value(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn shared(text: &str) -> SharedValue {
        json::from_slice(text.as_bytes()).unwrap().into()
    }

    fn written(value: &SharedValue, mut writer: Writer) -> String {
        value.write(&mut writer);
        String::from_utf8(writer.into_bytes()).unwrap()
    }

    #[test]
    fn comes_out_as_it_went_in() {
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":[{n}]")).collect();
        let list: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        for text in [
            r#"{"b":1e-05,"a":[NaN,-0.0,123456789012345678901234567890,"\ud800",null,true,{}]}"#,
            &format!("{{{}}}", many.join(",")),
            &format!("[{}]", list.join(",")),
        ] {
            let value = json::from_slice(text.as_bytes()).unwrap();
            let shared = SharedValue::from(value.clone());
            assert_eq!(json::to_vec(&shared.to_value(), Default::default()), text.as_bytes());
            for style in [json::Style::Compact, json::Style::Python, json::Style::Pretty] {
                let expected = String::from_utf8(json::to_vec(&value, style)).unwrap();
                assert_eq!(written(&shared, Writer::new(style)), expected);
            }
        }
    }

    #[test]
    fn keys_are_sorted_by_code_point_where_the_writer_sorts() {
        let value = shared(r#"{"\ud83d\ude00":1,"\uffff":{"b":1,"a":-0}}"#);
        assert_eq!(
            written(&value, Writer::sorted()),
            r#"{"\uffff": {"a": 0, "b": 1}, "\ud83d\ude00": 1}"#
        );
    }

    #[test]
    fn each_equality_looks_at_what_it_says() {
        for (left, right, text, unordered, python) in [
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, true, true, true),
            (r#"[{"a":1,"b":2}]"#, r#"[{"b":2,"a":1}]"#, false, true, true),
            (r#"[1,0]"#, r#"[1.0,false]"#, false, false, true),
            (r#"{"a":1}"#, r#"{"b":1}"#, false, false, false),
            ("[1]", "[1,2]", false, false, false),
            ("null", "false", false, false, false),
            ("[]", "{}", false, false, false),
        ] {
            let (left, right) = (shared(left), shared(right));
            assert_eq!(left.equals(&right, Equality::Text), text);
            assert_eq!(left.equals(&right, Equality::Unordered), unordered);
            assert_eq!(left.equals(&right, Equality::Python), python);
        }
    }

    #[test]
    fn deepest_value_that_can_be_read_fits_the_stack_of_a_thread() {
        let depth = json::MAX_DEPTH / 2;
        let text = format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        let value = shared(&text);
        assert!(value.equals(&shared(&text), Equality::Text));
        assert_eq!(written(&value, Writer::new(json::Style::Compact)), text);
        assert_eq!(json::to_vec(&value.to_value(), json::Style::Compact), text.as_bytes());
    }

    #[test]
    fn value_takes_three_words() {
        assert!(size_of::<SharedValue>() <= 3 * size_of::<usize>());
    }
}
