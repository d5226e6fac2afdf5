//! Tools: what an agent does to the world, and what becomes of it without a network.
//!
//! A function becomes one by [`#[tool]`](macro@tool). A model is told of it by its documentation
//! and its parameters, and what it calls with other arguments is refused:
//!
//! ```
//! use backhaul_runtime::tools::schemars::JsonSchema;
//! use backhaul_runtime::tools::{
//!     IdempotencyKey, OfflinePolicy, Tool, ToolError, ToolErrorKind, ToolInvocation,
//!     ToolRegistry, tool,
//! };
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//! use std::time::Duration;
//!
//! const DAY: Duration = Duration::from_secs(86_400);
//!
//! /// How bad it is.
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! #[schemars(crate = "backhaul_runtime::tools::schemars")]
//! #[serde(rename_all = "lowercase")]
//! enum Level {
//!     Warning,
//!     Alarm,
//! }
//!
//! /// Send a notification to those on duty.
//! #[tool(offline_policy = OfflinePolicy::Queue, expires_after = 3 * DAY)]
//! async fn notify(
//!     /// What they read.
//!     text: &str,
//!     #[default = Level::Warning] level: Level,
//!     key: IdempotencyKey,
//! ) -> Result<String, ToolError> {
//!     // Sent along, so that the receiver does it once, however often it is tried.
//!     let level = json!(level);
//!     Ok(format!("{level}: {text} ({} letters of key)", key.as_str().len()))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let tools = ToolRegistry::new().with(notify::tool())?;
//! let notify = tools.get("notify").unwrap();
//! assert_eq!(notify.definition().parameters["required"], json!(["text"]));
//!
//! let arguments = json!({"text": "hot"}).as_object().unwrap().clone();
//! let key = IdempotencyKey::of("notify", &arguments, "run_1/alert/0");
//! let result = notify.call(&ToolInvocation { arguments, key, attempts: 0 }).await;
//! assert_eq!(result, Ok(json!("\"warning\": hot (32 letters of key)")));
//!
//! let wrong = json!({"text": "hot", "level": "panic"});
//! let error = notify.check_arguments(wrong.as_object().unwrap()).unwrap_err();
//! assert_eq!(error.kind(), ToolErrorKind::InvalidArguments);
//! assert_eq!(
//!     error.to_string(),
//!     "the argument `level`: unknown variant `panic`, expected `warning` or `alarm`",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a tool returns by [`Result`] says what it means for those who would try again
//! ([`ToolErrorKind`]); any error can be returned, and [`ToolError`] says how it is read.

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
