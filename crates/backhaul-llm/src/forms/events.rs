//! A streamed answer in the form that was asked for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::event_text::EventText;
use crate::chunk::StreamChunk;
use crate::chunk_stream::ChunkStream;
use crate::error::{LlmError, LlmErrorKind};

/// Writes an answer in one form, as it comes.
pub(super) trait EventWriter: Send {
    /// Takes the next piece.
    fn chunk(&mut self, chunk: &StreamChunk, out: &mut EventText) -> Result<(), LlmError>;

    /// The answer has come to its end.
    fn end(&mut self, out: &mut EventText) -> Result<(), LlmError>;

    /// The answer broke off.
    fn fail(&mut self, error: &LlmError, out: &mut EventText);
}

/// A streamed answer in the form that was asked for: the body of an answer of
/// `text/event-stream`. One that fails, or ends before the model has said why it stopped, ends
/// with an error in that form and never as if it were whole.
pub struct FormEvents {
    chunks: ChunkStream,
    writer: Box<dyn EventWriter>,
    has_stopped: bool,
    is_over: bool,
}

impl FormEvents {
    pub(super) fn new(chunks: ChunkStream, writer: Box<dyn EventWriter>) -> Self {
        Self { chunks, writer, has_stopped: false, is_over: false }
    }

    /// The next events. `None`: that was all.
    pub async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn take(&mut self, chunk: Option<Result<StreamChunk, LlmError>>) -> EventText {
        let mut out = EventText::default();
        let taken = match chunk {
            Some(Ok(chunk)) => {
                self.has_stopped |= chunk.finish_reason().is_some();
                self.writer.chunk(&chunk, &mut out)
            }
            Some(Err(error)) => Err(error),
            None => self.end(&mut out),
        };
        if let Err(error) = taken {
            self.is_over = true;
            self.writer.fail(&error, &mut out);
        }
        out
    }

    fn end(&mut self, out: &mut EventText) -> Result<(), LlmError> {
        self.is_over = true;
        if self.has_stopped {
            return self.writer.end(out);
        }
        let message = "the answer ended before the model had said why it stopped";
        Err(LlmError::new(LlmErrorKind::BrokenOff, message))
    }
}

impl Stream for FormEvents {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.is_over {
            let chunk = ready!(Pin::new(&mut self.chunks).poll_next(context));
            let events = self.take(chunk);
            if !events.is_empty() {
                return Poll::Ready(Some(Bytes::from(events.into_string())));
            }
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for FormEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormEvents").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}
