//! A model that can be asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::completion::CompletionResult;
use crate::error::{LlmError, LlmErrorKind};
use crate::request::ChatRequest;

/// What a client's methods give.
pub type LlmFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LlmError>> + Send + 'a>>;

/// Bytes of a token where no tokenizer is known: on the safe side, of mixed text a token of a
/// large vocabulary has 2.9 on average.
const BYTES_OF_A_TOKEN: u64 = 3;
/// Tokens of an image where nobody can be asked: what Ollama takes for every one.
pub(crate) const TOKENS_OF_AN_IMAGE: u64 = 768;

/// How many tokens a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// So many.
    pub tokens: u64,
    /// Whether the model's own tokenizer has counted, with its template. Else it is an
    /// estimate.
    pub is_exact: bool,
}

impl TokenCount {
    /// An estimate for a request: a third of its bytes as JSON. The bytes of an image are left
    /// out; it counts as 768 tokens.
    ///
    /// ```
    /// use backhaul_llm::{ChatRequest, Message, Part, TokenCount};
    /// let count = TokenCount::estimate(&ChatRequest::new(vec![Message::user("Is it warm?")]));
    /// assert!(!count.is_exact && count.tokens >= 10);
    /// let image = Message::user(vec![Part::image("image/png", &[0; 100_000])]);
    /// let count = TokenCount::estimate(&ChatRequest::new(vec![image]));
    /// assert!((768..900).contains(&count.tokens));
    /// ```
    pub fn estimate(request: &ChatRequest) -> Self {
        let messages = request.messages.iter().flat_map(|message| message.as_json());
        let fields = messages.chain(&request.fields).map(|(name, value)| {
            // Quotes, colon, comma.
            Estimate::of(value).and(Estimate::bytes(name.len() as u64 + 4))
        });
        let all = fields.fold(Estimate::default(), Estimate::and);
        let tokens = all.bytes.div_ceil(BYTES_OF_A_TOKEN) + all.images * TOKENS_OF_AN_IMAGE;
        Self { tokens, is_exact: false }
    }
}

#[derive(Clone, Copy, Default)]
struct Estimate {
    bytes: u64,
    images: u64,
}

impl Estimate {
    fn bytes(bytes: u64) -> Self {
        Self { bytes, images: 0 }
    }

    fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, images: self.images + other.images }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Object(part) if is_image(part) => Self { bytes: 0, images: 1 },
            Value::Object(fields) => {
                let inner = fields
                    .iter()
                    .map(|(name, value)| Self::of(value).and(Self::bytes(name.len() as u64 + 4)));
                inner.fold(Self::bytes(2), Self::and)
            }
            Value::Array(items) => items
                .iter()
                .map(|item| Self::of(item).and(Self::bytes(1)))
                .fold(Self::bytes(2), Self::and),
            Value::String(text) => Self::bytes(text.len() as u64 + 2),
            other => Self::bytes(other.to_string().len() as u64),
        }
    }
}

/// Whether a part of a message is an image: of chat completions, or of Anthropic's messages.
pub(crate) fn is_image(part: &Map<String, Value>) -> bool {
    matches!(part.get("type").and_then(Value::as_str), Some("image_url" | "image"))
}

/// A model that can be asked: one of a cloud, one of a server on this machine, one in this
/// process.
pub trait LlmClient: Send + Sync {
    /// What it is called in reports, such as `api.openai.com`.
    fn name(&self) -> &str;

    /// Has it answer as a whole.
    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult>;

    /// Has it answer in pieces. The future is ready when the answer begins, with or without a
    /// first piece.
    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream>;

    /// How many tokens a request is, by the model's own tokenizer where that can be asked.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        Box::pin(async { Ok(TokenCount::estimate(request)) })
    }

    /// What it can do.
    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities>;

    /// Finds out whether it can be asked, at no cost. By default it is not known
    /// ([`LlmErrorKind::Unsupported`]).
    fn probe(&self) -> LlmFuture<'_, ()> {
        Box::pin(async {
            Err(LlmError::new(LlmErrorKind::Unsupported, "this client can only be asked"))
        })
    }
}

/// A client that several share, such as one that is chosen when the program runs.
impl<C: LlmClient + ?Sized> LlmClient for Arc<C> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        (**self).complete(request)
    }

    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        (**self).stream(request)
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        (**self).count_tokens(request)
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        (**self).capabilities()
    }

    fn probe(&self) -> LlmFuture<'_, ()> {
        (**self).probe()
    }
}
