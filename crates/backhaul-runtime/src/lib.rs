//! What an agent runs on: tools that wait for a network, graphs that resume where a crash
//! stopped them, and contexts that survive it.

mod run_status;
mod traced;

pub mod dag;
pub mod executor;
pub mod persistence;
pub mod tool_queue;
pub mod tools;

pub use self::run_status::RunStatus;
