//! Graphs and their schedules.

mod checks;
mod forms;
pub(crate) mod generated;
mod mermaid;
mod model;
mod properties;
mod schedules;
