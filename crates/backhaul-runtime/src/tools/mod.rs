//! Tools: what an agent does to the world, and what becomes of it without a network.

mod arguments;
mod failure;
mod fingerprint;
mod idempotency_key;
#[doc(hidden)]
pub mod macro_support;
mod parameters;
mod registration_error;
mod tool;
mod tool_cache;
mod tool_error;
mod tool_options;
mod tool_registry;
mod tool_request;
mod tool_result;
pub(crate) mod tool_runner;

pub use backhaul_tool_macros::tool;
pub use schemars;

pub use self::idempotency_key::IdempotencyKey;
pub use self::registration_error::{RegistrationError, RegistrationErrorKind};
pub use self::tool::{Probed, Tool, ToolFuture, ToolInvocation};
pub use self::tool_cache::{CachedResult, ToolCache, ToolCacheOptions, ToolCacheStatus};
pub use self::tool_error::{ToolError, ToolErrorKind};
pub use self::tool_options::{OfflinePolicy, OnUnknown, ToolOptions};
pub use self::tool_registry::ToolRegistry;
pub use self::tool_request::ToolRequest;
pub use self::tool_result::ToolResult;
pub use self::tool_runner::ToolRunner;
