//! Calls in any of the forms of a chat.
//!
//! The primary gets what came, where its server speaks the form; a fallback gets it as a chat,
//! and its answer goes back in the form that was asked for.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::{
    Answer, Asked, ChatRequest, ChunkStream, CompletionResult, Form, FormRequest, Forwarded,
    LlmClient, LlmError, LlmFuture, Metadata, ModelCall, RawRequest, Source, Stamp,
};
use backhaul_store::{Clock as _, SystemClock};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Models;
use super::call::Call;
use super::noted::Noted;
use super::passing::Passing;
use super::recording::Recording;
use super::refused::Refused;
use super::said::Said;
use super::signature::Signature;
use crate::config::RecordCalls;
use crate::intake::Refusal;

pub(super) async fn answer(State(models): State<Models>, uri: Uri, request: Request) -> Response {
    let Some(form) = Form::of_path(uri.path()) else {
        return Refused::from(Refusal::not_found(&uri)).into_response();
    };
    let call = match Call::receive(&models, Some(form), request).await {
        Ok(call) => call,
        Err(refused) => return refused,
    };
    let asking = match Asking::new(form, call) {
        Ok(asking) => asking,
        Err(error) => return refuse(form, &error),
    };
    let mut recording = models.record(&asking).await;
    match models.ask(&asking).await {
        Ok(Given::Whole(answer)) => asking.whole(&answer, recording),
        Ok(Given::Pieces(stream)) => asking.pieces(stream, recording),
        Ok(Given::PassedWhole(metadata, body)) => {
            recording.said(&Said::of_answer(form, &body));
            recording.ended(&metadata);
            signed(&metadata, body)
        }
        Ok(Given::PassedPieces(metadata, passing)) => {
            event_stream(&metadata, passing.events(metadata.clone(), recording))
        }
        Err(error) => {
            recording.failed(&error);
            refuse(form, &error)
        }
    }
}

/// An error in the form that was asked for.
fn refuse(form: Form, error: &LlmError) -> Response {
    let (status, body) = form.error(error);
    Refused::answer(error, status, body)
}

/// A call in one of the forms, read as far as it can be.
pub(super) struct Asking {
    pub(super) form: Form,
    pub(super) model: String,
    /// The most that is kept of it.
    pub(super) keep: RecordCalls,
    is_streamed: bool,
    patience: Option<Duration>,
    bytes: Bytes,
    forwarded: Forwarded,
    /// As a chat, which a fallback is asked, or why it is none.
    read: Result<FormRequest, LlmError>,
}

impl Asking {
    /// # Errors
    /// Where a chat is none: no server could make anything of it.
    fn new(form: Form, call: Call) -> Result<Self, LlmError> {
        let (model, is_streamed) = (call.model().to_owned(), call.is_streamed());
        let Call { body, bytes, forwarded, keep, patience, .. } = call;
        let bytes = for_cloud(form, &body).map_or_else(|| bytes.into(), Bytes::from);
        let read = form.read(Value::Object(body)).map(|mut request| {
            if form == Form::ChatCompletions {
                request.chat.forwarded.clone_from(&forwarded);
                request.chat.patience = patience;
            }
            request
        });
        match read {
            Err(error) if form == Form::ChatCompletions => Err(error),
            read => Ok(Self { form, model, keep, is_streamed, patience, bytes, forwarded, read }),
        }
    }

    /// For a server that speaks the form.
    fn as_it_came(&self) -> RawRequest {
        let (path, forwarded) = (path_of(self.form), self.forwarded.clone());
        let request = RawRequest::post(path, self.bytes.clone());
        RawRequest { forwarded, in_pieces: self.is_streamed, ..request }
    }

    async fn as_a_chat(&self, asked: &Asked) -> Result<Given, LlmError> {
        let request = self.read.as_ref().map_err(LlmError::clone)?;
        let mut given = match self.is_streamed {
            true => Given::Pieces(asked.stream(&request.chat).await?),
            false => Given::Whole(asked.complete(&request.chat).await?),
        };
        given.metadata_mut().changes.extend(request.left_out.iter().cloned());
        Ok(given)
    }

    fn call(&self) -> ModelCall<'_> {
        let Self { model, is_streamed, patience, .. } = self;
        ModelCall { model, is_streamed: *is_streamed, patience: *patience }
    }

    pub(super) fn chat(&self) -> Option<&ChatRequest> {
        self.read.as_ref().ok().map(|request| &request.chat)
    }

    fn whole(&self, answer: &CompletionResult, recording: Recording) -> Response {
        let request = self.read.as_ref().map_err(LlmError::clone);
        let body = request.and_then(|request| request.answer(answer, &stamp()));
        match body {
            Ok(body) => {
                recording.answered(answer);
                signed(&answer.metadata, body)
            }
            Err(error) => {
                recording.failed(&error);
                refuse(self.form, &error)
            }
        }
    }

    fn pieces(&self, stream: ChunkStream, recording: Recording) -> Response {
        let request = match &self.read {
            Ok(request) => request,
            Err(error) => return refuse(self.form, error),
        };
        let metadata = stream.metadata.clone();
        let noted = ChunkStream::new(Noted::new(stream, recording), metadata.clone());
        let events = request.events(noted, &stamp());
        event_stream(&metadata, events.map(Ok::<_, Infallible>))
    }
}

/// A request without what a model here has said earlier and the cloud refuses. `None`: it goes
/// on as it came.
fn for_cloud(form: Form, body: &Map<String, Value>) -> Option<Vec<u8>> {
    let cleaned = form.cleaned_for_cloud(body)?;
    serde_json::to_vec(&cleaned).ok()
}

/// Where a server has a form, behind its base: OpenAI's base ends in `/v1`, Anthropic's not.
fn path_of(form: Form) -> &'static str {
    match form {
        Form::ChatCompletions => "/chat/completions",
        Form::Responses => "/responses",
        Form::Messages => "/v1/messages",
        Form::Completions => "/completions",
    }
}

fn stamp() -> Stamp {
    let micros = SystemClock::new().now().wall.as_micros();
    let created = u64::try_from(micros / 1_000_000).unwrap_or_default();
    Stamp { id: Uuid::now_v7().simple().to_string(), created }
}

/// A whole answer, and who gave it.
pub(super) fn signed(metadata: &Metadata, mut body: Value) -> Response {
    let mut headers = HeaderMap::new();
    let signature = Signature(metadata);
    signature.head(&mut headers);
    if let Value::Object(fields) = &mut body {
        signature.body(fields);
    }
    (headers, Json(body)).into_response()
}

fn event_stream(
    metadata: &Metadata,
    events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let mut headers = HeaderMap::new();
    Signature(metadata).head(&mut headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (headers, Body::from_stream(events)).into_response()
}

/// What comes of asking.
pub(super) enum Given {
    Whole(CompletionResult),
    Pieces(ChunkStream),
    /// By a server that speaks the form itself.
    PassedWhole(Metadata, Value),
    PassedPieces(Metadata, Box<Passing>),
}

impl Answer for Given {
    fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Given::Whole(answer) => &mut answer.metadata,
            Given::Pieces(stream) => &mut stream.metadata,
            Given::PassedWhole(metadata, _) | Given::PassedPieces(metadata, _) => metadata,
        }
    }
}

impl Models {
    /// A chat goes through the client as it is, so that an answer which it has kept may be given
    /// again; other forms are asked in their own way.
    async fn ask(&self, asking: &Asking) -> Result<Given, LlmError> {
        let client: &dyn LlmClient = &self.0.client;
        match (asking.form, &asking.read) {
            (Form::ChatCompletions, Ok(request)) if asking.is_streamed => {
                client.stream(&request.chat).await.map(Given::Pieces)
            }
            (Form::ChatCompletions, Ok(request)) => {
                client.complete(&request.chat).await.map(Given::Whole)
            }
            _ => self.ask_in_form(asking).await,
        }
    }

    async fn ask_in_form(&self, asking: &Asking) -> Result<Given, LlmError> {
        let (client, endpoint) = match asking.form {
            Form::Messages => (&self.0.messages, &self.0.endpoints.anthropic),
            _ => (&self.0.client, &self.0.endpoints.primary),
        };
        let ask = |asked: Asked| -> LlmFuture<'_, Given> {
            let is_primary = asked.source() == Source::Primary;
            Box::pin(async move {
                if !is_primary {
                    return asking.as_a_chat(&asked).await;
                }
                let reply = endpoint.forward(asking.as_it_came()).await?;
                Passing::of(asking.form, asked, reply, asking.is_streamed).await
            })
        };
        client.ask(asking.call(), ask).await
    }
}
