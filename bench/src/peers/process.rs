//! Processes of peers.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Engine, Peer, nats};
use crate::child;

impl Peer {
    /// Why it cannot be measured here.
    pub fn missing(self) -> Option<String> {
        match self.engine {
            Engine::Nats => nats::missing(self.mode),
            _ => self.command().err(),
        }
    }

    /// All that can be measured here; of the others the table says why they cannot.
    ///
    /// `BACKHAUL_BENCH_PEERS` may name some, with commas between them: `backhaul,sqlite`.
    pub fn present() -> (Vec<Peer>, Vec<(Peer, String)>) {
        let wanted = std::env::var("BACKHAUL_BENCH_PEERS").ok();
        let is_wanted = |peer: &Peer| {
            wanted.as_ref().is_none_or(|names| names.split(',').any(|name| name == peer.key()))
        };
        let mut missing = Vec::new();
        let present = Peer::all().filter(is_wanted).filter(|peer| match peer.missing() {
            Some(why) => {
                missing.push((*peer, why.split_whitespace().collect::<Vec<_>>().join(" ")));
                false
            }
            None => true,
        });
        (present.collect(), missing)
    }

    /// A process that knows the verbs.
    fn command(self) -> Result<Command, String> {
        let mut python = match self.engine {
            Engine::Weave => child::try_python("0.54.0")?,
            Engine::PersistQueue => child::python_of("scripts/peer-venv", &["persist-queue"])?,
            _ => return Ok(child::own("peer")),
        };
        python.arg(child::of_repository("bench/peers/queues.py"));
        Ok(python)
    }

    /// Starts a process with a verb, and others that it may start.
    pub fn start(self, verb: &str, arguments: &[&str]) -> Group {
        // What it logs is nobody's business, and must not stop it.
        Group(self.spawn(verb, arguments, Stdio::null()))
    }

    fn spawn(self, verb: &str, arguments: &[&str], stderr: Stdio) -> Child {
        let mut command = self.command().expect("a peer that is there");
        command.arg(verb).arg(self.key()).args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        command.spawn().expect("a process")
    }

    /// Runs a verb to its end: what it says.
    ///
    /// # Errors
    /// The last line of what it says of its failure.
    pub fn run(self, verb: &str, arguments: &[&str]) -> Result<String, String> {
        let child = self.spawn(verb, arguments, Stdio::piped());
        let leader = Pid::from_child(&child);
        let output = child.wait_with_output().expect("its output");
        // A server that it left.
        let _ = kill_process_group(leader, Signal::KILL);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let talk = String::from_utf8_lossy(&output.stderr);
        let last = talk.lines().rev().find(|line| !line.trim().is_empty());
        Err(last.map_or_else(|| output.status.to_string(), |last| last.trim().to_owned()))
    }
}

/// A process and those that it started. They are killed when this goes, if they live.
pub struct Group(pub Child);

impl Group {
    /// Kills them all (`SIGKILL`).
    pub fn kill(&self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.wait();
    }
}
