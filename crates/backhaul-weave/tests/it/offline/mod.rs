//! The folder that takes what a trace server would.

mod basics;
mod cleaning;
mod crashes;
mod imported;
mod limits;
mod processes;
mod support;
mod trouble;
