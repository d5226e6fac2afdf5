//! The thread that owns a model's context.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::{LlmError, LlmErrorKind};
use crate::llama_cpp::call::{Call, Events, Work};
use crate::llama_cpp::engine::Engine;
use crate::llama_cpp::event::{End, Event};
use crate::llama_cpp::model::Model;
use crate::llama_cpp::options::LlamaCppOptions;

/// Loads a model in a thread of its own, which answers calls one after the other until nobody
/// can make one any more.
pub(super) fn start(
    path: PathBuf,
    options: LlamaCppOptions,
    decoded_tokens: Arc<AtomicU64>,
) -> Result<(Arc<Model>, UnboundedSender<Call>), LlmError> {
    let (calls, to_answer) = unbounded_channel();
    let (ready, is_ready) = mpsc::channel();
    let own = move || {
        let model = match Model::load(&path, &options) {
            Ok(model) => Arc::new(model),
            Err(error) => return drop(ready.send(Err(error))),
        };
        match Engine::new(&model, &options, decoded_tokens) {
            Ok(engine) => {
                let _ = ready.send(Ok(Arc::clone(&model)));
                serve(to_answer, engine);
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    };
    let failed = |why: String| LlmError::new(LlmErrorKind::Engine, why);
    thread::Builder::new()
        .name("llama.cpp".to_owned())
        .spawn(own)
        .map_err(|error| failed(format!("no thread for the model can be started: {error}")))?;
    let model =
        is_ready.recv().map_err(|_| failed("the model's thread has panicked".to_owned()))?;
    Ok((model?, calls))
}

/// What answers calls.
pub(super) trait Answer {
    /// Answers one. `None`: nobody waits for it any more.
    fn answer(&mut self, work: &mut Work, events: &Events) -> Result<Option<End>, LlmError>;

    /// Begins anew after a failure.
    fn begin_anew(&mut self);
}

/// Answers calls until nobody can make one. What panics in one is that call's error.
fn serve(mut calls: UnboundedReceiver<Call>, mut engine: impl Answer) {
    while let Some(mut call) = calls.blocking_recv() {
        let done = catch_unwind(AssertUnwindSafe(|| engine.answer(&mut call.work, &call.events)))
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        if let Err(error) = &done {
            tracing::warn!(%error, "a model's answer failed");
            engine.begin_anew();
        }
        let Call { events, slot, .. } = call;
        // Whoever hears the end of the answer can make the next call.
        drop(slot);
        if let Some(last) = done.map(|end| end.map(Event::End)).transpose() {
            let _ = events.send(last);
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> LlmError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("the model's thread has panicked: {}", text.unwrap_or("without a word"));
    LlmError::new(LlmErrorKind::Engine, message)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::finish_reason::FinishReason;
    use crate::llama_cpp::sampling::Sampling;
    use crate::offline::slots::Slots;

    /// Panics at the first call, and answers if it was begun anew since.
    #[derive(Default)]
    struct Panics {
        calls: usize,
        is_new: bool,
    }

    impl Answer for Panics {
        fn answer(&mut self, _: &mut Work, _: &Events) -> Result<Option<End>, LlmError> {
            self.calls += 1;
            assert!(self.is_new, "call {}", self.calls);
            let reason = FinishReason::Stop;
            let (prompt_tokens, cached_tokens, completion_tokens) = (1, 0, 1);
            Ok(Some(End { reason, prompt_tokens, cached_tokens, completion_tokens }))
        }

        fn begin_anew(&mut self) {
            self.is_new = true;
        }
    }

    #[tokio::test]
    async fn a_panic_is_the_error_of_its_call_and_the_next_call_is_answered() {
        let (calls, to_answer) = unbounded_channel();
        let slots = Slots::new(2, 0);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let (events, answer) = unbounded_channel();
            let sampling = Sampling::greedy();
            let work = Work { prompt: Vec::new(), sampling, stops: Vec::new(), most_tokens: 1 };
            let slot = slots.take().await.unwrap();
            calls.send(Call { work, events, slot }).unwrap();
            answers.push(answer);
        }
        drop(calls);
        tokio::task::spawn_blocking(|| serve(to_answer, Panics::default())).await.unwrap();
        let error = answers[0].try_recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Engine);
        assert_eq!(error.message(), "the model's thread has panicked: call 1");
        assert!(matches!(answers[1].try_recv(), Ok(Ok(Event::End(_)))));
        let _free = (slots.take().await.unwrap(), slots.take().await.unwrap());
    }
}
