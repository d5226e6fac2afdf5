//! JSON objects, of which what nobody reads is kept to the character.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::answers::bad;
use crate::intake::Refusal;

/// The fields of an object in their order, values as they were written. Of two of one name
/// the last counts, as in Python.
pub(super) struct Fields<'a> {
    text: &'a str,
    /// Where in the request it stands, for messages.
    place: String,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    /// As it was written, with its quotes.
    written: &'a str,
    name: Cow<'a, str>,
    value: &'a RawValue,
}

impl<'a> Field<'a> {
    fn new(written: &'a RawValue, value: &'a RawValue) -> Self {
        let written = written.get();
        let name = match written.contains('\\') {
            true => Cow::Owned(unescaped(written)),
            false => Cow::Borrowed(written.trim_matches('"')),
        };
        Self { written, name, value }
    }
}

impl<'a> Fields<'a> {
    /// # Errors
    /// 422 where the text is no object.
    pub(super) fn read(text: &'a str, place: impl Into<String>) -> Result<Self, Refusal> {
        let place = place.into();
        match serde_json::from_str(text) {
            Ok(Object(fields)) => Ok(Self { text, place, fields }),
            Err(_) => Err(bad(format!("{place}: expected an object, found {}", shown(text)))),
        }
    }

    /// As it was written.
    pub(super) fn as_text(&self) -> &'a str {
        self.text
    }

    /// A field that is there and is not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let field = self.fields.iter().rev().find(|field| field.name == name);
        field.map(|field| field.value.get()).filter(|value| *value != "null")
    }

    /// # Errors
    /// 422 where the field is missing.
    pub(super) fn require(&self, name: &str, expected: &str) -> Result<&'a str, Refusal> {
        self.get(name)
            .ok_or_else(|| bad(format!("{} is missing: expected {expected}", self.at(name))))
    }

    /// # Errors
    /// 422 where the field is there and is no text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        let read = |value: &str| {
            serde_json::from_str(value).map_err(|_| {
                bad(format!("{}: expected a text, found {}", self.at(name), shown(value)))
            })
        };
        self.get(name).map(read).transpose()
    }

    /// # Errors
    /// 422 where the field is missing or is no text.
    pub(super) fn require_text(&self, name: &str, expected: &str) -> Result<String, Refusal> {
        self.require(name, expected)?;
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// The object in a field.
    ///
    /// # Errors
    /// 422 where there is none.
    pub(super) fn object(&self, name: &str) -> Result<Fields<'a>, Refusal> {
        Fields::read(self.require(name, "an object")?, self.at(name))
    }

    /// The objects of the list in a field.
    ///
    /// # Errors
    /// 422 where there is no list, or it holds something else.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, Refusal> {
        let list = self.list(name)?.into_iter().enumerate();
        list.map(|(index, item)| Fields::read(item.get(), format!("{}[{index}]", self.at(name))))
            .collect()
    }

    /// The items of the list in a field.
    ///
    /// # Errors
    /// 422 where there is no list.
    pub(super) fn list(&self, name: &str) -> Result<Vec<&'a RawValue>, Refusal> {
        let list = self.require(name, "a list")?;
        serde_json::from_str(list)
            .map_err(|_| bad(format!("{}: expected a list, found {}", self.at(name), shown(list))))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_ref())
    }

    /// The object with other texts in some fields, which come last where they are new.
    pub(super) fn with(&self, texts: &[(&str, &str)]) -> String {
        let is_replaced = |name: &str| texts.iter().any(|(other, _)| *other == name);
        let kept = self.fields.iter().filter(|field| !is_replaced(&field.name));
        let kept = kept.map(|field| format!("{}: {}", field.written, field.value.get()));
        let new = texts.iter().map(|(name, text)| format!("{}: {}", quoted(name), quoted(text)));
        format!("{{{}}}", kept.chain(new).collect::<Vec<_>>().join(", "))
    }

    fn at(&self, name: &str) -> String {
        match self.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        }
    }
}

/// A name that has escapes in it, of what is no text (`\ud800`) too.
fn unescaped(written: &str) -> String {
    let read = backhaul_json::from_slice(written.as_bytes()).ok();
    read.and_then(|name| name.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The beginning of a value, for messages.
fn shown(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

struct Object<'a>(Vec<Field<'a>>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    fields.push(Field::new(name, value));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_kept_to_the_character() {
        let text = r#"{"a" : 1.0e2, "b": [ 1,2 ], "\u0061": "\u00e9", "id": null, "\ud800": 0}"#;
        let fields = Fields::read(text, "").unwrap();
        assert_eq!(fields.as_text(), text);
        assert_eq!(fields.text("a").unwrap().as_deref(), Some("é"));
        assert_eq!((fields.get("b"), fields.get("id")), (Some("[ 1,2 ]"), None));
        assert_eq!(
            fields.with(&[("id", "x\"y"), ("new", "z")]),
            r#"{"a": 1.0e2, "b": [ 1,2 ], "\u0061": "\u00e9", "\ud800": 0, "id": "x\"y", "new": "z"}"#
        );
    }

    #[test]
    fn a_refusal_says_where_and_what() {
        let said = |text: &str, ask: fn(&Fields<'_>) -> Option<Refusal>| {
            ask(&Fields::read(text, "batch[3]").unwrap()).unwrap().reason
        };
        assert_eq!(
            said("{}", |fields| fields.require_text("id", "a UUID").err()),
            "batch[3].id is missing: expected a UUID"
        );
        assert_eq!(
            said(r#"{"id": [7]}"#, |fields| fields.text("id").err()),
            "batch[3].id: expected a text, found [7]"
        );
        assert_eq!(
            said(r#"{"a": [{}, 7]}"#, |fields| fields.objects("a").err()),
            "batch[3].a[1]: expected an object, found 7"
        );
        assert_eq!(
            said(r#"{"a": {}}"#, |fields| fields.list("a").err()),
            "batch[3].a: expected a list, found {}"
        );
        assert_eq!(
            Fields::read("\"x\"", "the body").err().unwrap().reason,
            "the body: expected an object, found \"x\""
        );
    }
}
