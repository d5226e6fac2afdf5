//! What survives a crash of a run: its context, patch by patch, and the nodes that it has
//! finished.
//!
//! Every step of a run is a line in a journal; every few patches, and at the end of a run, all
//! of it is written down as a checkpoint, in upstream's JSON. The bytes are described in
//! `docs/format.md`.

mod checkpoint;
mod context_persistence;
mod files;
mod journal;
mod journal_line;
pub(crate) mod nesting;
mod persistence_error;
mod persistence_options;
mod persistent_run;
mod recovery;
mod run_state;
mod run_step;

pub use self::context_persistence::{ContextPersistence, Recovery};
pub use self::persistence_error::{PersistenceError, PersistenceErrorKind};
pub use self::persistence_options::PersistenceOptions;
pub use self::persistent_run::PersistentRun;
pub use self::run_state::RunState;
pub use self::run_step::{NodeRecord, RunStep};
