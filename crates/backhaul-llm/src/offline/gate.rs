//! The commit gate: nothing of a streamed answer is passed on before the model has said
//! something. Until then another model can be asked in its place, and nobody notices.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::chunk::StreamChunk;
use crate::chunk_stream::ChunkStream;
use crate::error::{LlmError, LlmErrorKind};

/// The most pieces without a word that are kept back. What goes on longer says something in a
/// way that is not known here.
const MOST_PIECES: usize = 64;

/// Waits for the first piece with something in it.
///
/// # Errors
/// Those of the stream before it, and [`LlmErrorKind::BrokenOff`] where there is none.
pub(super) async fn gate(mut stream: ChunkStream) -> Result<ChunkStream, LlmError> {
    let mut held = VecDeque::new();
    loop {
        let Some(chunk) = stream.next().await.transpose()? else {
            let message = "the answer came to its end before the model had said anything";
            return Err(LlmError::new(LlmErrorKind::BrokenOff, message));
        };
        let is_meaningful = chunk.is_meaningful();
        held.push_back(chunk);
        if is_meaningful || held.len() >= MOST_PIECES {
            let metadata = std::mem::take(&mut stream.metadata);
            return Ok(ChunkStream::new(Gated { held, rest: stream }, metadata));
        }
    }
}

/// What was held back, and then the rest.
struct Gated {
    held: VecDeque<StreamChunk>,
    rest: ChunkStream,
}

impl Stream for Gated {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamChunk, LlmError>>> {
        match self.held.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None => Pin::new(&mut self.rest).poll_next(context),
        }
    }
}
