//! A model that can be asked.

use std::future::Future;
use std::pin::Pin;

use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::completion::CompletionResult;
use crate::error::{LlmError, LlmErrorKind};
use crate::request::ChatRequest;

/// What a client's methods give.
pub type LlmFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LlmError>> + Send + 'a>>;

/// Bytes of a token where no tokenizer is known: on the safe side, of mixed text a token of a
/// large vocabulary has 2.9 on average.
const BYTES_OF_A_TOKEN: u64 = 3;

/// How many tokens a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// So many.
    pub tokens: u64,
    /// Whether the model's own tokenizer has counted, with its template. Else it is an
    /// estimate.
    pub is_exact: bool,
}

impl TokenCount {
    /// An estimate for a request: a third of its bytes as JSON, images left out.
    ///
    /// ```
    /// use backhaul_llm::{ChatRequest, Message, TokenCount};
    /// let count = TokenCount::estimate(&ChatRequest::new(vec![Message::user("Is it warm?")]));
    /// assert!(!count.is_exact && count.tokens >= 10);
    /// ```
    pub fn estimate(request: &ChatRequest) -> Self {
        let bytes = serde_json::to_vec(&request.to_json()).map_or(0, |json| json.len() as u64);
        Self { tokens: bytes.div_ceil(BYTES_OF_A_TOKEN), is_exact: false }
    }
}

/// A model that can be asked: one of a cloud, one of a server on this machine, one in this
/// process.
pub trait LlmClient: Send + Sync {
    /// What it is called in reports, such as `api.openai.com`.
    fn name(&self) -> &str;

    /// Has it answer as a whole.
    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult>;

    /// Has it answer in pieces. The future is ready when the answer begins, with or without a
    /// first piece.
    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream>;

    /// How many tokens a request is, by the model's own tokenizer where that can be asked.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        Box::pin(async { Ok(TokenCount::estimate(request)) })
    }

    /// What it can do.
    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities>;

    /// Finds out whether it can be asked, at no cost. By default it is not known
    /// ([`LlmErrorKind::Unsupported`]).
    fn probe(&self) -> LlmFuture<'_, ()> {
        Box::pin(async {
            Err(LlmError::new(LlmErrorKind::Unsupported, "this client can only be asked"))
        })
    }
}
