//! The ledger: what became of each record.
//!
//! An append-only log of settlements, one JSON line each, that starts with a
//! snapshot of all before it. Losing its unflushed end means that records are
//! sent again, never that one is lost. Format: `docs/format.md`.

mod account;
mod boots;
mod entry;
mod log;

pub(crate) use self::account::Account;
pub use self::account::{Attempts, Books, Failure};
pub(crate) use self::boots::Boot;
pub(crate) use self::entry::Entry;
pub use self::entry::{Settled, State};
pub(crate) use self::log::Ledger;
