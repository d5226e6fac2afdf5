//! Calls of tools that wait for a network, and the ledger of what became of them.
//!
//! A call is stored before anything else (its *intent*), noted as *started* before its first
//! byte can leave, and its *outcome* is stored before the call is settled. So a crash at any
//! moment leaves one of four things: no call; a call that waits; a call of which nobody knows
//! whether it was done, which the tool's [`OnUnknown`](crate::tools::OnUnknown) decides; or its
//! outcome. Each is on stable storage before the next can be.
//!
//! | kept in | what |
//! |---|---|
//! | `pending/`, `synced/`, `failed/` | the calls: JSON, one file each, as of the CEMAF document's queue |
//! | `results/` | what calls came to, by their keys |
//! | the ledger | when each was tried, and what came of it |

mod attempt;
mod builder;
mod call_outcome;
mod options;
mod outcomes;
mod processor;
mod queue;
mod queue_error;
mod queue_status;
mod record;
mod shared;
mod unknown;

pub use self::builder::ToolQueueBuilder;
pub use self::call_outcome::CallOutcome;
pub use self::options::ToolQueueOptions;
pub use self::outcomes::Outcome;
pub use self::queue::{Placed, ToolQueue};
pub use self::queue_error::{ToolQueueError, ToolQueueErrorKind};
pub use self::queue_status::{Drained, ToolQueueStatus, UnknownCall};
pub(crate) use self::shared::Tried;
pub use self::unknown::Decision;
