//! What the owner of a model tells of an answer.

use serde_json::{Value, json};

use crate::finish_reason::FinishReason;

/// What the owner of a model tells of an answer.
#[derive(Debug)]
pub(super) enum Event {
    /// The model said this.
    Text(String),
    /// It has stopped.
    End(End),
}

/// How an answer ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: FinishReason,
    pub(super) prompt_tokens: usize,
    /// Those of the prompt that had not to be computed.
    pub(super) cached_tokens: usize,
    pub(super) completion_tokens: usize,
}

impl End {
    /// The `usage` of an answer.
    pub(super) fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": { "cached_tokens": self.cached_tokens },
        })
    }
}
