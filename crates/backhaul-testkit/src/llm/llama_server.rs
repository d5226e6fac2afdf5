//! llama.cpp's own HTTP server.

use std::io;

use super::tiny_model::TinyModel;
use crate::programs::{ServerProcess, made_by, program};

/// A process with llama.cpp's own HTTP server at 127.0.0.1, which ends when this is dropped.
/// It computes with one thread.
#[derive(Debug)]
pub struct LlamaServer {
    process: ServerProcess,
}

/// How a [`LlamaServer`] is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LlamaOptions {
    /// Tokens of context of each slot. Default: 4,096.
    pub context: u32,
    /// Requests that are answered at once. Default: 1.
    pub slots: u32,
    /// Whether it embeds too. Default: not, and it then answers 501.
    pub embeddings: bool,
}

impl Default for LlamaOptions {
    fn default() -> Self {
        Self { context: 4096, slots: 1, embeddings: false }
    }
}

impl LlamaServer {
    /// A server of a model at a free port.
    ///
    /// # Errors
    /// When its environment cannot be made, which takes the network once, or it does not start.
    pub fn start(model: &TinyModel, options: LlamaOptions) -> io::Result<Self> {
        Self::start_at(0, model, options)
    }

    /// The same at a port where one was before.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the port is taken.
    pub fn start_at(port: u16, model: &TinyModel, options: LlamaOptions) -> io::Result<Self> {
        let mut server = program(made_by("llm-venv", &[])?, "llm", "server.py");
        server.arg(model.file()?);
        server.args(["--port", &port.to_string()]);
        server.args(["--ctx", &options.context.to_string()]);
        server.args(["--slots", &options.slots.to_string()]);
        server.args(options.embeddings.then_some("--embeddings"));
        Ok(Self { process: ServerProcess::start(&mut server)? })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Where it is: `http://127.0.0.1:PORT`. The base of OpenAI's clients is this and `/v1`,
    /// that of Anthropic's this alone.
    pub fn url(&self) -> String {
        self.process.url()
    }
}
