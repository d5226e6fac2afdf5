//! Tools: what an agent does to the world, and what becomes of it without a network.

mod idempotency_key;
mod tool;
mod tool_error;
mod tool_options;
mod tool_result;

pub use self::idempotency_key::IdempotencyKey;
pub use self::tool::{Probed, Tool, ToolFuture, ToolInvocation};
pub use self::tool_error::{ToolError, ToolErrorKind};
pub use self::tool_options::{OfflinePolicy, OnUnknown, ToolOptions};
pub use self::tool_result::ToolResult;
