//! What the model gateway answers to which request.

use axum::Router;
use axum::routing::{get, post};

use super::{Models, capabilities, catalog, embeddings, forms};

/// The paths of the forms of a chat.
const FORMS: [&str; 4] =
    ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"];
const EMBEDDINGS: &str = "/v1/embeddings";
const MODELS: &str = "/v1/models";
/// Names of models may have a `/`.
const MODEL: &str = "/v1/models/{*id}";
const CAPABILITIES: &str = "/v1/capabilities";

/// The paths that it answers at.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    FORMS.into_iter().chain([EMBEDDINGS, MODELS, MODEL, CAPABILITIES])
}

/// All that it can be asked.
pub(crate) fn router(models: Models) -> Router {
    let routes = |router: Router<Models>, path| router.route(path, post(forms::answer));
    FORMS
        .into_iter()
        .fold(Router::new(), routes)
        .route(EMBEDDINGS, post(embeddings::answer))
        .route(MODELS, get(catalog::list))
        .route(MODEL, get(catalog::show))
        .route(CAPABILITIES, get(capabilities::show))
        .with_state(models)
}
