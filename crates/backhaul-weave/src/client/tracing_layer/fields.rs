//! Fields of spans and events, as JSON.

use std::error::Error;
use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};

use crate::client::exception::Exception;
use crate::client::json_object::JsonObject;
use crate::client::value::Captured;

/// Names and values, the values as JSON.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(super) fn into_iter(self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.into_iter()
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(one, _)| *one == name)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in one object.
    pub(super) fn to_json(&self) -> String {
        let mut object = JsonObject::default();
        for (name, json) in &self.0 {
            object.raw(name, json);
        }
        object.finish()
    }

    fn add(&mut self, field: &Field, value: Captured) {
        self.0.push((field.name(), value.json));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Captured::of(&value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Captured::of(&value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Captured::of(&value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Captured::of(&value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Captured::of(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, Captured::of_debug(&WithCauses(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Captured::of_debug(value));
    }
}

/// Shows what an error says, with all that caused it.
struct WithCauses<'a>(&'a (dyn Error + 'static));

impl Debug for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Exception::of_error(self.0).message())
    }
}
