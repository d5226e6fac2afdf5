//! Servers that speak Anthropic's messages.

mod answer;
mod chunks;
mod request;
mod stop_reason;

use std::time::{SystemTime, UNIX_EPOCH};

use backhaul_sync::header::HeaderName;
use serde_json::Value;

use self::answer::completion_of;
use self::chunks::{ChunkMaker, Made};
use self::request::messages_request;
use crate::api_key::ApiKey;
use crate::capabilities::ModelCapabilities;
use crate::chunk::StreamChunk;
use crate::chunk_stream::{ChunkStream, Pieces};
use crate::client::{LlmClient, LlmFuture, TokenCount};
use crate::completion::CompletionResult;
use crate::endpoint::{Endpoint, Events, RawReply, RawRequest};
use crate::error::{LlmError, LlmErrorKind};
use crate::metadata::Metadata;
use crate::openai::probe;
use crate::request::ChatRequest;

const BASE_URL: &str = "https://api.anthropic.com";
const MESSAGES: &str = "/v1/messages";
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const THIS_VERSION: &str = "2023-06-01";
/// What counting takes: the rest is about the answer.
const COUNTED: [&str; 6] = ["model", "system", "messages", "tools", "tool_choice", "thinking"];

/// A model that is asked by Anthropic's messages. Requests and answers are those of chat
/// completions: they are translated.
///
/// - Instructions are joined, whatever their place. A request without `max_tokens` gets 4,096.
/// - A schema goes out as `output_config.format`. Fields that have no counterpart, such as
///   `seed` and `n`, are left out; those that chat completions do not know go out as they are.
/// - Thoughts come back as `reasoning_content`.
///
/// ```no_run
/// use backhaul_llm::{AnthropicClient, ApiKey, ChatRequest, LlmClient, Message};
/// # async fn example() -> Result<(), backhaul_llm::LlmError> {
/// let client = AnthropicClient::new(ApiKey::from_env("ANTHROPIC_API_KEY")?, "claude-sonnet-4-5")?;
/// let request = ChatRequest::new(vec![Message::user("Is it warm?")]);
/// println!("{}", client.complete(&request).await?.content());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AnthropicClient {
    endpoint: Endpoint,
    model: String,
    always_own_model: bool,
    capabilities: ModelCapabilities,
}

impl AnthropicClient {
    /// Anthropic itself. `model` answers requests which name none.
    ///
    /// # Errors
    /// Where nothing can be sent at all, as without certificates.
    pub fn new(api_key: ApiKey, model: impl Into<String>) -> Result<Self, LlmError> {
        Ok(Self::at(Endpoint::new(BASE_URL)?.with_api_key(api_key), model))
    }

    /// A server that speaks as Anthropic's does. Its address is what stands before
    /// `/v1/messages`.
    pub fn at(endpoint: Endpoint, model: impl Into<String>) -> Self {
        let endpoint = endpoint.for_anthropic();
        let (model, capabilities) = (model.into(), ModelCapabilities::ALL);
        Self { endpoint, model, always_own_model: false, capabilities }
    }

    /// Has its own model answer whatever a request names, as a fallback does.
    #[must_use]
    pub fn with_own_model_always(self) -> Self {
        Self { always_own_model: true, ..self }
    }

    /// Says what the model can do. Default: everything.
    #[must_use]
    pub fn with_capabilities(self, capabilities: ModelCapabilities) -> Self {
        Self { capabilities, ..self }
    }

    /// Its server, for requests of other forms than chat.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn body(&self, request: &ChatRequest) -> Result<Value, LlmError> {
        let named = request.model_name().filter(|_| !self.always_own_model);
        messages_request(request, named.unwrap_or(&self.model))
    }

    async fn send(
        &self,
        path: &str,
        request: &ChatRequest,
        body: &Value,
    ) -> Result<RawReply, LlmError> {
        let mut forwarded = request.forwarded.clone();
        let version = backhaul_sync::header::HeaderValue::from_static(THIS_VERSION);
        forwarded.headers.entry(VERSION).or_insert(version);
        let in_pieces = body.get("stream").is_some();
        let post = RawRequest::post(path, body.to_string());
        self.endpoint.forward(RawRequest { forwarded, in_pieces, ..post }).await
    }

    async fn ask(&self, request: &ChatRequest) -> Result<CompletionResult, LlmError> {
        let started = tokio::time::Instant::now();
        let body = self.body(request)?;
        let reply = self.send(MESSAGES, request, &body).await?;
        let remarks = reply.remarks();
        let message = reply.json().await?;
        if message.get("content").is_none() {
            let what = format!("{} gave no message: expected \"content\"", self.name());
            return Err(LlmError::new(LlmErrorKind::Garbled, what));
        }
        let answer = completion_of(&message, now());
        let metadata = Metadata::default().with_remarks(remarks);
        let mut result = CompletionResult::from_json(answer, metadata)?;
        result.metadata.model = result.model().to_owned();
        result.latency = started.elapsed();
        Ok(result)
    }

    async fn ask_in_pieces(&self, request: &ChatRequest) -> Result<ChunkStream, LlmError> {
        let mut body = self.body(request)?;
        if let Some(body) = body.as_object_mut() {
            body.insert("stream".to_owned(), true.into());
        }
        let reply = self.send(MESSAGES, request, &body).await?;
        let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
        let metadata = Metadata::of_model(model).with_remarks(reply.remarks());
        let pieces =
            MessagePieces { events: Some(Events::new(reply)), maker: ChunkMaker::new(now()) };
        Ok(ChunkStream::of_pieces(pieces, metadata))
    }

    async fn count(&self, request: &ChatRequest) -> Result<TokenCount, LlmError> {
        let mut body = self.body(request)?;
        if let Some(body) = body.as_object_mut() {
            body.retain(|name, _| COUNTED.contains(&name.as_str()));
        }
        let answer = self.send(COUNT_TOKENS, request, &body).await?.json().await?;
        match answer.get("input_tokens").and_then(Value::as_u64) {
            Some(tokens) => Ok(TokenCount { tokens, is_exact: true }),
            None => Ok(TokenCount::estimate(request)),
        }
    }
}

impl LlmClient for AnthropicClient {
    fn name(&self) -> &str {
        self.endpoint.name()
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(self.ask(request))
    }

    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(self.ask_in_pieces(request))
    }

    /// By `POST /v1/messages/count_tokens`, which costs nothing.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        Box::pin(self.count(request))
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        Box::pin(async { Ok(self.capabilities) })
    }

    /// By `GET /v1/models`. Any answer of such a server will do, also that the key is wrong.
    fn probe(&self) -> LlmFuture<'_, ()> {
        Box::pin(probe(&self.endpoint, "/v1/models"))
    }
}

/// The pieces of an answer. It is whole with its last event alone.
struct MessagePieces {
    /// None: that was the last one.
    events: Option<Events>,
    maker: ChunkMaker,
}

impl Pieces for MessagePieces {
    async fn next(mut self) -> Result<Option<(StreamChunk, Self)>, LlmError> {
        let Some(mut events) = self.events.take() else { return Ok(None) };
        loop {
            let Some(event) = events.next().await? else { return Err(events.broken_off()) };
            let event = events.json(&event)?;
            if event.get("type").is_some_and(|class| class == "error") {
                return Err(events.reply.error_in_band(&event));
            }
            let chunk = match self.maker.take(&event) {
                Made::Nothing => continue,
                Made::Chunk(chunk) => {
                    let chunk = StreamChunk::from_json(chunk)?;
                    if chunk.is_meaningful() {
                        events.reply.has_spoken();
                    }
                    self.events = Some(events);
                    chunk
                }
                Made::Last(chunk) => {
                    let chunk = StreamChunk::from_json(chunk)?;
                    if chunk.finish_reason().is_none() {
                        return Err(events.broken_off());
                    }
                    events.finish();
                    chunk
                }
            };
            return Ok(Some((chunk, self)));
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
