//! Ids for what was sent without one.

use uuid::Uuid;

use super::asked::Asked;

/// A client says the same here however often it sends a request: see `weave.utils.retry`.
const RETRY_ID: &str = "x-weave-retry-id";

/// New ids for one request, in the order of time. The first is the one by which its client
/// names the request, if it does: what is sent again, since the answer was lost, has the same.
pub(super) struct NewIds {
    of_request: Option<Uuid>,
}

impl NewIds {
    pub(super) fn of(asked: &Asked) -> Self {
        Self { of_request: asked.header(RETRY_ID).and_then(|id| id.parse().ok()) }
    }

    pub(super) fn next(&mut self) -> String {
        self.of_request.take().unwrap_or_else(Uuid::now_v7).to_string()
    }
}
