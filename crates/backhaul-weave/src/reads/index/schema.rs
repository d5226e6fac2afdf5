//! The tables of the index. `docs/format.md` says what they are for.

use redb::TableDefinition;
use sha2::{Digest as _, Sha256};

/// What else the index holds: `format`, and `device.KIND`, the spool that it tells of.
pub(crate) const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
pub(crate) const FORMAT: &str = "format";
pub(crate) const CURRENT_FORMAT: &str = "2";

/// Kind and chain: first sequence that is on disk, the one after the last that is in the
/// index, and when that last one was stored (microseconds).
pub(crate) const PLACES: TableDefinition<'_, (u8, &str), (u64, u64, i64)> =
    TableDefinition::new("places");

/// Numbers of calls by their ids.
pub(crate) const IDS: TableDefinition<'_, &str, u32> = TableDefinition::new("ids");
/// Calls by number.
pub(crate) const CALLS: TableDefinition<'_, u32, StoredCall<'static>> =
    TableDefinition::new("calls");
/// Calls that have a start, in the order of it: the start and their number.
pub(crate) const STARTS: TableDefinition<'_, (i64, u32), ()> = TableDefinition::new("starts");
/// What calls are found by: kind of key, its hash, start of the call, its number.
pub(crate) const KEYS: TableDefinition<'_, (u8, u64, i64, u32), ()> = TableDefinition::new("keys");
/// Calls that were deleted: when, and the record that says so.
pub(crate) const DELETED: TableDefinition<'_, u32, (i64, u64)> = TableDefinition::new("deleted");
/// Names of ops and addresses that calls refer to, up to their versions; each once, for
/// patterns.
pub(crate) const OP_NAMES: TableDefinition<'_, &str, ()> = TableDefinition::new("op_names");

/// What happened to an object: its name, when, kind of record, place.
pub(crate) const OBJECTS: TableDefinition<'_, (&str, i64, u8, u64), StoredEvent<'static>> =
    TableDefinition::new("objects");

/// Tables by digest: the record that says what is in it, and the number of rows.
pub(crate) const TABLES: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("tables");
/// Rows by the hash of their digest: the record, and which of its rows.
pub(crate) const ROWS: TableDefinition<'_, u64, (u64, u32)> = TableDefinition::new("rows");

/// Feedback in the order in which it came: its id, and the hash of what it is about.
pub(crate) const FEEDBACK: TableDefinition<'_, (i64, u64), (&str, u64)> =
    TableDefinition::new("feedback");
/// The same by that hash.
pub(crate) const FEEDBACK_OF: TableDefinition<'_, (u64, i64, u64), ()> =
    TableDefinition::new("feedback_of");
/// Records that removed feedback, in the order in which they came.
pub(crate) const PURGES: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("purges");

/// Id, places of start and end, start and end in microseconds, marks, number of the
/// parent, and the name that it got: when, by which record.
pub(crate) type StoredCall<'a> = (
    &'a str,
    Option<u64>,
    Option<u64>,
    i64,
    Option<i64>,
    u8,
    Option<u32>,
    Option<(i64, u64, &'a str)>,
);

/// What happened (a number of [`Event`](super::Event)), digest, base class, leaf class, and
/// digests, tags or aliases.
pub(crate) type StoredEvent<'a> = (u8, &'a str, Option<&'a str>, Option<&'a str>, Vec<&'a str>);

/// What calls are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum KeyKind {
    /// Calls without a parent; the hash is 0.
    Root,
    Op,
    Trace,
    Parent,
    Thread,
    Turn,
    Run,
    User,
    /// An address that the inputs hold, and what stands in it before the version.
    Input,
    /// The same of outputs. The start is 0: it may not be known when the call ends.
    Output,
}

/// The first bytes of the SHA-256 of a text.
pub(crate) fn hash(text: &str) -> u64 {
    Sha256::digest(text).into_iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(byte))
}
