//! Servers that speak OpenAI's protocol.

mod body;
mod pieces;
mod server_facts;
#[cfg(feature = "tiktoken")]
mod tiktoken;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use self::body::ChatBody;
use self::pieces::ChatPieces;
use self::server_facts::CAUTIOUS;
use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::client::{LlmClient, LlmFuture, TokenCount};
use crate::completion::CompletionResult;
use crate::endpoint::{Endpoint, Events, RawReply, RawRequest};
use crate::error::{LlmError, LlmErrorKind};
use crate::metadata::Metadata;
use crate::request::ChatRequest;

const CHAT: &str = "/chat/completions";
const INPUT_TOKENS: &str = "/chat/completions/input_tokens";
/// Who does not tell in this time whether it is there is as good as not.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// A model of a server that speaks OpenAI's protocol: OpenAI, most other clouds, llama-server,
/// Ollama, LM Studio.
///
/// A request goes out with all its fields as they are, but for the model: where it names none,
/// it gets the client's own.
///
/// ```no_run
/// use backhaul_llm::{ApiKey, ChatRequest, Endpoint, LlmClient, Message, OpenAiClient};
/// # async fn example() -> Result<(), backhaul_llm::LlmError> {
/// let endpoint = Endpoint::new("https://openrouter.ai/api/v1")?
///     .with_api_key(ApiKey::from_env("OPENROUTER_API_KEY")?);
/// let client = OpenAiClient::new(endpoint).with_model("qwen/qwen3-8b");
/// let request = ChatRequest::new(vec![Message::user("Is it warm?")]);
/// println!("{}", client.complete(&request).await?.content());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpenAiClient {
    endpoint: Endpoint,
    model: Option<String>,
    always_own_model: bool,
    is_local: bool,
    capabilities: Option<ModelCapabilities>,
    known: Mutex<Known>,
}

/// What the server has told of itself.
#[derive(Debug, Clone, Default)]
struct Known {
    capabilities: Option<ModelCapabilities>,
    /// The first model that it has.
    first_model: Option<String>,
    /// Whether it cannot count tokens.
    cannot_count: bool,
}

impl OpenAiClient {
    /// A model of a server. One on this machine counts as [local](Self::with_local).
    pub fn new(endpoint: Endpoint) -> Self {
        let is_local = endpoint.is_loopback();
        Self {
            endpoint,
            model: None,
            always_own_model: false,
            is_local,
            capabilities: None,
            known: Mutex::default(),
        }
    }

    /// With the model that answers requests which name none.
    #[must_use]
    pub fn with_model(self, model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..self }
    }

    /// Has its own model answer whatever a request names, as a fallback does, whose server
    /// knows nothing of the primary's models. Where none was named, it is the first that the
    /// server has; where it does not tell, the request goes out without.
    #[must_use]
    pub fn with_own_model_always(self) -> Self {
        Self { always_own_model: true, ..self }
    }

    /// Says whether the server is one's own, so that it may be asked about itself: what its
    /// model can do, how many tokens a request is. Default: whether it is on this machine.
    #[must_use]
    pub fn with_local(self, is_local: bool) -> Self {
        Self { is_local, ..self }
    }

    /// Says what the model can do, so that nobody is asked.
    #[must_use]
    pub fn with_capabilities(self, capabilities: ModelCapabilities) -> Self {
        Self { capabilities: Some(capabilities), ..self }
    }

    /// Its server, for requests of other forms than chat.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The model that answers requests which name none.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The model that answers whatever a request names.
    async fn own_model(&self) -> Option<String> {
        if self.model.is_some() || !self.always_own_model {
            return self.model.clone();
        }
        let known = self.known().first_model.clone();
        if known.is_some() {
            return known;
        }
        let first = server_facts::first_model(&self.endpoint).await?;
        self.known().first_model = Some(first.clone());
        Some(first)
    }

    fn body<'a>(&self, request: &'a ChatRequest, own: Option<&'a str>) -> ChatBody<'a> {
        let named = request.model_name().filter(|_| !self.always_own_model);
        ChatBody { request, model: named.or(own), in_pieces: None }
    }

    async fn send(&self, path: &str, body: &ChatBody<'_>) -> Result<RawReply, LlmError> {
        let request = RawRequest {
            forwarded: body.request.forwarded.clone(),
            in_pieces: body.in_pieces == Some(true),
            ..RawRequest::post(path, body.to_bytes()?)
        };
        let sent = self.endpoint.forward(request).await;
        sent.inspect_err(|error| {
            if error.kind() == LlmErrorKind::Unreachable {
                // What comes back may be another server, or the same with another model.
                *self.known() = Known::default();
            }
        })
    }

    async fn ask(&self, request: &ChatRequest) -> Result<CompletionResult, LlmError> {
        let own = self.own_model().await;
        let body = ChatBody { in_pieces: Some(false), ..self.body(request, own.as_deref()) };
        let started = tokio::time::Instant::now();
        let answer = self.send(CHAT, &body).await?.json().await?;
        let mut result = CompletionResult::from_json(answer, Metadata::default())?;
        let model = Some(result.model()).filter(|model| !model.is_empty()).or(body.model);
        result.metadata.model = model.unwrap_or_default().to_owned();
        result.latency = started.elapsed();
        Ok(result)
    }

    async fn ask_in_pieces(&self, request: &ChatRequest) -> Result<ChunkStream, LlmError> {
        let own = self.own_model().await;
        let body = ChatBody { in_pieces: Some(true), ..self.body(request, own.as_deref()) };
        let reply = self.send(CHAT, &body).await?;
        let pieces = ChatPieces::new(Events::new(reply));
        let metadata = Metadata::of_model(body.model.unwrap_or_default());
        Ok(ChunkStream::of_pieces(pieces, metadata))
    }

    async fn count(&self, request: &ChatRequest) -> Result<TokenCount, LlmError> {
        let estimate = TokenCount::estimate(request);
        if !self.is_local {
            return Ok(self.count_here(request).await.unwrap_or(estimate));
        }
        if self.known().cannot_count {
            return Ok(estimate);
        }
        let own = self.own_model().await;
        let answer = match self.send(INPUT_TOKENS, &self.body(request, own.as_deref())).await {
            Ok(reply) => reply.json().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => match answer.get("input_tokens").and_then(Value::as_u64) {
                Some(tokens) => return Ok(TokenCount { tokens, is_exact: true }),
                None => self.known().cannot_count = true,
            },
            // This request is wrong, which tells nothing of others.
            Err(error) if error.kind() == LlmErrorKind::Invalid => {}
            Err(error) if server_facts::is_no_such_question(&error) => {
                self.known().cannot_count = true;
            }
            Err(error) => return Err(error),
        }
        Ok(estimate)
    }

    /// Of a cloud's model, without asking it.
    #[cfg(feature = "tiktoken")]
    async fn count_here(&self, request: &ChatRequest) -> Option<TokenCount> {
        let model = self.body(request, self.model.as_deref()).model?;
        tiktoken::count(model, request).await
    }

    #[cfg(not(feature = "tiktoken"))]
    async fn count_here(&self, _: &ChatRequest) -> Option<TokenCount> {
        None
    }

    async fn find_capabilities(&self) -> Result<ModelCapabilities, LlmError> {
        if let Some(stated) = self.capabilities {
            return Ok(stated);
        }
        if !self.is_local {
            return Ok(ModelCapabilities::ALL);
        }
        if let Some(known) = self.known().capabilities {
            return Ok(known);
        }
        let told =
            server_facts::capabilities(&self.endpoint, self.own_model().await.as_deref()).await?;
        let capabilities = told.unwrap_or(CAUTIOUS);
        self.known().capabilities = Some(capabilities);
        Ok(capabilities)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No call leaves it half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LlmClient for OpenAiClient {
    fn name(&self) -> &str {
        self.endpoint.name()
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(self.ask(request))
    }

    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(self.ask_in_pieces(request))
    }

    /// By `POST {base}/chat/completions/input_tokens` of llama-server, which counts with its
    /// template; any other server is asked once, and then it is estimated. A cloud is not
    /// asked: with the feature `tiktoken` OpenAI's models are counted on this machine, where
    /// plain texts of the GPT-3.5, GPT-4 and GPT-4o families are exact; else it is estimated.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        Box::pin(self.count(request))
    }

    /// What was stated; else, of a local server, what llama-server tells in `/props` and Ollama
    /// in `/api/show`, until it is not reached; of any other local server text in 4,096 tokens,
    /// and of a cloud everything.
    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        Box::pin(self.find_capabilities())
    }

    /// By `GET {base}/models`. Any answer of such a server will do, also that the key is wrong.
    fn probe(&self) -> LlmFuture<'_, ()> {
        Box::pin(probe(&self.endpoint, "/models"))
    }
}

/// Whether a server of models answers at all.
pub(crate) async fn probe(endpoint: &Endpoint, path: &str) -> Result<(), LlmError> {
    let clocks = endpoint.clocks().at_most(PROBE_TIMEOUT);
    let answer = match endpoint.forward_within(clocks, RawRequest::get(path)).await {
        Ok(reply) => reply.json().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            LlmErrorKind::Credentials
            | LlmErrorKind::NotFound
            | LlmErrorKind::Invalid
            | LlmErrorKind::RateLimited
            | LlmErrorKind::Unsupported => Ok(()),
            _ => Err(error),
        },
    }
}
