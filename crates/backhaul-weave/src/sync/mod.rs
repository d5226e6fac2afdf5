//! Delivery of what an [`OfflineTraceServer`](crate::OfflineTraceServer) holds to a real server.
//!
//! # How it goes
//! Each kind of a project's data is a spool with a courier of its own (`couriers.rs`), whose
//! destination (`destination.rs`) first has the couriers of the kinds before it deliver what
//! waits. A batch is a [`Job`](job::Job): its records are rewritten for the server (`target.rs`,
//! `digests.rs`), left out where the server has them (`doubt.rs`), sent (`metadata.rs`, `files.rs`,
//! `tables.rs`, `objects.rs` with `ahead.rs`, `calls/`, `feedback.rs`), and get their verdicts (`fates.rs`).
//!
//! Where a version of the server does not know a path, the one that it knows is used
//! (`server.rs` remembers which); where it does not know a field, that field is left out
//! (`extra_fields.rs`).

mod ahead;
mod calls;
mod couriers;
mod destination;
mod digests;
mod doubt;
mod extra_fields;
mod fates;
mod feedback;
mod files;
mod forwarder;
mod job;
mod memory;
mod metadata;
mod objects;
mod otel;
mod server;
mod statistics;
mod syncer;
mod tables;
mod target;

pub use self::forwarder::{CourierStatus, WeaveForwarder};
pub use self::statistics::SyncStatistics;
pub(crate) use self::syncer::remote_of;
pub use self::syncer::{
    OfflineDataSyncer, SyncArguments, init_weave_get_server, sync_offline_data,
};
