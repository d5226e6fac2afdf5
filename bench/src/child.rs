//! Processes beside this one: what they print, and that they end with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::device::Process;

/// This program, as one of the processes that `main` knows.
pub fn own(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the program's own path"));
    command.arg(name);
    command
}

/// Runs a command to its end, and reads the figures that it prints.
pub fn figures<const N: usize>(command: &mut Command) -> [f64; N] {
    let output = command.stderr(Stdio::inherit()).output().expect("the child runs");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    figures_of(&String::from_utf8_lossy(&output.stdout))
}

pub fn figures_of<const N: usize>(text: &str) -> [f64; N] {
    let figures: Vec<f64> =
        text.split_whitespace().map(|it| it.parse().expect("a figure")).collect();
    figures.try_into().unwrap_or_else(|_| panic!("expected {N} figures: {text}"))
}

/// A server at a port of this machine, until this is dropped.
pub struct Server {
    pub url: String,
    child: Child,
}

impl Server {
    /// Starts one that says on stdout where it is: a port, or a URL somewhere in a line.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server");
        let mut says = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        says.read_line(&mut line).expect("the server lives");
        // What else it says is nobody's business, and must not stop it.
        std::thread::spawn(move || std::io::copy(&mut says, &mut std::io::sink()));
        Self { url: address(&line), child }
    }

    /// One that says it on stderr.
    pub fn start_talking(command: &mut Command) -> Self {
        Self::try_start_talking(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, of a program that may not work here.
    ///
    /// # Errors
    /// When it does not say where it is.
    pub fn try_start_talking(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut says = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            if says.read_line(&mut line).unwrap_or(0) == 0 {
                return Err(format!("{command:?} ended before it listened"));
            }
        }
        std::thread::spawn(move || std::io::copy(&mut says, &mut std::io::stderr()));
        Ok(Self { url: address(&line), child })
    }

    pub fn process(&self) -> Process {
        Process::of(&self.child)
    }
}

/// A process that says its address, and then a line whenever it is asked something, until this
/// is dropped.
pub struct Asked {
    pub url: String,
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Asked {
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("a process");
        let asks = child.stdin.take().expect("piped");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        let mut asked = Self { url: String::new(), child, asks, says };
        asked.url = asked.line();
        asked
    }

    pub fn ask(&mut self, what: &str) -> String {
        writeln!(self.asks, "{what}").expect("the process lives");
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("the process lives");
        line.trim().to_owned()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &str) -> String {
    if let Ok(port) = line.trim().parse::<u16>() {
        return format!("http://127.0.0.1:{port}");
    }
    let from = line.find("http://").unwrap_or_else(|| panic!("no address: {line:?}"));
    let url = line[from..].split([' ', ',', '\n']).next().unwrap_or_default();
    url.trim_end_matches('/').to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of the repository.
pub fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The Python that a script of the repository makes.
///
/// # Errors
/// What the script says when it does not.
pub fn python_of(script: &str, arguments: &[&str]) -> Result<Command, String> {
    let made = Command::new(of_repository(script)).args(arguments).output();
    let made = made.map_err(|error| format!("{script}: {error}"))?;
    if !made.status.success() {
        return Err(format!("{script}: {}", String::from_utf8_lossy(&made.stderr)));
    }
    Ok(Command::new(String::from_utf8_lossy(&made.stdout).trim_end()))
}

/// The Python that has weave `version`, with what keeps it on this machine.
pub fn python(version: &str) -> Command {
    try_python(version).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, where it may not be had.
///
/// # Errors
/// What the script says that makes it.
pub fn try_python(version: &str) -> Result<Command, String> {
    let mut command = python_of("scripts/weave-venv", &[version])?;
    command.env("WANDB_ERROR_REPORTING", "false").env("HTTPS_PROXY", "http://127.0.0.1:9");
    Ok(command)
}

/// `backhaul serve` of the release build, with its data in `dir`.
pub fn backhaul_serve(dir: &Path) -> Command {
    let program = std::env::var_os("BACKHAUL_BIN").expect("BACKHAUL_BIN, the program to measure");
    let mut command = Command::new(program);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.join("data"))
        // Neither another's settings nor keys.
        .env("HOME", dir);
    command
}
