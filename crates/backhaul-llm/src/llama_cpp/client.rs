//! A model in this process.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use llama_cpp_2::model::LlamaChatMessage;
use llama_cpp_2::token::LlamaToken;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::client::{LlmClient, LlmFuture, TokenCount};
use crate::completion::CompletionResult;
use crate::error::{LlmError, LlmErrorKind};
use crate::llama_cpp::call::{Call, Work};
use crate::llama_cpp::event::Event;
use crate::llama_cpp::gguf;
use crate::llama_cpp::model::{Model, conversation};
use crate::llama_cpp::options::LlamaCppOptions;
use crate::llama_cpp::owner;
use crate::llama_cpp::pieces::{Heading, Pieces, ended};
use crate::metadata::Metadata;
use crate::offline::slots::Slots;
use crate::request::ChatRequest;

/// The stack of a thread that cuts a text into tokens, which for some models' tokens recurs
/// for each letter of a word.
const TOKENIZER_STACK: usize = 64 << 20;

/// A model in this process, run by llama.cpp.
///
/// Of a request it heeds `messages` (text), `max_tokens` or `max_completion_tokens`,
/// `temperature`, `top_p`, `seed`, `stop`, `response_format` and `stream_options`. Images and
/// tools it refuses ([`LlmErrorKind::Unsupported`]). An answer keeps to a schema but for
/// patterns that llama.cpp makes no grammar of, which are named in the answer's
/// [`Metadata::changes`]. Where a request says nothing of them,
/// temperature is 0.8 and `top_p` 0.95, as with llama.cpp's own server.
///
/// It answers one call at a time; others wait for their turn. Dropping a call, or its stream,
/// stops the model within a token of the answer, or 64 of the prompt.
///
/// # Building
/// The feature `llama-cpp` compiles llama.cpp, for which Debian's packages `cmake`, `clang` and
/// `libclang-dev` are needed, and takes about ten minutes of processor time. It is built for a
/// fixed level of processor: on x86 one with AVX2, on ARM armv8-a, or the one of
/// `-C target-cpu`, such as `x86-64-v2` for old boxes and `cortex-a76` for a Raspberry Pi 5.
/// Never take `native`: what a virtual machine shows it may not allow. Where llama.cpp finds a
/// flaw in itself it ends the process, as any program in C++ does.
///
/// # Templates
/// The model's chat template is recognised, not executed. llama.cpp knows those of most model
/// families: ChatML, Llama 2 to 4, Mistral, Gemma, Phi, DeepSeek, Granite, Command R and forty
/// others. A model with another one is not opened unless
/// [`chat_template`](LlamaCppOptions::chat_template) names one in its place. None of them
/// writes tools. Results of tools in a conversation are given to the model as a user's words.
///
/// # Example
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), backhaul_llm::LlmError> {
/// use backhaul_llm::{ChatRequest, LlamaCppClient, LlamaCppOptions, LlmClient, Message};
///
/// let client = LlamaCppClient::open("models/small.gguf", LlamaCppOptions::default())?;
/// let answer = client.complete(&ChatRequest::new(vec![Message::user("Is it warm?")])).await?;
/// println!("{}", answer.content());
/// # Ok(())
/// # }
/// ```
pub struct LlamaCppClient {
    name: String,
    model: Arc<Model>,
    calls: UnboundedSender<Call>,
    slots: Slots,
    decoded_tokens: Arc<AtomicU64>,
}

/// An answer that has begun.
struct Answer {
    first: Event,
    events: UnboundedReceiver<Result<Event, LlmError>>,
    metadata: Metadata,
}

impl LlamaCppClient {
    /// Looks at a model's file without loading it, and gives its architecture: `llama`.
    ///
    /// # Errors
    /// As for [`open`](Self::open), as far as the file's header shows.
    pub fn architecture_of(path: impl AsRef<Path>) -> Result<String, LlmError> {
        gguf::architecture(path.as_ref())
    }

    /// Loads a model file, and waits until it is loaded.
    ///
    /// # Errors
    /// [`LlmErrorKind::NotFound`] where there is no such file, and [`LlmErrorKind::Engine`] for
    /// all else, with the path, what was found and what to do: a folder, no GGUF file, one that
    /// is cut off or damaged, an architecture or a chat template that this version of llama.cpp
    /// does not know, no chat template and none given, too little memory.
    pub fn open(path: impl AsRef<Path>, options: LlamaCppOptions) -> Result<Self, LlmError> {
        let path = path.as_ref();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let slots = Slots::new(1, options.waiting_calls);
        let decoded_tokens = Arc::new(AtomicU64::new(0));
        let (model, calls) = owner::start(path.to_owned(), options, Arc::clone(&decoded_tokens))?;
        Ok(Self { name, model, calls, slots, decoded_tokens })
    }

    /// How many tokens were computed since it was opened, of prompts and answers. Those that
    /// were still warm are not among them.
    pub fn decoded_tokens(&self) -> u64 {
        self.decoded_tokens.load(Ordering::Relaxed)
    }

    /// Waits for the call's turn, and for the beginning of the answer.
    async fn ask(&self, request: &ChatRequest) -> Result<Answer, LlmError> {
        let slot = self.slots.take().await?;
        let work = Work::of(request, self.prompt(request).await?, &self.model)?;
        let mut metadata = Metadata::of_model(&self.name);
        metadata.changes.clone_from(&work.sampling.changes);
        let (sender, mut events) = unbounded_channel();
        self.calls.send(Call { work, events: sender, slot }).map_err(|_| ended())?;
        let first = events.recv().await.ok_or_else(ended)??;
        Ok(Answer { first, events, metadata })
    }

    async fn prompt(&self, request: &ChatRequest) -> Result<Vec<LlamaToken>, LlmError> {
        let chat = conversation(request)?;
        tokenized(Arc::clone(&self.model), chat).await
    }
}

impl LlmClient for LlamaCppClient {
    fn name(&self) -> &str {
        &self.name
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(async move {
            let started = Instant::now();
            let Answer { first: mut event, mut events, metadata } = self.ask(request).await?;
            let mut text = String::new();
            let end = loop {
                match event {
                    Event::Text(piece) => text.push_str(&piece),
                    Event::End(end) => break end,
                }
                event = events.recv().await.ok_or_else(ended)??;
            };
            let body = Heading::new(&self.name).completion(text, &end);
            let mut result = CompletionResult::from_json(body, metadata)?;
            result.latency = started.elapsed();
            Ok(result)
        })
    }

    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(async move {
            let options = request.fields.get("stream_options");
            let with_usage = options.and_then(|it| it.get("include_usage"));
            let with_usage = with_usage.and_then(Value::as_bool).unwrap_or(false);
            let Answer { first, events, metadata } = self.ask(request).await?;
            let pieces = Pieces::new(Heading::new(&self.name), with_usage, first, events);
            Ok(ChunkStream::new(pieces, metadata))
        })
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        Box::pin(async move {
            match self.prompt(request).await {
                Ok(prompt) => Ok(TokenCount { tokens: prompt.len() as u64, is_exact: true }),
                // With images or tools it is more than the model would be given.
                Err(error) if error.kind() == LlmErrorKind::Unsupported => {
                    Ok(TokenCount::estimate(request))
                }
                Err(error) => Err(error),
            }
        })
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        let text = ModelCapabilities { json_schema: true, ..ModelCapabilities::TEXT };
        let all = text.with_context_tokens(self.model.context_tokens as u64);
        Box::pin(async move { Ok(all) })
    }

    fn probe(&self) -> LlmFuture<'_, ()> {
        let is_there = if self.calls.is_closed() { Err(ended()) } else { Ok(()) };
        Box::pin(async move { is_there })
    }
}

impl fmt::Debug for LlamaCppClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlamaCppClient").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Cuts a conversation into tokens, in a thread of its own: a long one takes its time.
async fn tokenized(
    model: Arc<Model>,
    chat: Vec<LlamaChatMessage>,
) -> Result<Vec<LlamaToken>, LlmError> {
    let failed = |message: &str| LlmError::new(LlmErrorKind::Engine, message);
    let (done, tokens) = oneshot::channel();
    thread::Builder::new()
        .name("llama.cpp tokens".to_owned())
        .stack_size(TOKENIZER_STACK)
        .spawn(move || drop(done.send(model.tokens(&chat))))
        .map_err(|error| failed(&format!("no thread for the tokens can be started: {error}")))?;
    tokens.await.map_err(|_| failed("the tokens cannot be counted: the tokenizer has panicked"))?
}
