//! Finds out when a model that was left alone can be asked again, so that no call has to.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::breaker::BreakerState;
use super::member::Member;
use super::options::OfflineLlmOptions;
use crate::client::LlmClient;
use crate::error::{LlmError, LlmErrorKind};

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at a model that was just found not to answer, `times` times in a row, until it can be
/// asked again or nobody has it any more.
pub(super) fn begin(member: &Arc<Member>, options: &OfflineLlmOptions, times: u32) {
    let (client, (_, opening)) = (member.client().name(), member.breaker.state());
    if let Some(opening) = opening {
        let error = opening.error;
        tracing::warn!(client, %error, "a model does not answer, and is left alone for now");
    }
    tokio::spawn(look_again(Arc::downgrade(member), options.clone(), times));
}

async fn look_again(member: Weak<Member>, options: OfflineLlmOptions, mut times: u32) {
    loop {
        let Some(link) = member.upgrade().map(|member| member.link.clone()) else { return };
        // What comes back with the network need not wait.
        let _ = tokio::time::timeout(options.wait(times), link.is_back()).await;
        let Some(member) = member.upgrade() else { return };
        let (state, opening) = member.breaker.state();
        let Some(opening) = opening.filter(|_| state == BreakerState::Open) else { return };
        match probe(member.client()).await {
            // It was not there, and is now: nothing speaks against it.
            Ok(()) if opening.error.kind() == LlmErrorKind::Unreachable => {
                member.breaker.close();
                tracing::info!(client = member.client().name(), "a model answers again");
                return;
            }
            // It was there before too, and did not answer: one call finds out.
            Ok(()) => return member.breaker.half_open(),
            Err(error) if error.kind() == LlmErrorKind::Unsupported => {
                return member.breaker.half_open();
            }
            Err(_) => times = times.saturating_add(1),
        }
    }
}

/// Looks at a model once.
pub(super) async fn probe(client: &Arc<dyn LlmClient>) -> Result<(), LlmError> {
    tokio::time::timeout(PATIENCE, client.probe()).await.unwrap_or_else(|_| {
        let message = format!("no answer within {PATIENCE:?} to whether it is there");
        Err(LlmError::new(LlmErrorKind::Timeout, message))
    })
}
