//! A real Weave trace server, an agent that logs to one with the real client, and what a
//! server holds.
//!
//! The programs are in this crate's folder `weave`; `scripts/weave-venv` makes their
//! environments.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const TESTKIT: &str = env!("CARGO_MANIFEST_DIR");

/// A process with Weave's own trace server at 127.0.0.1, which ends when this is dropped.
///
/// It takes any API key, and keeps all it is told in one SQLite file, which a later one may
/// go on with.
#[derive(Debug)]
pub struct WeaveServer {
    child: Child,
    port: u16,
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
        let mut child = program(weave_python(version)?, "server.py")
            .arg(database)
            .args(["--port", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => Ok(Self { child, port }),
            Err(_) => Err(io::Error::other(format!(
                "the server of weave {version} does not start ({}): {line:?}",
                child.wait()?
            ))),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The base of the trace server and of the GraphQL server: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for WeaveServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
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
        let mut agent = program("node", "scenario.mjs");
        agent.env("NODE_PATH", made_by("weave-npm", &[])?);
        return Ok(agent);
    }
    Ok(program(weave_python(version)?, "scenario.py"))
}

/// An agent that logs numbered things with the client of weave `version`, as `steady.py`
/// says, until its stdin is closed: to be started with its options.
///
/// # Errors
/// When its environment cannot be made, which takes the network once.
pub fn weave_steady_agent(version: &str) -> io::Result<Command> {
    Ok(program(weave_python(version)?, "steady.py"))
}

/// All that a server holds of that project, as JSON in which nothing is left that differs
/// between two runs: what that is says `normal.py`.
///
/// # Errors
/// When the server cannot be reached, or refuses a question.
pub fn weave_holdings(url: &str) -> io::Result<String> {
    output_of(program("python3", "normal.py").args([url, "local/scenario"]))
}

/// The Python that has weave `version`.
fn weave_python(version: &str) -> io::Result<PathBuf> {
    made_by("weave-venv", &[version])
}

/// What a script of the repository makes where it is not there yet.
fn made_by(script: &str, arguments: &[&str]) -> io::Result<PathBuf> {
    let script = Path::new(TESTKIT).join("../../scripts").join(script);
    Ok(PathBuf::from(output_of(Command::new(script).args(arguments))?.trim_end()))
}

fn program(python: impl AsRef<Path>, name: &str) -> Command {
    let mut command = Command::new(python.as_ref());
    command.arg(Path::new(TESTKIT).join("weave").join(name));
    command
}

/// What a program writes to stdout; stderr is the test's.
fn output_of(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{command:?}: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
