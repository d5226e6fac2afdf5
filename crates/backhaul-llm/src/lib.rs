//! Model calls that are answered whatever happens to the network.
//!
//! An [`LlmClient`] is one model that can be asked: one of a cloud, one of a server on this
//! machine, one in this process. Requests and answers are JSON as OpenAI's chat completions
//! have it, with typed views: what this version does not know passes through.
//!
//! The crate knows links and their costs. It does not know spools, nor what a record is.

mod anthropic;
mod api_key;
mod capabilities;
mod capability_manager;
mod chunk;
mod chunk_stream;
mod client;
mod clocks;
mod cloud;
mod completion;
mod content;
mod endpoint;
mod error;
mod finish_reason;
mod fit;
mod forms;
#[cfg(feature = "llama-cpp")]
mod llama_cpp;
mod message;
mod metadata;
mod offline;
mod openai;
mod request;
mod sse;
mod token_budget;
mod tool;
mod usage;

pub use crate::anthropic::AnthropicClient;
pub use crate::api_key::ApiKey;
pub use crate::capabilities::ModelCapabilities;
pub use crate::capability_manager::{Capabilities, CapabilityManager};
pub use crate::chunk::StreamChunk;
pub use crate::chunk_stream::ChunkStream;
pub use crate::client::{LlmClient, LlmFuture, TokenCount};
pub use crate::clocks::Clocks;
pub use crate::cloud::{CloudLlmClient, LocalLlmClient};
pub use crate::completion::CompletionResult;
pub use crate::content::{Content, Part};
pub use crate::endpoint::{Endpoint, RawReply, RawRequest};
pub use crate::error::{LlmError, LlmErrorKind};
pub use crate::finish_reason::FinishReason;
pub use crate::forms::{EmbeddingEncoding, EventText, Form, FormEvents, FormRequest, Stamp};
#[cfg(feature = "llama-cpp")]
pub use crate::llama_cpp::{LlamaCppClient, LlamaCppOptions};
pub use crate::message::{Message, Role};
pub use crate::metadata::{Attempt, Metadata, Outcome, Source};
pub use crate::offline::{
    Answer, AnswerCache, Asked, BreakerState, ModelCall, ModelStatus, OfflineLlmClient,
    OfflineLlmClientBuilder, OfflineLlmOptions,
};
pub use crate::openai::OpenAiClient;
pub use crate::request::{ChatRequest, Forwarded};
pub use crate::sse::{EventTooLong, SseEvent, SseParser};
pub use crate::token_budget::{BudgetAllocation, TokenBudget};
pub use crate::tool::{ToolCall, ToolDefinition};
pub use crate::usage::Usage;
