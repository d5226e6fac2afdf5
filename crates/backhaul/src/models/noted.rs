//! A chat's answer in pieces, which is kept and signed as it goes by.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use backhaul_llm::{ChunkStream, LlmError, StreamChunk};
use futures_core::Stream;

use super::recording::Recording;
use super::signature::Signature;

/// The pieces of an answer. The one with which the model stops says who has answered.
pub(super) struct Noted {
    stream: ChunkStream,
    /// Until the end.
    recording: Option<Recording>,
}

impl Noted {
    pub(super) fn new(stream: ChunkStream, recording: Recording) -> Self {
        Self { stream, recording: Some(recording) }
    }

    fn piece(&mut self, chunk: &mut StreamChunk) {
        if let Some(recording) = &mut self.recording {
            recording.add(chunk);
        }
        if chunk.finish_reason().is_some() {
            Signature(&self.stream.metadata).body(chunk.as_json_mut());
        }
    }
}

impl Stream for Noted {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut next = ready!(Pin::new(&mut self.stream).poll_next(context));
        match &mut next {
            Some(Ok(chunk)) => self.piece(chunk),
            Some(Err(error)) => {
                if let Some(recording) = self.recording.take() {
                    recording.broken_off(&self.stream.metadata, error);
                }
            }
            None => {
                if let Some(recording) = self.recording.take() {
                    recording.ended(&self.stream.metadata);
                }
            }
        }
        Poll::Ready(next)
    }
}

/// A caller who goes away before the end has the call kept as far as it came.
impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.abandoned(&self.stream.metadata);
        }
    }
}
