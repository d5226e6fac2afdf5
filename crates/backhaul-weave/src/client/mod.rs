//! Weave for programs in Rust: what they do is logged to the folder, and read from it.

mod arguments;
mod call;
mod call_state;
mod changes;
mod content;
mod context;
mod exception;
mod feedback;
mod init;
mod json_object;
pub mod macro_support;
mod object_ref;
mod online;
mod op;
#[cfg(feature = "opentelemetry")]
mod otel;
mod phase;
mod publish;
mod query;
mod queue;
mod recorder;
mod running;
mod spawn;
mod summary;
mod sync;
#[cfg(feature = "tracing-layer")]
mod tracing_layer;
mod trouble;
mod value;
mod weave_client;
mod writer;

pub use self::call::{Call, CallBuilder, call, current_call, with_call, with_call_async};
pub use self::changes::{Cost, add_tags, delete_object_version, set_aliases};
pub use self::content::Content;
pub use self::context::{Context, InContext};
pub use self::exception::Exception;
pub use self::feedback::{Feedback, feedback};
pub use self::init::{Init, init};
pub use self::object_ref::ObjectRef;
#[cfg(feature = "opentelemetry")]
pub use self::otel::WeaveSpanExporter;
pub use self::publish::{Dataset, Object, Publish, publish};
pub use self::query::{
    CallRecord, CallStatus, CallTree, CallsRequest, calls, calls_in, get, get_call, rows,
    trace_tree,
};
pub use self::spawn::{attributes, spawn, spawn_blocking, spawn_thread, thread};
#[cfg(feature = "tracing-layer")]
pub use self::tracing_layer::WeaveLayer;
pub use self::weave_client::{LoggingStatus, WeaveClient, client, finish};
