//! What the model gateway answers to which request.

use axum::Router;
use axum::routing::post;

use super::{Models, chat};

/// The paths that it answers at.
pub(crate) const PATHS: &[&str] = &["/v1/chat/completions"];

/// All that it can be asked.
pub(crate) fn router(models: Models) -> Router {
    Router::new().route("/v1/chat/completions", post(chat::answer)).with_state(models)
}
