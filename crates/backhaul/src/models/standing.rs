//! What can be done now, as the models stand.

use std::time::Duration;

use backhaul_llm::{
    Capabilities, CapabilityManager, LlmClient, ModelCapabilities, OfflineLlmClient,
};
use serde_json::{Map, Value};
use tokio_util::task::AbortOnDropHandle;

/// The wait before a fallback that does not answer is asked again what it can do. It doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait. One that has answered is asked again as well: another model may be there.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What can be done now: what the primary can while it is asked, else what the first fallback
/// can.
pub(super) struct Standing {
    manager: CapabilityManager,
    /// One client for each primary, of which programs mostly ask one alone: online is while
    /// none of them is left alone.
    clients: [OfflineLlmClient; 2],
    _learning: AbortOnDropHandle<()>,
}

impl Standing {
    /// In a runtime.
    pub(super) fn new(client: &OfflineLlmClient, messages: &OfflineLlmClient) -> Self {
        let online = named(client.name(), ModelCapabilities::ALL);
        let manager = CapabilityManager::new(online, nothing()).initially_online();
        let learning = tokio::spawn(learn(client.clone(), manager.clone()));
        Self {
            manager,
            clients: [client.clone(), messages.clone()],
            _learning: AbortOnDropHandle::new(learning),
        }
    }

    /// As it is at this moment.
    pub(super) async fn now(&self) -> Capabilities {
        let [client, messages] = &self.clients;
        let is_online = client.is_primary_asked().await && messages.is_primary_asked().await;
        self.manager.set_online(is_online);
        self.manager.current()
    }

    /// Waits for a primary to be left alone, or to be so no more, or for models that tell
    /// something new of themselves.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let [mut of_client, mut of_messages] =
            self.clients.each_ref().map(OfflineLlmClient::primary_state);
        let mut told = self.manager.subscribe();
        async move {
            tokio::select! {
                _ = of_client.changed() => {}
                _ = of_messages.changed() => {}
                _ = told.changed() => {}
            }
        }
    }
}

/// Asks the models what they can do, as long as this is wanted.
async fn learn(client: OfflineLlmClient, manager: CapabilityManager) {
    let mut models = client.models();
    if let Some(online) = told_by(models.next()).await {
        manager.set_online_capabilities(online);
    }
    let fallback = models.next();
    let mut wait = FIRST_WAIT;
    while fallback.is_some() {
        if let Some(offline) = told_by(fallback).await {
            manager.set_offline_capabilities(offline);
            wait = LONGEST_WAIT;
        }
        tokio::time::sleep(wait).await;
        wait = LONGEST_WAIT.min(wait * 2);
    }
}

async fn told_by(model: Option<&dyn LlmClient>) -> Option<Map<String, Value>> {
    let model = model?;
    match model.capabilities().await {
        Ok(told) => Some(named(model.name(), told)),
        Err(error) => {
            tracing::debug!(client = model.name(), %error, "it is not known what a model can do");
            None
        }
    }
}

fn named(name: &str, told: ModelCapabilities) -> Map<String, Value> {
    let mut named = told.to_json();
    named.insert("model".to_owned(), name.into());
    named
}

/// Where there is no fallback, or none that has told.
fn nothing() -> Map<String, Value> {
    let told = ModelCapabilities::TEXT.with_context_tokens(0).to_json();
    told.into_iter().chain([("model".to_owned(), Value::Null)]).collect()
}
