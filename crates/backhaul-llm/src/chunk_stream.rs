//! An answer that comes in pieces.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream;
use serde_json::{Map, Value, json};

use crate::chunk::StreamChunk;
use crate::completion::CompletionResult;
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

    /// A whole answer as if it came in pieces: all that it says, and then why it ended.
    pub(crate) fn of_answer(answer: CompletionResult) -> Self {
        let metadata = answer.metadata.clone();
        let body = answer.into_body();
        let said = piece(&body, |choice| {
            let mut delta = choice.get("message").cloned().unwrap_or_default();
            number_calls(&mut delta);
            (delta, Value::Null)
        });
        let end = piece(&body, |choice| {
            (json!({}), choice.get("finish_reason").cloned().unwrap_or_default())
        });
        let pieces = [said, end].map(StreamChunk::from_json);
        Self::new(stream::iter(pieces), metadata)
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

/// A piece with the facts of an answer and what each choice gives: a delta, and a reason.
fn piece(body: &Map<String, Value>, of_choice: impl Fn(&Value) -> (Value, Value)) -> Value {
    let choices = body.get("choices").and_then(Value::as_array);
    let choices = choices.into_iter().flatten().enumerate().map(|(index, choice)| {
        let (delta, reason) = of_choice(choice);
        json!({ "index": index, "delta": delta, "finish_reason": reason })
    });
    let mut piece = body.clone();
    piece.retain(|name, _| name != "usage");
    piece.insert("object".to_owned(), "chat.completion.chunk".into());
    piece.insert("choices".to_owned(), choices.collect());
    Value::Object(piece)
}

/// In pieces, calls of tools say which they are.
fn number_calls(delta: &mut Value) {
    let calls = delta.get_mut("tool_calls").and_then(Value::as_array_mut);
    for (index, call) in calls.into_iter().flatten().enumerate() {
        if let Value::Object(call) = call {
            call.insert("index".to_owned(), index.into());
        }
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
