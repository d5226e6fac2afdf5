//! How a model is run in this process.

use std::num::NonZeroU32;
use std::thread;

/// The most tokens of context that are taken unasked: keys and values of each token stay in
/// memory, of a model with 8 billion parameters 128 KiB.
const MOST_CONTEXT: u32 = 8_192;

/// How a model is run in this process.
///
/// ```
/// use backhaul_llm::LlamaCppOptions;
/// let options = LlamaCppOptions { waiting_calls: 0, ..LlamaCppOptions::default() };
/// assert!(options.context_tokens.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlamaCppOptions {
    /// How many tokens the context holds, prompt and answer together. Default: as many as the
    /// model was trained with, at most 8,192.
    pub context_tokens: Option<NonZeroU32>,
    /// How many threads compute. Default: the processor's less one, at least one. Threads wait
    /// for each other: with as many as there are processors, any other work slows all of them
    /// down a hundredfold.
    pub threads: Option<NonZeroU32>,
    /// How many calls may wait while one is answered. One more is
    /// [`Busy`](crate::LlmErrorKind::Busy). Default: 8.
    pub waiting_calls: usize,
    /// The chat template in place of the model's own: a name that llama.cpp knows, such as
    /// `chatml`, or a template's text.
    pub chat_template: Option<String>,
}

impl Default for LlamaCppOptions {
    fn default() -> Self {
        Self { context_tokens: None, threads: None, waiting_calls: 8, chat_template: None }
    }
}

impl LlamaCppOptions {
    /// The context of a model that was trained with so many tokens.
    pub(super) fn context_for(&self, trained_tokens: u32) -> NonZeroU32 {
        let unasked = NonZeroU32::new(trained_tokens.min(MOST_CONTEXT));
        self.context_tokens.or(unasked).unwrap_or(NonZeroU32::MIN)
    }

    /// The threads that compute.
    pub(super) fn threads(&self) -> i32 {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or_else(
            || i32::try_from(processors().saturating_sub(1)),
            |asked| i32::try_from(asked.get()),
        );
        threads.unwrap_or(i32::MAX).max(1)
    }
}
