//! How many tokens a call took.

use serde_json::{Map, Value};

/// How many tokens a call took, by the model's own count. All 0 where it did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that went in.
    pub prompt_tokens: u64,
    /// Tokens that came out.
    pub completion_tokens: u64,
}

impl Usage {
    /// Both.
    pub fn total_tokens(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Reads the `usage` of an answer or of a last chunk. `None`: it has none.
    pub fn of(body: &Map<String, Value>) -> Option<Self> {
        let usage = body.get("usage")?.as_object()?;
        let tokens = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (prompt_tokens, completion_tokens) =
            (tokens("prompt_tokens"), tokens("completion_tokens"));
        Some(Self { prompt_tokens, completion_tokens })
    }
}
