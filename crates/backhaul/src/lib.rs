//! AI agents on devices that lose their network keep working, and nothing that they
//! did is lost.
//!
//! Everything that has to leave the device is stored on disk first and forwarded
//! when the link is back. This crate is the front of the project: it names what the
//! crates below it hold, and nothing else. The binary `backhaul` comes from here too.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | durable spools: records, ledger, quota, recovery |
//! | [`sync`] | the courier: destinations, retries, backoff |
//! | [`observability`] | run records, contexts and run loggers |

pub use backhaul_store as store;
pub use backhaul_sync as sync;

/// Run records, what they are made of, and the loggers that collect them.
pub mod observability {
    pub use backhaul_agent::*;
}
