//! A model call that is answered whatever happens to the network.

mod answer_cache;
mod asked;
mod breaker;
mod client;
mod failover;
mod gate;
mod kept;
mod link;
mod member;
mod options;
mod probing;
pub(crate) mod slots;
mod trail;
mod watched;

#[cfg(test)]
mod tests;

pub use self::answer_cache::AnswerCache;
pub use self::asked::Asked;
pub use self::breaker::BreakerState;
pub use self::client::{OfflineLlmClient, OfflineLlmClientBuilder};
pub use self::failover::{Answer, ModelCall};
pub use self::member::ModelStatus;
pub use self::options::OfflineLlmOptions;
