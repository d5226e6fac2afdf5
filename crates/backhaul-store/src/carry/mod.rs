//! Records that are carried to another machine, and keep their names there.
//!
//! A destination that has seen a record knows it again, whoever delivers it: the spool that
//! it was stored in, or the one that it was carried to.

mod export;
mod import;
mod naming;
mod removal;

pub use self::import::Imported;
pub use self::naming::Naming;

use crate::ledger::Settled;
use crate::record::StoredRecord;

/// A record that waits or failed, as it is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The record, with its name.
    pub record: StoredRecord,
    /// Where it does not simply wait: [`State::Rejected`](crate::State::Rejected) with the
    /// reason, [`State::Unknown`](crate::State::Unknown), [`State::Held`](crate::State::Held),
    /// or [`State::Started`](crate::State::Started) where an attempt began and nobody knows
    /// what it came to.
    pub settled: Option<Settled>,
}
