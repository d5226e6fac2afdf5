//! One of the models, as it is asked for one call.

use std::fmt;
use std::sync::Arc;

use super::gate::gate;
use super::member::Member;
use super::options::OfflineLlmOptions;
use super::watched::Watched;
use crate::chunk_stream::ChunkStream;
use crate::client::LlmClient;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::fit::{Fitted, fit};
use crate::metadata::Source;
use crate::request::{ChatRequest, Forwarded};

/// One of the models of an [`OfflineLlmClient`](crate::OfflineLlmClient), as it is asked for
/// one call.
#[derive(Clone)]
pub struct Asked {
    pub(super) member: Arc<Member>,
    pub(super) place: usize,
    pub(super) options: Arc<OfflineLlmOptions>,
}

impl Asked {
    /// The primary or a fallback.
    pub fn source(&self) -> Source {
        self.member.source()
    }

    /// The how manieth it is: 0 is the primary.
    pub fn place(&self) -> usize {
        self.place
    }

    /// The model itself.
    pub fn client(&self) -> &dyn LlmClient {
        &**self.member.client()
    }

    /// Has it answer as a whole: a fallback when it is its turn, and what fits it.
    ///
    /// # Errors
    /// Its own, and [`LlmErrorKind::ContextLength`](crate::LlmErrorKind::ContextLength) where
    /// the request cannot be made to fit a fallback.
    pub async fn complete(&self, request: &ChatRequest) -> Result<CompletionResult, LlmError> {
        let _slot = self.member.slot().await?;
        if self.member.is_primary() {
            return self.client().complete(request).await;
        }
        let fitted = self.fitted(request).await?;
        fitted.answer(self.client().complete(&fitted.request).await?)
    }

    /// The same in pieces, of which the first says something.
    ///
    /// # Errors
    /// As [`complete`](Self::complete), until then.
    pub async fn stream(&self, request: &ChatRequest) -> Result<ChunkStream, LlmError> {
        let slot = self.member.slot().await?;
        let stream = if self.member.is_primary() {
            self.client().stream(request).await?
        } else {
            let fitted = self.fitted(request).await?;
            let stream = self.client().stream(&fitted.request).await?;
            fitted.stream(stream)
        };
        let mut stream = gate(stream).await?;
        let metadata = std::mem::take(&mut stream.metadata);
        let watched = Watched { stream, asked: self.clone(), slot };
        Ok(ChunkStream::new(watched, metadata))
    }

    /// Tells that an answer which had begun ended so.
    pub fn note_failure(&self, error: &LlmError) {
        self.member.opened_by(error, &self.options);
    }

    /// The request as a fallback can answer it, without what is the primary's.
    async fn fitted(&self, request: &ChatRequest) -> Result<Fitted, LlmError> {
        let ratio = self.options.fallback_budget_ratio;
        let token_budget = request.token_budget.as_ref().map(|budget| budget.scaled(ratio));
        let forwarded = Forwarded::default();
        let request = ChatRequest { token_budget, forwarded, ..request.clone() };
        fit(&request, self.client()).await
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.member.client().name()).finish()
    }
}
