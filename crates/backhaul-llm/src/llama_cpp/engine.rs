//! What computes: a model's context.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use crate::error::{LlmError, LlmErrorKind};
use crate::finish_reason::FinishReason;
use crate::llama_cpp::answer_text::AnswerText;
use crate::llama_cpp::backend::{backend, with_errors};
use crate::llama_cpp::call::{Events, Work};
use crate::llama_cpp::event::{End, Event};
use crate::llama_cpp::model::Model;
use crate::llama_cpp::options::LlamaCppOptions;
use crate::llama_cpp::owner::Answer;

/// How many tokens of a prompt are computed at once: no processor gains much from more, and
/// whoever breaks a call off waits for them.
const CHUNK: usize = 64;
const CHUNK_TOKENS: u32 = 64;
/// There is one conversation in the context.
const SEQUENCE: i32 = 0;

/// A model's context, in the hands of the one thread that owns it.
pub(super) struct Engine<'model> {
    model: &'model Model,
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    /// The tokens whose keys and values the context holds.
    warm: Vec<LlamaToken>,
    decoded_tokens: Arc<AtomicU64>,
}

impl<'model> Engine<'model> {
    /// Makes a context. Tokens that it computes are counted.
    pub(super) fn new(
        model: &'model Model,
        options: &LlamaCppOptions,
        decoded_tokens: Arc<AtomicU64>,
    ) -> Result<Self, LlmError> {
        let threads = options.threads();
        let tokens = u32::try_from(model.context_tokens).ok().and_then(NonZeroU32::new);
        let parameters = LlamaContextParams::default()
            .with_n_ctx(tokens)
            .with_n_batch(CHUNK_TOKENS)
            .with_n_ubatch(CHUNK_TOKENS)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_no_perf(true);
        let backend = backend()?;
        let (context, errors) = with_errors(|| model.weights.new_context(backend, parameters));
        let context = context.map_err(|error| {
            engine_error(format!(
                "llama.cpp makes no context of {} tokens ({error}; {errors}): expected one that \
                 fits into memory; open the model with a smaller one",
                model.context_tokens
            ))
        })?;
        let (batch, warm) = (LlamaBatch::new(CHUNK, 1), Vec::new());
        Ok(Self { model, context, batch, warm, decoded_tokens })
    }

    /// Computes a prompt but for what is warm of it, and says how many tokens that was.
    fn read(&mut self, prompt: &[LlamaToken], events: &Events) -> Result<Option<usize>, LlmError> {
        let cached = self.keep_common(prompt)?;
        let mut chunks = prompt.get(cached..).unwrap_or_default().chunks(CHUNK).peekable();
        while let Some(chunk) = chunks.next() {
            if events.is_closed() {
                return Ok(None);
            }
            self.decode(chunk, chunks.peek().is_none())?;
        }
        Ok(Some(cached))
    }

    /// Keeps what the context has in common with a prompt. Its last token is computed anyway:
    /// what follows is known from it.
    fn keep_common(&mut self, prompt: &[LlamaToken]) -> Result<usize, LlmError> {
        let most = prompt.len().saturating_sub(1);
        let pairs = self.warm.iter().zip(prompt).take(most);
        let common = pairs.take_while(|(warm, new)| warm == new).count();
        let from = u32::try_from(common).ok();
        let is_cut = self.context.clear_kv_cache_seq(Some(0), from, None);
        if is_cut.map_err(|error| engine_error(error.to_string()))? {
            self.warm.truncate(common);
        } else {
            // A model with a state instead of a cache can only begin anew.
            self.begin_anew();
        }
        Ok(self.warm.len())
    }

    /// Computes the next tokens, at most a chunk, and if asked what may follow them.
    fn decode(&mut self, tokens: &[LlamaToken], with_next: bool) -> Result<(), LlmError> {
        self.batch.clear();
        for (at, token) in tokens.iter().enumerate() {
            let position = i32::try_from(self.warm.len() + at).unwrap_or(i32::MAX);
            let is_last = at + 1 == tokens.len();
            let added = self.batch.add(*token, position, &[SEQUENCE], with_next && is_last);
            added.map_err(|error| engine_error(error.to_string()))?;
        }
        let (decoded, errors) = with_errors(|| self.context.decode(&mut self.batch));
        decoded.map_err(|error| engine_error(format!("llama.cpp failed: {error}; {errors}")))?;
        self.warm.extend_from_slice(tokens);
        self.decoded_tokens.fetch_add(tokens.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Answer for Engine<'_> {
    fn answer(&mut self, work: &mut Work, events: &Events) -> Result<Option<End>, LlmError> {
        let Some(cached_tokens) = self.read(&work.prompt, events)? else { return Ok(None) };
        let vocabulary = self.model.weights.vocab();
        let mut text = AnswerText::new(std::mem::take(&mut work.stops));
        let mut completion_tokens = 0;
        let reason = loop {
            let token = work.sampling.next(&self.context)?;
            completion_tokens += 1;
            if vocabulary.is_eog(token) {
                break FinishReason::Stop;
            }
            let (said, is_end) = text.push(&vocabulary.token_to_piece(token, false, None));
            say(said, events);
            if is_end {
                break FinishReason::Stop;
            }
            // The token that was chosen has a place in the context too.
            let is_full = self.warm.len() + 1 >= self.model.context_tokens;
            if is_full || completion_tokens >= work.most_tokens {
                break FinishReason::Length;
            }
            if events.is_closed() {
                return Ok(None);
            }
            self.decode(&[token], true)?;
        };
        say(text.rest(), events);
        let prompt_tokens = work.prompt.len();
        Ok(Some(End { reason, prompt_tokens, cached_tokens, completion_tokens }))
    }

    /// Forgets the conversation: what the context holds may be anything.
    fn begin_anew(&mut self) {
        self.context.clear_kv_cache();
        self.warm.clear();
    }
}

fn say(text: String, events: &Events) {
    if !text.is_empty() {
        // Where nobody listens any more, the next token is not computed.
        let _ = events.send(Ok(Event::Text(text)));
    }
}

fn engine_error(message: String) -> LlmError {
    LlmError::new(LlmErrorKind::Engine, message)
}
