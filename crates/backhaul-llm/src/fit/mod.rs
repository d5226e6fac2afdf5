//! Makes a request one that a smaller model can answer.
//!
//! What the model cannot do is taken out or put in another way, then what does not fit into
//! its context, the least needed first. All that was done is said in the answer.

mod changes;
mod downgrade;
mod forced_call;
mod images;
mod shorten;
mod turns;

#[cfg(test)]
mod tests;

use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::client::LlmClient;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::metadata::Metadata;
use crate::request::ChatRequest;

use self::changes::Changes;
use self::forced_call::ForcedCall;

/// Of a context that is smaller than what the answer may take, so much is kept for the answer:
/// one part of so many, and no more tokens than this. What a small model says is short.
const ANSWER_PART: u64 = 4;
const MOST_FOR_ANSWER: u64 = 4_096;

/// A request that a model can answer, and what was done for it.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) request: ChatRequest,
    changes: Changes,
    forced: Option<ForcedCall>,
}

/// Makes a request one that a client's model can answer, within the request's own token budget
/// where it has one.
///
/// # Errors
/// [`LlmErrorKind::ContextLength`](crate::LlmErrorKind::ContextLength) where it cannot be made
/// short enough, and those of the client.
pub(crate) async fn fit(request: &ChatRequest, client: &dyn LlmClient) -> Result<Fitted, LlmError> {
    let capabilities = client.capabilities().await?;
    let (mut request, mut changes) = (request.clone(), Changes::default());
    let forced = downgrade::downgrade(&mut request, capabilities, &mut changes);
    if let Some(room) = Room::of(&request, capabilities) {
        shorten::shorten(&mut request, client, room, &mut changes).await?;
    }
    Ok(Fitted { request, changes, forced })
}

impl Fitted {
    /// An answer as the caller has asked for it.
    pub(crate) fn answer(&self, answer: CompletionResult) -> Result<CompletionResult, LlmError> {
        let mut answer = match &self.forced {
            Some(forced) => forced.answer(answer)?,
            None => answer,
        };
        self.tell(&mut answer.metadata);
        Ok(answer)
    }

    /// The same of one in pieces.
    pub(crate) fn stream(self, mut stream: ChunkStream) -> ChunkStream {
        self.tell(&mut stream.metadata);
        match self.forced {
            Some(forced) => forced.stream(stream),
            None => stream,
        }
    }

    fn tell(&self, metadata: &mut Metadata) {
        metadata.changes.extend(self.changes.notes().iter().cloned());
        metadata.trimmed_tokens += self.changes.trimmed_tokens;
    }
}

/// How many tokens there are for a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    /// Prompt and answer together.
    context: u64,
    prompt: u64,
}

impl Room {
    /// `None`: no limit is known.
    fn of(request: &ChatRequest, capabilities: ModelCapabilities) -> Option<Self> {
        let budget = request.token_budget.as_ref();
        let limits = [capabilities.context_tokens, budget.map(|budget| budget.max_tokens)];
        let context = limits.into_iter().flatten().min()?;
        let wanted = request.most_tokens().or(budget.map(|budget| budget.reserved_for_output));
        let most = (context / ANSWER_PART).min(MOST_FOR_ANSWER);
        let kept = wanted.unwrap_or(most).min(most).max(1);
        Some(Self { context, prompt: context.saturating_sub(kept) })
    }
}
