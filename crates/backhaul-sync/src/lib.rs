//! The courier: takes records from a spool and delivers them when the link allows.
//!
//! A [`SyncManager`] joins one [`Spool`](backhaul_store::Spool) and one
//! [`Destination`]. It drains the spool for as long as records and the link last,
//! puts off what the destination wants later, isolates the record that spoils a
//! batch, and waits longer and longer while nothing gets through. An outage spends
//! no record's retries. A [`SyncPrioritizer`] says which records go first.
//!
//! The crate knows spools and clocks. It does not know what a record means, nor how
//! a destination is reached.

mod backoff;
mod blocking;
mod destination;
mod due;
mod link_error;
mod options;
mod prioritizer;
mod report;
mod sync_manager;

pub use crate::backoff::{Backoff, BackoffStrategy, UnknownStrategy};
pub use crate::destination::{Deliver, Destination, Verdict};
pub use crate::link_error::{LinkError, LinkErrorKind};
pub use crate::options::{OptionError, SyncOptions};
pub use crate::prioritizer::{
    Describe, Entry, FailingRule, LaneScores, PrioritizerConfig, PrioritizerError, RuleConfig,
    SyncPrioritizer, SyncPrioritizerBuilder,
};
pub use crate::report::{Blocked, BlockedKind, SyncReport, SyncStatus};
pub use crate::sync_manager::SyncManager;
