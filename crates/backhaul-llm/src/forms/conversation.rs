//! The messages of a chat, as another form has them.

use serde_json::{Map, Value, json};

use crate::content::{Content, Part};
use crate::error::{LlmError, LlmErrorKind};
use crate::message::{Message, Role};

/// The messages of a chat while they are translated, and what chat has no place for.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) messages: Vec<Message>,
    pub(super) left_out: Vec<String>,
}

impl Conversation {
    /// Says that something is left out; once.
    pub(super) fn leave_out(&mut self, what: String) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    /// A part that chat has no place for: the model is told that there was one.
    pub(super) fn placeholder(&mut self, what: &str) -> Part {
        self.leave_out(what.to_owned());
        Part::text(format!("[{what} was left out: this model cannot be given it]"))
    }

    pub(super) fn say(&mut self, role: &str, parts: Vec<Part>) {
        let message = Message::user(content_of(parts)).with("role", role.into());
        self.messages.push(message);
    }

    /// What the model said. All of one turn is one message, as chat has it.
    pub(super) fn assistant(&mut self, text: &str) {
        if let Some(content) = self.turn().entry("content").or_insert_with(|| "".into()).as_str() {
            let content = format!("{content}{text}");
            self.turn().insert("content".to_owned(), content.into());
        }
    }

    /// A tool that the model called; the arguments are JSON in a text.
    pub(super) fn call(&mut self, id: &str, name: &str, arguments: &str) {
        let call = json!({ "id": id, "type": "function", "function": {
            "name": name, "arguments": arguments,
        }});
        let calls = self.turn().entry("tool_calls").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(calls) = calls {
            calls.push(call);
        }
    }

    pub(super) fn tool_result(&mut self, id: &str, parts: Vec<Part>) {
        self.messages.push(Message::tool_result(id, content_of(parts)));
    }

    /// The model's turn: the last message, or a new one.
    fn turn(&mut self) -> &mut Map<String, Value> {
        let message = match self.messages.pop() {
            Some(last) if last.role() == Role::Assistant => last,
            other => {
                self.messages.extend(other);
                Message::assistant("")
            }
        };
        self.messages.push_mut(message).as_json_mut()
    }
}

fn content_of(mut parts: Vec<Part>) -> Content {
    match parts.pop() {
        None => "".into(),
        Some(Part(only)) if parts.is_empty() && only.get("type") == Some(&"text".into()) => {
            only.get("text").and_then(Value::as_str).unwrap_or_default().into()
        }
        Some(last) => {
            parts.push(last);
            parts.into()
        }
    }
}

/// A text of an object; empty where there is none.
pub(super) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Takes a field out of a request; `null` is none.
pub(super) fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

/// A function that the model may call. What is null is left out.
pub(super) fn function(tool: &Value, parameters: &str) -> Value {
    let fields = [
        ("name", "name"),
        ("description", "description"),
        (parameters, "parameters"),
        ("strict", "strict"),
    ];
    let function: Map<_, _> = fields
        .into_iter()
        .filter_map(|(from, to)| Some((to.to_owned(), tool.get(from)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    json!({ "type": "function", "function": function })
}

/// Something in a request that is not as expected.
pub(super) fn invalid(message: impl Into<String>) -> LlmError {
    LlmError::new(LlmErrorKind::Invalid, message)
}

/// Something in a request that cannot be done here, as OpenAI's clients read it.
pub(super) fn refused(field: &str, code: &str, message: String) -> LlmError {
    let body = json!({
        "message": message, "type": "invalid_request_error", "param": field, "code": code,
    });
    let Value::Object(body) = body else { return invalid(message) };
    invalid(message).with_body(body)
}
