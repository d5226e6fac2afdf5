//! Graphs that are run.

mod attempts;
mod cancellation;
mod conflicts;
mod crashes;
mod disk_trouble;
mod kills;
mod llm;
mod logging;
mod properties;
mod resumes;
mod runs;
mod support;
