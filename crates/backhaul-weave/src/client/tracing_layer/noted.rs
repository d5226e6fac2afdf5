//! What is said of a span after it began, which its call ends with.

use tracing::Level;

use super::fields::Fields;
use super::level_name;
use crate::client::exception::Exception;
use crate::client::json_object::JsonObject;
use crate::client::value::Captured;

/// Most events of one span: what a person reads of one call…
const MAX_EVENTS: usize = 128;
/// …and their bytes: Weave's server takes calls of 3.5 MiB.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// What was noted so far; values are JSON.
#[derive(Debug, Default)]
pub(super) struct Noted {
    fields: Vec<(&'static str, String)>,
    returned: Option<String>,
    error: Option<String>,
    events: Vec<String>,
    event_bytes: usize,
    events_left_out: u64,
}

impl Noted {
    /// Fields that were recorded. Of those of one name the last counts.
    pub(super) fn record(&mut self, fields: Fields) {
        for (name, json) in fields.into_iter() {
            if name == "error" && json.starts_with('"') {
                self.error = Some(json);
                continue;
            }
            match self.fields.iter_mut().find(|(one, _)| *one == name) {
                Some((_, value)) => *value = json,
                None => self.fields.push((name, json)),
            }
        }
    }

    /// What `#[instrument(ret, err)]` says.
    pub(super) fn result(&mut self, mut fields: Fields) {
        self.returned = fields.take("return").or(self.returned.take());
        self.error = fields.take("error").or(self.error.take());
    }

    pub(super) fn event(&mut self, time: String, level: Level, mut fields: Fields) {
        let mut event = JsonObject::default();
        event.plain("time", time).plain("level", level_name(level));
        if let Some(message) = fields.take("message") {
            event.raw("message", &message);
        }
        if !fields.is_empty() {
            event.raw("fields", &fields.to_json());
        }
        let event = event.finish();
        let bytes = self.event_bytes + event.len();
        if self.events.len() == MAX_EVENTS || bytes > MAX_EVENT_BYTES {
            self.events_left_out += 1;
            return;
        }
        self.event_bytes = bytes;
        self.events.push(event);
    }

    /// The output and the exception of the call.
    pub(super) fn into_end(mut self) -> (Captured, Option<Exception>) {
        let exception = self.error.take().map(|error| {
            // What was written as a text is read as one.
            Exception::new("Error", serde_json::from_str::<String>(&error).unwrap_or(error))
        });
        let json = match self.fields.is_empty() && self.events.is_empty() {
            true => self.returned.unwrap_or_else(|| "null".to_owned()),
            false => self.into_object(),
        };
        (Captured { json, files: Vec::new() }, exception)
    }

    fn into_object(self) -> String {
        let is_taken = |name: &str| self.fields.iter().any(|(one, _)| *one == name);
        // A field that is called so keeps its name.
        let free = |name: &str| {
            let mut name = name.to_owned();
            while is_taken(&name) {
                name.push('_');
            }
            name
        };
        let mut object = JsonObject::default();
        for (name, json) in &self.fields {
            object.raw(name, json);
        }
        if let Some(returned) = &self.returned {
            object.raw(&free("return"), returned);
        }
        if !self.events.is_empty() {
            object.raw(&free("events"), &format!("[{}]", self.events.join(", ")));
        }
        if self.events_left_out > 0 {
            object.raw(&free("events_left_out"), &self.events_left_out.to_string());
        }
        object.finish()
    }
}
