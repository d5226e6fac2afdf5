//! Durable spools: where everything that must leave a device waits on disk until
//! it is delivered.
//!
//! A [`Spool`] takes [`Record`]s and acknowledges them when they are on stable
//! storage; hands them to a courier in order ([`Spool::take`]); and keeps the
//! books of what became of each ([`Spool::settle`], [`Spool::status`]). Records
//! stand in one of two [`Layout`]s of documented, open formats (JSON, JSON Lines,
//! gzip), which `ls`, `zcat`, `jq` and DuckDB read.
//!
//! The crate is synchronous and knows nothing of networks, async runtimes or
//! agents. The bytes on disk are described in `docs/format.md`, what survives
//! what in `docs/guarantees.md`.

mod attachments;
mod carry;
mod checked_line;
mod clean;
mod clock;
mod commit;
mod context;
mod courier;
mod disk;
mod error;
mod examine;
mod file_room;
mod folder;
mod high_water;
mod id;
mod identity;
mod json_text;
mod layout;
mod ledger;
mod lookup;
mod maintenance;
mod misplaced;
mod options;
mod os_disk;
mod picker;
mod quota;
mod record;
mod room;
mod segment;
mod shared_cap;
mod spool;
mod status;
mod tail;

pub use crate::attachments::Attachment;
pub use crate::carry::{Carried, Imported, Naming};
pub use crate::checked_line::{open_line, seal_line};
pub use crate::clean::Cleaned;
pub use crate::clock::{Clock, Moment, SystemClock, Timestamp};
pub use crate::commit::Ticket;
pub use crate::courier::{Batch, Choice, Chooser, Limits, Offer, Scorer, WINDOW, Waited};
pub use crate::disk::{Disk, DiskFile, Entry, Open, Space};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::examine::{Examination, Finding};
pub use crate::file_room::FileRoom;
pub use crate::high_water::HighWater;
pub use crate::id::{Chain, DeviceId, Epoch, Lane, Position, RecordId, Sequence};
pub use crate::identity::machine_evidence;
pub use crate::ledger::{Attempts, Books, Failure, Settled, State};
pub use crate::options::{Layout, MIN_CAP_BYTES, Options, WhenFull};
pub use crate::os_disk::OsDisk;
pub use crate::picker::Picker;
pub use crate::record::{Facts, Flush, RESERVED_KEY, Record, Stamp, StoredRecord, parse_line};
pub use crate::segment::is_segment;
pub use crate::shared_cap::SharedCap;
pub use crate::spool::{DEFAULT_DESTINATION, Spool};
pub use crate::status::{QueueEntry, Standing, Status};
