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
//!
//! # Building
//! The crate compiles llama.cpp: `apt install cmake clang libclang-dev`. It is built for a fixed
//! level of processor, on x86 one with AVX2, on ARM armv8-a; `-C target-cpu=x86-64-v2` or such
//! sets another. Never build it with `target-cpu=native`: what is found may not be allowed.
//!
//! # Templates
//! The model's chat template is recognised, not executed: llama.cpp knows those of most model
//! families (ChatML, Llama 2 to 4, Mistral, Gemma, Phi, DeepSeek, Granite, Command R and some
//! forty others). One that it does not know is an error when the model is opened, and
//! [`LlamaCppOptions::chat_template`] takes its place. None of them writes tools, so the
//! model calls none.

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
