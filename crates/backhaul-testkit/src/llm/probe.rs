//! Programs that make calls with a real client.

use std::io;
use std::process::Command;

use crate::programs::{made_by, program};

/// Calls with OpenAI's client for Python: to be started with the options of
/// `openai_probe.py`, such as `--base-url URL/v1 --form chat,stream`. It prints a line with
/// one JSON object for each form, also where the call failed; what is in it says `probe.py`.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn openai_probe() -> io::Result<Command> {
    Ok(program(made_by("llm-venv", &[])?, "llm", "openai_probe.py"))
}

/// The same with OpenAI's client for Node: `openai_probe.mjs`, which has the same options.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn openai_node_probe() -> io::Result<Command> {
    let mut probe = program("node", "llm", "openai_probe.mjs");
    probe.env("NODE_PATH", made_by("llm-npm", &[])?);
    Ok(probe)
}

/// The same with Anthropic's client for Python: `anthropic_probe.py`, whose base URL is
/// without `/v1`.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn anthropic_probe() -> io::Result<Command> {
    Ok(program(made_by("llm-venv", &[])?, "llm", "anthropic_probe.py"))
}
