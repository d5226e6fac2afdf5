//! The courier: takes records from a spool and delivers them when the link allows.
//!
//! A [`SyncManager`] joins one [`Spool`](backhaul_store::Spool) and one
//! [`Destination`]. It drains the spool for as long as records and the link last,
//! puts off what the destination wants later, isolates the record that spoils a
//! batch, and waits longer and longer while nothing gets through. An outage spends
//! no record's retries. A [`SyncPrioritizer`] says which records go first.
//!
//! A [`BandwidthManager`] keeps the device's data cap and its rate.
//!
//! A [`ConnectivityMonitor`] tells whether there is a link.
//!
//! The crate knows spools and clocks. It does not know what a record means, nor how
//! a destination is reached.

mod backoff;
mod bandwidth;
mod blocking;
mod causes;
mod connectivity;
mod destination;
mod due;
mod events;
mod link_error;
mod options;
mod oversized;
mod planned_outage;
mod prioritizer;
mod report;
mod sync_manager;
mod tls;
mod transport;
mod way;

pub use crate::backoff::{Backoff, BackoffStrategy, UnknownStrategy};
pub use crate::bandwidth::{
    BandwidthManager, BandwidthOptions, BandwidthStatus, CONNECTION_BYTES, ClockCheck, Criticality,
    Denied, KernelClock, Refill, Reservation, wire_bytes,
};
pub use crate::connectivity::{
    Async, Callback, CallbackHandle, Check, CheckRule, CheckUrl, Connectivity, ConnectivityMonitor,
    ConnectivityOptions, ConnectivityStatus, Evidence, HttpProbe, LinkChange, LinkEvents, Listen,
    Plain, Probe, ProbeBytes, ProbeError, ProbeErrorKind, SystemLinkEvents,
};
pub use crate::destination::{Deliver, Destination, Verdict};
pub use crate::events::{EventHandle, SyncEvent, SyncEvents};
pub use crate::link_error::{LinkError, LinkErrorKind};
pub use crate::options::{OptionError, SyncOptions};
pub use crate::oversized::Oversized;
pub use crate::planned_outage::PlannedOutage;
pub use crate::prioritizer::{
    Describe, Entry, FailingRule, LaneScores, PrioritizerConfig, RuleConfig, SyncPrioritizer,
    SyncPrioritizerBuilder,
};
pub use crate::report::{Blocked, BlockedKind, SyncReport, SyncStatus};
pub use crate::sync_manager::SyncManager;
/// The parts of a courier that decide when and how much, for simulations that move the
/// clock themselves. No part of the interface.
#[doc(hidden)]
pub mod decisions {
    pub use crate::sync_manager::outage::Outage;
    pub use crate::sync_manager::pace::Pace;
}

pub use crate::transport::{Answer, Incoming, Request, Transport, TransportError, shown_url};
pub use reqwest::{Method, Url, header};
pub use way::Way;
