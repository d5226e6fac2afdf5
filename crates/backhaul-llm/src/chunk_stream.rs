//! An answer that comes in pieces.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::chunk::StreamChunk;
use crate::error::LlmError;
use crate::metadata::Metadata;

type Chunks = Pin<Box<dyn Stream<Item = Result<StreamChunk, LlmError>> + Send>>;

/// An answer that comes in pieces, and who gives it. It ends after an error. One that ends
/// without an error came to its end: the model said why it stopped.
///
/// Dropping it breaks the request off.
pub struct ChunkStream {
    chunks: Chunks,
    /// Who answers, why, and what it took so far.
    pub metadata: Metadata,
}

impl ChunkStream {
    /// A stream of pieces.
    pub fn new(
        chunks: impl Stream<Item = Result<StreamChunk, LlmError>> + Send + 'static,
        metadata: Metadata,
    ) -> Self {
        Self { chunks: Box::pin(chunks), metadata }
    }

    /// The next piece. `None`: the answer has come to its end.
    pub async fn next(&mut self) -> Option<Result<StreamChunk, LlmError>> {
        std::future::poll_fn(|context| self.chunks.as_mut().poll_next(context)).await
    }
}

impl Stream for ChunkStream {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamChunk, LlmError>>> {
        self.chunks.as_mut().poll_next(context)
    }
}

impl fmt::Debug for ChunkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkStream").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}
