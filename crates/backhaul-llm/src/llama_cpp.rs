//! llama.cpp in this process.
//!
//! One thread owns the model's context and answers one call after the other; calls come to it
//! by a channel, each when it is its turn. What can be wrong with a call is found before that:
//! the template is applied, the prompt is cut into tokens and the schema becomes a grammar
//! beside that thread.
//!
//! The context keeps what it has computed of the last conversation, so the next prompt costs
//! only what follows after the part that both have in common. A prompt is computed in pieces
//! of 64 tokens, an answer token by token, and before each of them it is looked whether anybody
//! still waits for the answer.

mod answer_text;
mod backend;
mod call;
mod client;
mod engine;
mod event;
mod gguf;
mod model;
mod options;
mod owner;
mod patterns;
mod pieces;
mod sampling;

pub use client::LlamaCppClient;
pub use options::LlamaCppOptions;
