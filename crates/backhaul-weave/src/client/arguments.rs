//! What a call is given, as its op tells it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value};

use super::json_object::JsonObject;
use super::recorder::Said;
use super::value::{Captured, REDACTED};

/// Most characters of what is shown in the place of an op's name, as at Weave's server.
pub(crate) const LONGEST_DISPLAY_NAME: usize = 1024;

/// The arguments of a call that begins, and what else is said of it.
#[derive(Debug, Default)]
pub struct Arguments {
    inputs: JsonObject,
    files: Vec<super::content::Content>,
    attributes: Map<String, Value>,
    display_name: Option<String>,
}

impl Arguments {
    /// An input.
    pub fn add(&mut self, name: &str, value: Captured) {
        self.inputs.raw(name, &value.json);
        self.files.extend(value.files);
    }

    /// An input whose value is hidden.
    pub fn redacted(&mut self, name: &str) {
        self.inputs.raw(name, REDACTED);
    }

    /// An attribute.
    pub fn attribute(&mut self, name: &str, value: Captured) {
        let value = serde_json::from_str(&value.json).unwrap_or(Value::Null);
        self.attributes.insert(name.to_owned(), value);
    }

    /// What is shown in the place of the op's name: of it, as much as a server takes.
    pub fn display_name(&mut self, name: impl Into<String>) {
        let mut name: String = name.into();
        if let Some((end, _)) = name.char_indices().nth(LONGEST_DISPLAY_NAME) {
            name.truncate(end);
        }
        self.display_name = Some(name);
    }

    pub(crate) fn into_said(self) -> Said {
        Said {
            inputs: Captured { json: self.inputs.finish(), files: self.files },
            attributes: self.attributes,
            display_name: self.display_name,
        }
    }
}

/// What `fill` tells. It shows the program's own values, which may panic: what was told before
/// counts then.
pub(crate) fn filled(fill: impl FnOnce(&mut Arguments)) -> Said {
    let mut arguments = Arguments::default();
    let _ = catch_unwind(AssertUnwindSafe(|| fill(&mut arguments)));
    arguments.into_said()
}
