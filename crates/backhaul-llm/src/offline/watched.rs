//! The rest of a streamed answer, after its first word.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::asked::Asked;
use super::slots::Slot;
use crate::chunk::StreamChunk;
use crate::chunk_stream::ChunkStream;
use crate::error::LlmError;

/// A stream that keeps the model's place until it ends, and tells how it ended.
pub(super) struct Watched {
    pub(super) stream: ChunkStream,
    pub(super) asked: Asked,
    pub(super) slot: Option<Slot>,
}

impl Stream for Watched {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamChunk, LlmError>>> {
        let polled = Pin::new(&mut self.stream).poll_next(context);
        if let Poll::Ready(Some(Err(error))) = &polled {
            self.asked.note_failure(error);
        }
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            self.slot = None;
        }
        polled
    }
}
