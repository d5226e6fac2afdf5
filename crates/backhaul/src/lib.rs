//! AI agents on devices that lose their network keep working, and nothing that they
//! did is lost.
//!
//! Everything that has to leave the device is stored on disk first and forwarded
//! when the link is back. This crate is the front of the project: it names what the
//! crates below it hold, and puts them together as the configuration says. The binary `backhaul` comes from here too.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | durable spools: records, ledger, quota, recovery |
//! | [`sync`] | the courier: destinations, retries, backoff |
//! | [`observability`] | run records, contexts and run loggers |
//! | [`offline`] | the parts that an agent on a device is made of, and factories for them |
//! | [`llm`] | model calls that are answered whatever happens to the network |
//! | [`tools`] | what an agent can do, with or without a network |
//! | [`orchestration`] | graphs of steps, and the contexts that they carry |
//! | [`weave`] | Weave's trace data, kept until its server can be reached |
//! | [`config`] | settings: flags, environment, file |
//!
//! Features, all on by default: `control` (an agent serves a control socket), `cli` (the
//! binary, with the hub). Without both no HTTP server is built. Off by default: `llama-cpp` and
//! `tiktoken` (models), `tracing-layer` and `opentelemetry` (Weave's calls of programs that trace).
//!
//! ```
//! use backhaul::observability::{InMemoryRunLogger, RunEnd, RunLogger};
//! use backhaul::offline::{OfflineQueue, OfflineRunLogger};
//!
//! let dir = std::env::temp_dir().join(format!("backhaul-front-doc-{}", std::process::id()));
//! let logger = OfflineRunLogger::builder()
//!     .primary(InMemoryRunLogger::new())
//!     .queue(OfflineQueue::new(&dir)?)
//!     .build()?;
//! logger.start_run("run_001".into());
//! logger.end_run(RunEnd::new())?;
//! // The run is on stable storage now, and waits for a courier.
//! assert_eq!(logger.offline_queue().stats()?.pending, 1);
//! # drop(logger);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the commands use more of it"))]

// The agent of the demo is the example that users are shown, which goes by the crate's name.
#[cfg(feature = "cli")]
extern crate self as backhaul;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ReadmeExamples;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/models.md")]
struct ModelsExamples;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/weave-rust.md")]
struct WeaveExamples;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/agents.md")]
struct AgentsExamples;

pub mod config;

#[cfg(feature = "cli")]
mod backup;
#[cfg(feature = "cli")]
mod bundle;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod collector;
#[cfg(feature = "cli")]
mod commands;
#[cfg(feature = "control")]
mod control;
#[cfg(feature = "cli")]
mod courier;
#[cfg(feature = "cli")]
mod data_dir;
#[cfg(feature = "cli")]
mod demo;
#[cfg(feature = "control")]
mod exit;
#[cfg(feature = "cli")]
mod gateway;
#[cfg(feature = "cli")]
mod hub;
#[cfg(feature = "control")]
mod hub_address;
#[cfg(feature = "cli")]
mod intake;
#[cfg(feature = "cli")]
mod log;
#[cfg(feature = "control")]
mod metrics;
#[cfg(feature = "control")]
mod model_report;
#[cfg(feature = "cli")]
mod models;
#[cfg(feature = "cli")]
mod old_weave_data;
#[cfg(feature = "cli")]
mod printer;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program;
#[cfg(feature = "control")]
mod record_name;
#[cfg(feature = "control")]
#[cfg(feature = "cli")]
mod reference;
mod report;
#[cfg(feature = "cli")]
mod runtime;
#[cfg(feature = "control")]
mod synced;

pub use backhaul_llm as llm;
pub use backhaul_runtime::tools;
pub use backhaul_store as store;
pub use backhaul_sync as sync;
pub use backhaul_weave as weave;

/// Run records, what they are made of, and the loggers that collect them.
pub mod observability {
    pub use backhaul_agent::*;
}

/// Graphs of an agent's steps.
pub mod orchestration {
    pub use backhaul_runtime::RunStatus;
    pub use backhaul_runtime::dag::*;
    pub use backhaul_runtime::executor::*;
}

/// What keeps an agent working without a network: its queue, its logger, its courier.
pub mod offline {
    pub mod factories;
    pub mod outage;

    pub use self::factories::{
        ConfiguredLogger, FactoryError, create_offline_llm_client, create_offline_logger,
        create_offline_logger_from_config, create_sync_manager,
    };
    pub use self::outage::{OutageReport, OutageSwitch};
    pub use crate::config::OfflineConfig;
    #[cfg(feature = "control")]
    pub use crate::control::ControlSocket;
    pub use backhaul_agent::{
        Enqueued, OfflineQueue, OfflineQueueBuilder, OfflineRunLogger, OfflineRunLoggerBuilder,
        QueueError, QueueErrorKind, QueueStats,
    };
    pub use backhaul_llm::{CapabilityManager, OfflineLlmClient, OfflineLlmOptions};
    pub use backhaul_runtime::persistence::{
        ContextPersistence, PersistenceError, PersistenceErrorKind, PersistenceOptions,
        PersistentRun, Recovery, RunState,
    };
    pub use backhaul_runtime::tool_queue::{
        CallOutcome, Decision, Drained, Placed, ToolQueue, ToolQueueBuilder, ToolQueueError,
        ToolQueueErrorKind, ToolQueueOptions, ToolQueueStatus, UnknownCall,
    };
    pub use backhaul_runtime::tools::OfflinePolicy;
    pub use backhaul_sync::{
        BackoffStrategy, Entry, LaneScores, Oversized, PrioritizerConfig, RuleConfig, SyncManager,
        SyncOptions, SyncPrioritizer, SyncReport, SyncStatus,
    };
    pub use backhaul_sync::{Connectivity, ConnectivityMonitor, ConnectivityOptions};
}
