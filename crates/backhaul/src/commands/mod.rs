//! One module for each command.

mod carry;
pub(crate) mod clean;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod operate;
pub(crate) mod outage;
mod progress;
pub(crate) mod queue;
mod resting;
pub(crate) mod run;
pub(crate) mod serve;
mod size_for;
pub(crate) mod spool;
pub(crate) mod status;
pub(crate) mod sync;
mod sync_weave;
pub(crate) mod traces;
