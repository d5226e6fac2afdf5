//! The folder that takes what a trace server would.
//!
//! What went wrong before, and where it would be noticed here. In the prototype of Weave's
//! offline mode:
//! - several threads or processes spoil each other's files: [`processes`]
//! - a kill leaves a torn file, what is appended behind it is lost, and nobody says so:
//!   [`processes`] (kills), [`crashes`], [`imported`] (damaged files, counted)
//! - digests are random, so that references lead nowhere: [`basics`], [`imported`]
//! - files are removed at once: [`cleaning`] (what waits, what was refused)
//! - files that were delivered are read again: [`imported`] (left out)
//! - no fsync, no checksum: [`crashes`]; in `trouble`, that a disk's error is one of the caller
//! - times of day without a zone: [`imported`]; rotation that counts one thing and compares
//!   another, no cap: [`limits`]
//!
//! In the write-ahead log of weave 0.54.0:
//! - the last records of a quiet process are not flushed: [`crashes`] cuts the power after each
//! - binary files are not stored at all: [`basics`]; refused records go with their file:
//!   [`cleaning`]
//! - no room is a line in a log, and the record is gone: [`trouble`], [`limits`]

mod basics;
mod cleaning;
mod crashes;
mod hooked;
mod imported;
mod limits;
mod processes;
pub(crate) mod support;
mod trouble;
