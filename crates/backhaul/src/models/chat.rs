//! Chat completions.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::{ChatRequest, ChunkStream, LlmError, StreamChunk};
use futures_core::Stream;
use serde_json::Value;

use super::Models;
use super::call::Call;
use super::recording::Recording;
use super::refused::Refused;
use super::signature::Signature;

/// What ends a stream that came to its end.
const DONE: &[u8] = b"data: [DONE]\n\n";

pub(super) async fn answer(State(models): State<Models>, request: Request) -> Response {
    let call = match Call::receive(&models, request).await {
        Ok(call) => call,
        Err(refused) => return refused,
    };
    let is_streamed = call.is_streamed();
    let Call { body, forwarded, .. } = call;
    let request = match ChatRequest::from_json(Value::Object(body)) {
        Ok(request) => request.forwarding(forwarded),
        Err(error) => return Refused::from(error).into_response(),
    };
    let recording = models.record(&request);
    if is_streamed {
        in_pieces(&models, request, recording).await
    } else {
        whole(&models, request, recording).await
    }
}

async fn whole(models: &Models, request: ChatRequest, recording: Recording) -> Response {
    match models.0.client.complete(request).await {
        Ok(answer) => {
            recording.answered(&answer);
            let mut headers = HeaderMap::new();
            let metadata = answer.metadata.clone();
            let signature = Signature(&metadata);
            signature.head(&mut headers);
            let mut body = answer.into_body();
            signature.body(&mut body);
            (headers, Json(body)).into_response()
        }
        Err(error) => {
            recording.failed(&error);
            Refused::from(error).into_response()
        }
    }
}

async fn in_pieces(models: &Models, request: ChatRequest, recording: Recording) -> Response {
    match models.0.client.stream(request).await {
        Ok(stream) => {
            let mut headers = HeaderMap::new();
            Signature(&stream.metadata).head(&mut headers);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            let events = Events { stream, recording: Some(recording), last: Last::None };
            (headers, Body::from_stream(events)).into_response()
        }
        Err(error) => {
            recording.failed(&error);
            Refused::from(error).into_response()
        }
    }
}

/// The pieces as events, and at their end that it is one, or the error.
struct Events {
    stream: ChunkStream,
    /// Until the end.
    recording: Option<Recording>,
    last: Last,
}

#[derive(PartialEq, Eq)]
enum Last {
    None,
    /// The body is to break off, as the answer has.
    Error,
    Done,
}

impl Events {
    fn piece(&mut self, mut chunk: StreamChunk) -> Bytes {
        if let Some(recording) = &mut self.recording {
            recording.add(&chunk);
        }
        if chunk.finish_reason().is_some() {
            Signature(&self.stream.metadata).body(chunk.as_json_mut());
        }
        event(&chunk)
    }

    /// An answer that broke off ends with an error and without `[DONE]`: clients take a stream
    /// that merely ends for one that came to its end.
    fn broken_off(&mut self, error: &LlmError) -> Bytes {
        if let Some(recording) = self.recording.take() {
            recording.broken_off(&self.stream.metadata, error);
        }
        self.last = Last::Error;
        event(&error.to_json())
    }

    fn done(&mut self) -> Bytes {
        if let Some(recording) = self.recording.take() {
            recording.streamed(&self.stream.metadata);
        }
        self.last = Last::Done;
        Bytes::from_static(DONE)
    }
}

/// A client that goes away before the end has the call recorded as far as it came.
impl Drop for Events {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.abandoned(&self.stream.metadata);
        }
    }
}

impl Stream for Events {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.last != Last::None {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.stream).poll_next(context));
        let bytes = match next {
            Some(Ok(chunk)) => self.piece(chunk),
            Some(Err(error)) => self.broken_off(&error),
            None => self.done(),
        };
        Poll::Ready(Some(Ok(bytes)))
    }
}

/// An event of a value.
fn event(value: &impl serde::Serialize) -> Bytes {
    let mut bytes = b"data: ".to_vec();
    // Of maps and texts; nothing in them fails.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}
