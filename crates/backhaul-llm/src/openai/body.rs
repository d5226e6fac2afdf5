//! What goes to a server.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::error::{LlmError, LlmErrorKind};
use crate::request::ChatRequest;

/// A request as it is sent, without a copy of what is in it.
pub(super) struct ChatBody<'a> {
    pub(super) request: &'a ChatRequest,
    /// In place of the request's own. None: no model is named.
    pub(super) model: Option<&'a str>,
    /// In place of the request's own `stream`. None: it stays.
    pub(super) in_pieces: Option<bool>,
}

impl ChatBody<'_> {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, LlmError> {
        serde_json::to_vec(self).map_err(|error| {
            LlmError::new(LlmErrorKind::Invalid, format!("the request is no JSON: {error}"))
        })
    }

    /// Whether a field goes out as it is.
    fn passes(&self, name: &str) -> bool {
        match name {
            "model" => false,
            "stream" => self.in_pieces.is_none(),
            // It is an error where no pieces are asked for.
            "stream_options" => self.in_pieces != Some(false),
            _ => true,
        }
    }
}

impl Serialize for ChatBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_map(None)?;
        if let Some(model) = self.model {
            all.serialize_entry("model", model)?;
        }
        all.serialize_entry("messages", &self.request.messages)?;
        if self.in_pieces == Some(true) {
            all.serialize_entry("stream", &true)?;
        }
        for (name, value) in self.request.fields.iter().filter(|(name, _)| self.passes(name)) {
            all.serialize_entry(name, value)?;
        }
        all.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sent(request: Value, model: Option<&str>, in_pieces: Option<bool>) -> Value {
        let request = ChatRequest::from_json(request).unwrap();
        let body = ChatBody { request: &request, model, in_pieces }.to_bytes().unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn all_fields_pass_but_the_model_and_the_form_of_the_answer() {
        let messages = json!([{ "role": "user", "content": "?", "own": 1 }]);
        let request = json!({
            "model": "theirs", "messages": messages, "max_completion_tokens": 5, "x": [1.50],
            "stream": true, "stream_options": { "include_usage": true },
        });
        assert_eq!(
            sent(request.clone(), Some("own"), Some(false)),
            json!({ "model": "own", "messages": messages, "max_completion_tokens": 5, "x": [1.50] })
        );
        assert_eq!(sent(request.clone(), Some("theirs"), Some(true)), request);
        let bare = json!({ "messages": messages });
        assert_eq!(sent(bare.clone(), None, Some(false)), bare);
        assert_eq!(sent(bare, None, Some(true))["stream"], json!(true));
    }
}
