//! An answer that comes in pieces.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream;

use crate::chunk::StreamChunk;
use crate::error::LlmError;
use crate::metadata::Metadata;

type Chunks = Pin<Box<dyn Stream<Item = Result<StreamChunk, LlmError>> + Send>>;

/// Where the pieces of an answer come from.
pub(crate) trait Pieces: Sized + Send + 'static {
    /// The next piece, and where those after it come from. `None`: that was all.
    fn next(self) -> impl Future<Output = Result<Option<(StreamChunk, Self)>, LlmError>> + Send;
}

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

    /// The pieces as they come from their source.
    pub(crate) fn of_pieces(pieces: impl Pieces, metadata: Metadata) -> Self {
        Self::new(stream::try_unfold(pieces, Pieces::next), metadata)
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
