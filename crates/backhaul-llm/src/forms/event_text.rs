//! Events as they go out (`text/event-stream`).

use serde::Serialize;
use serde_json::Value;

/// Events as they go out, one after the other.
///
/// ```
/// use backhaul_llm::EventText;
/// use serde_json::json;
/// let mut events = EventText::default();
/// events.named("ping", &json!({ "type": "ping" }));
/// events.data(&json!({ "n": 1 }));
/// events.done();
/// assert_eq!(
///     events.as_str(),
///     "event: ping\ndata: {\"type\":\"ping\"}\n\ndata: {\"n\":1}\n\ndata: [DONE]\n\n",
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventText(String);

impl EventText {
    /// Adds an event with a name, which is one line.
    pub fn named(&mut self, name: &str, data: &impl Serialize) {
        self.0.push_str("event: ");
        self.0.push_str(name);
        self.0.push('\n');
        self.data(data);
    }

    /// Adds an event of the type that its data names.
    pub fn typed(&mut self, data: &Value) {
        self.named(data.get("type").and_then(Value::as_str).unwrap_or("message"), data);
    }

    /// Adds an event without a name.
    pub fn data(&mut self, data: &impl Serialize) {
        // JSON has no line breaks outside of its texts, and none in them that is not escaped.
        self.line(&serde_json::to_string(data).unwrap_or_default());
    }

    /// Adds what ends an answer that came to its end, in the forms that have it.
    pub fn done(&mut self) {
        self.line("[DONE]");
    }

    fn line(&mut self, data: &str) {
        self.0.push_str("data: ");
        self.0.push_str(data);
        self.0.push_str("\n\n");
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, without a copy.
    pub fn into_string(self) -> String {
        self.0
    }
}
