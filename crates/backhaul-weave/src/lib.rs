//! Weave's trace data, kept on disk until its server can be reached.
//!
//! # What is here
//! - [`digest`]: the names that Weave's server gives to objects, table rows, tables and files,
//!   so that what refers to them while it cannot be reached refers to the right thing later.
//! - [`refs`]: the addresses by which values refer to each other, and how they are rewritten.
//! - [`salvage`]: what can still be read of damaged files.
//! - [`OfflineTraceServer`]: the folder that takes what a server would.
//! - [`Reads`]: what was logged, answered as a server would.
//! - [`Remote`], [`Credentials`]: a server, and the key that it is asked with.
//! - [`WeaveForwarder`], [`sync_offline_data`]: delivery to it.
//! - [`Entry`], [`Kind`]: what is logged, and what it is sorted by.
//! - [`ProjectId`]: a project of an entity, and the folder that its data lies in.
//!
//! ```
//! use backhaul_weave::{ProjectId, digest};
//!
//! let value = backhaul_json::from_slice(br#"{"a": 1, "b": [1, 2, 3], "c": {"d": null}}"#)?;
//! assert_eq!(digest::of_value(&value), "Ybm7UTiaQS9I0VeKCUGILJlkmxlY9Xl3ceG7FLqi0Tw");
//!
//! let project: ProjectId = "my_team/my_project".parse()?;
//! assert_eq!(project.folder().to_str(), Some("my_team/my_project"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod credentials;
pub mod digest;
mod entry;
mod error;
mod inflate;
mod json;
mod kind;
mod offline;
mod project;
mod reads;
pub mod refs;
mod remote;
pub mod salvage;
mod sync;

pub use backhaul_weave_macros::op;
#[cfg(feature = "tracing-layer")]
pub use client::WeaveLayer;
#[cfg(feature = "opentelemetry")]
pub use client::WeaveSpanExporter;
#[doc(hidden)]
pub use client::macro_support;
pub use client::{
    Call, CallBuilder, CallRecord, CallStatus, CallTree, CallsRequest, Content, Context, Cost,
    Dataset, Exception, Feedback, InContext, Init, LoggingStatus, Object, ObjectRef, Publish,
    WeaveClient, add_tags, attributes, call, calls, calls_in, client, current_call,
    delete_object_version, feedback, finish, get, get_call, init, publish, rows, set_aliases,
    spawn, spawn_blocking, spawn_thread, thread, trace_tree, with_call, with_call_async,
};
pub use credentials::Credentials;
pub use entry::{DIGEST_LABEL, Entry, EntryType, OBJECT_LABEL};
pub use error::{TraceError, TraceErrorKind};
pub use json::plain_json;
pub use kind::Kind;
pub use offline::{
    Cleaned, CleanedKind, CreatedTable, Imported, OfflineOptions, OfflineTraceServer,
    ReceivedFiles, STATE, UpdatedTable,
};
pub use project::{ProjectError, ProjectId};
pub use reads::{Calls, CallsFilter, CallsQuery, Direction, Reads, SortBy};
pub use remote::Remote;
pub use sync::{
    CourierStatus, OfflineDataSyncer, SyncArguments, SyncStatistics, WeaveForwarder,
    init_weave_get_server, sync_offline_data,
};
