//! Clients of models against servers that go wrong, and the forms in which real clients ask.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod anthropic;
mod fit;
mod forms;
mod llama;
#[cfg(feature = "llama-cpp")]
mod llama_cpp;
mod offline;
mod openai;
mod scenarios;
mod support;
