//! Models for tests: one of the cloud that goes wrong by number, a real local one, and the
//! programs that ask them with real clients.

mod chat;
mod events;
mod fault;
mod form;
mod llama_server;
mod other_forms;
mod probe;
mod refusal;
mod scenario;
mod script;
mod tiny_model;

pub use self::llama_server::{LlamaOptions, LlamaServer};
pub use self::probe::{anthropic_probe, openai_node_probe, openai_probe};
pub use self::scenario::LlmScenario;
pub use self::script::LlmScript;
pub use self::tiny_model::TinyModel;

/// What the model of [`FaultServer::llm`](crate::FaultServer::llm) says, so that it cannot be
/// mistaken for the local one.
pub const CLOUD_TEXT: &str = "Cloud model here.";

/// What its server says in `X-Request-Id` of each answer.
pub const CLOUD_REQUEST_ID: &str = "req-of-the-cloud";

/// What [`TinyModel::chain`] says.
pub const LOCAL_TEXT: &str = "Offline model here: the network is down.";

/// [`CLOUD_TEXT`], as it is streamed.
const CLOUD_TOKENS: [&str; 7] = ["Clo", "ud", " mo", "del", " he", "re", "."];
