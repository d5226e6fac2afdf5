//! How a request is put to a model that lacks a way to take it as it is.

use super::forced_call::ForcedCall;
use super::{instructions, past_calls};
use crate::request::ChatRequest;

/// How a request is put to a model. It is shortened as it was asked, so that a call and its
/// result are known, and counted as it is put.
#[derive(Debug, Default)]
pub(super) struct Phrasing {
    /// A call that has to come, where it is asked for as JSON.
    pub(super) forced: Option<ForcedCall>,
    /// Whether calls in the conversation, and their results, are put as text.
    pub(super) calls_as_text: bool,
}

impl Phrasing {
    /// The request as the model gets it.
    pub(super) fn put(&self, request: &ChatRequest) -> ChatRequest {
        let mut put = request.clone();
        instructions::unite(&mut put.messages);
        if self.calls_as_text {
            past_calls::put_as_text(&mut put.messages);
        }
        if let Some(forced) = &self.forced {
            forced.ask(&mut put);
        }
        put
    }
}
