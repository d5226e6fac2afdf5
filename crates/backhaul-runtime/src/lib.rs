//! What an agent runs on: tools that wait for a network, graphs that resume where a crash
//! stopped them, and contexts that survive it.

pub mod dag;
pub mod tools;
