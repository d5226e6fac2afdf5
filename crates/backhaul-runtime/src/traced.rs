//! What happens as calls of Weave, where the program logs to it.

use std::future::Future;

use backhaul_weave as weave;
use serde::Serialize;

/// A call of Weave that goes on; nothing, where the program does not log to it. One that is
/// dropped before its end was given up, and says so.
pub(crate) struct Traced(Option<weave::Call>);

impl Traced {
    /// Begins a call; what is said of it costs nothing where nothing is logged.
    pub(crate) fn begin(
        name: &str,
        say: impl FnOnce(weave::CallBuilder) -> weave::CallBuilder,
    ) -> Self {
        if weave::client().is_none() {
            return Self(None);
        }
        Self(say(weave::call(name)).start())
    }

    /// Does something within it.
    pub(crate) async fn run<F: Future>(&self, work: F) -> F::Output {
        match &self.0 {
            Some(call) => call.context().run_async(work).await,
            None => work.await,
        }
    }

    /// Says what a model used.
    pub(crate) fn usage(&self, model: &str, usage: impl Serialize) {
        if let (Some(call), Ok(usage)) = (&self.0, serde_json::to_value(usage)) {
            call.set_summary("usage", serde_json::json!({ model: usage }));
        }
    }

    /// Ends it with what came of it.
    pub(crate) fn finish(mut self, output: impl FnOnce() -> serde_json::Value) {
        if let Some(call) = self.0.take() {
            call.finish(output());
        }
    }

    /// Ends it with what went wrong.
    pub(crate) fn fail(mut self, kind: &str, error: &str) {
        if let Some(call) = self.0.take() {
            call.fail(weave::Exception::new(kind, error));
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.fail(weave::Exception::new("Cancelled", "it was given up before its end"));
        }
    }
}
