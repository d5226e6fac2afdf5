//! The rest of a streamed answer, after its first word.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::member::Member;
use super::options::OfflineLlmOptions;
use super::probing;
use super::slots::Slot;
use crate::chunk::StreamChunk;
use crate::chunk_stream::ChunkStream;
use crate::error::LlmError;

/// A stream that keeps the model's place until it ends, and tells how it ended.
pub(super) struct Watched {
    pub(super) stream: ChunkStream,
    pub(super) member: Arc<Member>,
    pub(super) options: OfflineLlmOptions,
    pub(super) slot: Option<Slot>,
}

impl Stream for Watched {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamChunk, LlmError>>> {
        let polled = Pin::new(&mut self.stream).poll_next(context);
        match &polled {
            Poll::Ready(Some(Err(error))) => {
                self.slot = None;
                if let Some(times) = self.member.breaker.note_failure(error) {
                    probing::begin(&self.member, &self.options, times);
                }
            }
            Poll::Ready(None) => self.slot = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }
}
