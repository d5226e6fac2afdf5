//! Makes a request one that a smaller model can answer.
//!
//! What the model cannot do is taken out or put in another way, then what does not fit into
//! its context, the least needed first. All that was done is said in the answer.

mod call_stream;
mod changes;
mod descriptions;
mod downgrade;
mod forced_call;
mod images;
mod instructions;
mod past_calls;
mod phrasing;
mod results;
mod room;
mod shortening;
mod turns;

#[cfg(test)]
mod tests;

use crate::chunk_stream::ChunkStream;
use crate::client::LlmClient;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::metadata::Metadata;
use crate::request::ChatRequest;

use self::changes::Changes;
use self::phrasing::Phrasing;
use self::room::Room;
use self::shortening::Shortening;

/// A request that a model can answer, and what was done for it.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) request: ChatRequest,
    changes: Changes,
    phrasing: Phrasing,
}

/// Makes a request one that a client's model can answer, within the request's own token budget
/// where it has one. The same request and the same model give the same; one that fits stays as
/// it is, and where no limit is known nothing is counted.
///
/// # Errors
/// [`LlmErrorKind::ContextLength`](crate::LlmErrorKind::ContextLength) where it cannot be made
/// short enough, and those of the client.
pub(crate) async fn fit(request: &ChatRequest, client: &dyn LlmClient) -> Result<Fitted, LlmError> {
    let capabilities = client.capabilities().await?;
    let (mut request, mut changes) = (request.clone(), Changes::default());
    let phrasing = downgrade::downgrade(&mut request, capabilities, &mut changes);
    if let Some(room) = Room::of(&request, capabilities) {
        let shortening = Shortening::new(request, client, &phrasing, room, &mut changes).await?;
        request = shortening.run().await?;
    }
    let request = phrasing.put(&request);
    Ok(Fitted { request, changes, phrasing })
}

impl Fitted {
    /// An answer as the caller has asked for it.
    pub(crate) fn answer(&self, answer: CompletionResult) -> Result<CompletionResult, LlmError> {
        let mut answer = match &self.phrasing.forced {
            Some(forced) => forced.answer(answer)?,
            None => answer,
        };
        self.tell(&mut answer.metadata);
        Ok(answer)
    }

    /// The same of one in pieces.
    pub(crate) fn stream(self, mut stream: ChunkStream) -> ChunkStream {
        self.tell(&mut stream.metadata);
        match self.phrasing.forced {
            Some(forced) => forced.stream(stream),
            None => stream,
        }
    }

    fn tell(&self, metadata: &mut Metadata) {
        metadata.changes.extend(self.changes.notes().iter().cloned());
        metadata.trimmed_tokens += self.changes.trimmed_tokens;
    }
}
