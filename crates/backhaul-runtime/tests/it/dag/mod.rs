//! Graphs and their schedules.

mod checks;
mod forms;
mod generated;
mod mermaid;
mod model;
mod properties;
mod schedules;
