//! Processes of peers.

use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};

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
    pub fn present() -> (Vec<Peer>, Vec<(Peer, String)>) {
        let mut missing = Vec::new();
        let present = Peer::all().filter(|peer| match peer.missing() {
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
        let in_python = |script, environment| {
            let mut python = child::python_of(script, &[environment])?;
            python.arg(child::of_repository("bench/peers/queues.py"));
            Ok(python)
        };
        match self.engine {
            Engine::Weave => in_python("scripts/weave-venv", "0.54.0"),
            Engine::PersistQueue => in_python("scripts/peer-venv", "persist-queue"),
            _ => Ok(child::own("peer")),
        }
    }

    /// Starts a process with a verb, and others that it may start.
    pub fn start(self, verb: &str, arguments: &[&str]) -> Group {
        let mut command = self.command().expect("a peer that is there");
        command.arg(verb).arg(self.key()).args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Group(command.spawn().expect("a process"))
    }

    /// Runs a verb to its end: what it says.
    ///
    /// # Errors
    /// The last line of what it says of its failure.
    pub fn run(self, verb: &str, arguments: &[&str]) -> Result<String, String> {
        let mut group = self.start(verb, arguments);
        let mut says = String::new();
        group.0.stdout.take().expect("piped").read_to_string(&mut says).expect("text");
        let status = group.0.wait().expect("its status");
        if status.success() { Ok(says) } else { Err(group.last_words(status)) }
    }
}

/// A process and those that it started. They are killed when this goes, if they live.
pub struct Group(pub Child);

impl Group {
    /// Kills them all, as a power switch would.
    pub fn kill(&self) {
        let leader = Pid::from_child(&self.0);
        let _ = kill_process_group(leader, Signal::KILL);
    }

    /// What it said last, or how it ended.
    pub fn last_words(&mut self, status: ExitStatus) -> String {
        self.kill();
        let mut talk = Vec::new();
        if let Some(stderr) = &mut self.0.stderr {
            let _ = stderr.read_to_end(&mut talk);
        }
        let talk = String::from_utf8_lossy(&talk).into_owned();
        let last = talk.lines().rev().find(|line| !line.trim().is_empty());
        match (last, status.signal()) {
            (Some(last), _) => last.trim().to_owned(),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.wait();
    }
}
