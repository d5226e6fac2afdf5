//! What the crate gives, seen from outside.

mod forms;
