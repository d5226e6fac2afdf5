//! Clients of models against servers that go wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod anthropic;
mod llama;
#[cfg(feature = "llama-cpp")]
mod llama_cpp;
mod offline;
mod openai;
mod scenarios;
mod support;
