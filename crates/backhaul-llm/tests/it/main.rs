//! Models that answer, and servers that go wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "llama-cpp")]
mod llama_cpp;
