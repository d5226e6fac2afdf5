//! What can be done now, as the models stand.

use std::sync::Arc;
use std::time::Duration;

use backhaul_llm::{
    BreakerState, Capabilities, CapabilityManager, LlmClient, ModelCapabilities, OfflineLlmClient,
};
use serde_json::{Map, Value};
use tokio::sync::{SetOnce, watch};
use tokio_util::task::AbortOnDropHandle;

/// How long who asks waits for the first look at the primary. Until that is done it is offline.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it is noticed that an outage was planned or a link was lost. Nothing tells of those.
const LOOK: Duration = Duration::from_secs(1);
/// The wait before a fallback that does not answer is asked again what it can do. It doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait. One that has answered is asked again as well: another model may be there.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What can be done now: what the primary can while it is asked, else what the first fallback
/// can. It is kept up from the first time that somebody wants to know.
pub(super) struct Standing {
    observer: Arc<Observer>,
    _observing: AbortOnDropHandle<()>,
}

struct Observer {
    manager: CapabilityManager,
    client: OfflineLlmClient,
    /// The one with Anthropic's server as its primary, which programs ask or do not.
    messages: OfflineLlmClient,
    /// Whether the first look at the primary is done.
    looked: SetOnce<()>,
}

impl Standing {
    /// In a runtime.
    pub(super) fn new(client: OfflineLlmClient, messages: OfflineLlmClient) -> Self {
        let online = named(client.name(), ModelCapabilities::ALL);
        let manager = CapabilityManager::new(online, nothing());
        let observer = Arc::new(Observer { manager, client, messages, looked: SetOnce::new() });
        let observing = {
            let observer = Arc::clone(&observer);
            tokio::spawn(async move {
                tokio::join!(observer.follow(), observer.learn());
            })
        };
        Self { observer, _observing: AbortOnDropHandle::new(observing) }
    }

    /// As it is at this moment.
    pub(super) async fn now(&self) -> Capabilities {
        let _ = tokio::time::timeout(PATIENCE, self.observer.looked.wait()).await;
        self.observer.judge().await;
        self.observer.manager.current()
    }

    /// As it is at this moment, and then at each change.
    pub(super) async fn changes(&self) -> watch::Receiver<Capabilities> {
        self.now().await;
        let mut changes = self.observer.manager.subscribe();
        changes.mark_changed();
        changes
    }
}

impl Observer {
    /// Looks at the primary once; then the calls tell.
    async fn follow(&self) {
        self.client.look().await;
        let _ = self.looked.set(());
        let [mut of_client, mut of_messages] =
            [&self.client, &self.messages].map(OfflineLlmClient::primary_state);
        loop {
            self.judge().await;
            let changed = async {
                tokio::select! {
                    _ = of_client.changed() => {}
                    _ = of_messages.changed() => {}
                }
            };
            let _ = tokio::time::timeout(LOOK, changed).await;
        }
    }

    /// Online is while no primary is left alone.
    async fn judge(&self) {
        let is_left_alone = *self.messages.primary_state().borrow() == BreakerState::Open;
        let is_online =
            self.looked.initialized() && !is_left_alone && self.client.is_primary_asked();
        self.manager.set_online(is_online);
    }

    /// Asks the models what they can do, again and again.
    async fn learn(&self) {
        let mut models = self.client.models();
        if let Some(online) = told_by(models.next()).await {
            self.manager.set_online_capabilities(online);
        }
        let Some(fallback) = models.next() else { return };
        let mut wait = FIRST_WAIT;
        loop {
            if let Some(offline) = told_by(Some(fallback)).await {
                self.manager.set_offline_capabilities(offline);
                wait = LONGEST_WAIT;
            }
            tokio::time::sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
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
