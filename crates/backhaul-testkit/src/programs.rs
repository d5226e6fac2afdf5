//! Programs of this crate in other languages, in environments that scripts of the repository
//! make.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const TESTKIT: &str = env!("CARGO_MANIFEST_DIR");

/// What a script of the repository makes where it is not there yet.
pub(crate) fn made_by(script: &str, arguments: &[&str]) -> io::Result<PathBuf> {
    let script = Path::new(TESTKIT).join("../../scripts").join(script);
    Ok(PathBuf::from(output_of(Command::new(script).args(arguments))?.trim_end()))
}

/// A program of one of this crate's folders.
pub(crate) fn program(interpreter: impl AsRef<Path>, folder: &str, name: &str) -> Command {
    let mut command = Command::new(interpreter.as_ref());
    command.arg(Path::new(TESTKIT).join(folder).join(name));
    command
}

/// What a program writes to stdout; stderr is the test's.
pub(crate) fn output_of(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{command:?}: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// A server of 127.0.0.1 in a process of its own, which ends when this is dropped: it prints
/// its port once it answers, and ends when its stdin is closed.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    port: u16,
}

impl ServerProcess {
    /// Waits until it answers.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => Ok(Self { child, port }),
            Err(_) => Err(io::Error::other(format!(
                "{command:?} does not start: {}, expected its port on stdout, found {line:?}",
                child.wait()?
            ))),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
