//! A streamed answer, before anything happens to it.

use serde_json::Value;

/// The events of a stream as they are on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// What comes before the first token: the role, for instance.
    pub(super) opening: Vec<String>,
    /// One event for each token.
    pub(super) tokens: Vec<String>,
    /// Why it ends, and what else is said then.
    pub(super) finish: Vec<String>,
    /// What says that nothing follows.
    pub(super) done: Vec<String>,
    /// An error, in this form.
    pub(super) error: String,
}

/// An event without a name, as OpenAI's chat has them.
pub(super) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// An event that bears the name which its data has as `type`.
pub(super) fn named(value: &Value) -> String {
    let name = value["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {value}\n\n")
}
