//! How many tokens there are for a prompt.

use crate::capabilities::ModelCapabilities;
use crate::request::ChatRequest;

/// Of a context that is smaller than what the answer may take, so much is kept for the answer:
/// one part of so many, and no more tokens than this. What a small model says is short.
const ANSWER_PART: u64 = 4;
const MOST_FOR_ANSWER: u64 = 4_096;

/// How many tokens there are for a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Prompt and answer together.
    pub(super) context: u64,
    pub(super) prompt: u64,
}

impl Room {
    /// `None`: no limit is known.
    pub(super) fn of(request: &ChatRequest, capabilities: ModelCapabilities) -> Option<Self> {
        let budget = request.token_budget.as_ref();
        let limits = [capabilities.context_tokens, budget.map(|budget| budget.max_tokens)];
        let context = limits.into_iter().flatten().min()?;
        let wanted = request.most_tokens().or(budget.map(|budget| budget.reserved_for_output));
        let most = (context / ANSWER_PART).min(MOST_FOR_ANSWER);
        let kept = wanted.unwrap_or(most).min(most).max(1);
        Some(Self { context, prompt: context.saturating_sub(kept) })
    }
}
