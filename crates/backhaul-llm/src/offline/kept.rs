//! The cache of a client, where it has one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::answer_cache::{AnswerCache, key_of};
use crate::completion::CompletionResult;
use crate::metadata::Source;
use crate::request::ChatRequest;

/// The cache of a client, where it has one. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Option<Arc<AnswerCache>>>>);

impl Kept {
    pub(super) fn set(&self, cache: AnswerCache) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(cache));
    }

    /// Keeps an answer, where it is the primary's. That it cannot is no trouble of the call.
    pub(super) async fn keep(
        &self,
        client: &str,
        request: &ChatRequest,
        answer: &CompletionResult,
    ) {
        let is_primarys = answer.metadata.source == Source::Primary;
        let Some(cache) = self.cache().filter(|_| is_primarys) else { return };
        let (key, answer) = (key_of(client, request), answer.clone());
        let keep = move || cache.keep(&key, &answer, SystemTime::now());
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an answer could not be kept"),
            Err(error) => tracing::error!(%error, "an answer was not kept"),
        }
    }

    pub(super) async fn find(
        &self,
        client: &str,
        request: &ChatRequest,
    ) -> Option<CompletionResult> {
        let cache = self.cache()?;
        let key = key_of(client, request);
        let find = move || cache.find(&key, SystemTime::now());
        tokio::task::spawn_blocking(find).await.ok().flatten()
    }

    fn cache(&self) -> Option<Arc<AnswerCache>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
