//! A model call that is answered whatever happens to the network.

mod asked;
mod breaker;
mod client;
mod failover;
mod gate;
mod link;
mod member;
mod options;
mod probing;
mod slots;
mod trail;
mod watched;

#[cfg(test)]
mod tests;

pub use self::asked::Asked;
pub use self::breaker::BreakerState;
pub use self::client::{OfflineLlmClient, OfflineLlmClientBuilder};
pub use self::failover::Answer;
pub use self::member::ModelStatus;
pub use self::options::OfflineLlmOptions;
