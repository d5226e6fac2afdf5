//! A real Weave trace server, an agent that logs to one with the real client, and what a
//! server holds.
//!
//! The programs are in this crate's folder `weave`; `scripts/weave-venv` makes their
//! environments.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{ServerProcess, made_by, output_of, program};

/// A process with Weave's own trace server at 127.0.0.1, which ends when this is dropped.
///
/// It takes any API key, and keeps all it is told in one SQLite file, which a later one may
/// go on with.
#[derive(Debug)]
pub struct WeaveServer {
    process: ServerProcess,
}

impl WeaveServer {
    /// A server of weave `version` (0.52.23 or 0.52.42) at a free port.
    ///
    /// # Errors
    /// When its environment cannot be made, which takes the network once, or it does not start.
    pub fn start(version: &str, database: &Path) -> io::Result<Self> {
        Self::start_at(0, version, database)
    }

    /// The same at a port where one was before.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the port is taken.
    pub fn start_at(port: u16, version: &str, database: &Path) -> io::Result<Self> {
        let mut server = weave_program(weave_python(version)?, "server.py");
        server.arg(database).args(["--port", &port.to_string()]);
        Ok(Self { process: ServerProcess::start(&mut server)? })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The base of the trace server and of the GraphQL server: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.process.url()
    }
}

/// An agent that logs one of everything with the client of weave `version` (0.52.23, 0.52.42
/// or 0.54.0, or `npm`: the client for Node) to the project `local/scenario`, the same each
/// time: to be started with the options of `scenario.py` or `scenario.mjs`, such as
/// `--url URL`.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn weave_agent(version: &str) -> io::Result<Command> {
    if version == "npm" {
        let mut agent = weave_program("node", "scenario.mjs");
        agent.env("NODE_PATH", made_by("weave-npm", &[])?);
        return Ok(agent);
    }
    Ok(weave_program(weave_python(version)?, "scenario.py"))
}

/// An agent that logs what a program in any language can log with the client of weave
/// `version` to `local/scenario`, the same each time: to be started with `--url URL`.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn weave_plain_agent(version: &str) -> io::Result<Command> {
    Ok(weave_program(weave_python(version)?, "plain.py"))
}

/// An agent that logs numbered things with the client of weave `version`, as `steady.py`
/// says, until its stdin is closed: to be started with its options.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn weave_steady_agent(version: &str) -> io::Result<Command> {
    Ok(weave_program(weave_python(version)?, "steady.py"))
}

/// All that a server holds of that project, as JSON in which nothing is left that differs
/// between two runs: what that is says `normal.py`.
///
/// # Errors
/// When the server cannot be reached, or refuses a question.
pub fn weave_holdings(url: &str) -> io::Result<String> {
    output_of(weave_program("python3", "normal.py").args([url, "local/scenario"]))
}

/// The Python that has weave `version`.
fn weave_python(version: &str) -> io::Result<PathBuf> {
    made_by("weave-venv", &[version])
}

fn weave_program(interpreter: impl AsRef<Path>, name: &str) -> Command {
    program(interpreter, "weave", name)
}
