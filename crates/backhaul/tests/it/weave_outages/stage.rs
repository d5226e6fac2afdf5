//! A device's folder, and a trace server that comes and goes at one address.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

use backhaul_testkit::{WeaveServer, weave_holdings};
use tempfile::TempDir;

use super::held::Held;
use crate::support::{Hub, command};

/// Any key is right.
const KEY: &str = "reference-key";

/// A device that nothing was logged on yet, and a server that holds nothing.
pub(super) struct Stage {
    folder: TempDir,
    version: &'static str,
    port: u16,
    server: Option<WeaveServer>,
}

impl Stage {
    /// With a server of weave `version` that was never started.
    pub(super) fn new(version: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder, version, port: unused_port(), server: None }
    }

    pub(super) fn start_server(&mut self) {
        let database = self.folder.path().join("weave.db");
        self.server = Some(WeaveServer::start_at(self.port, self.version, &database).unwrap());
    }

    pub(super) fn stop_server(&mut self) {
        self.server = None;
    }

    /// Where the server is, if it is there.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `backhaul` with a home of its own and a key.
    pub(super) fn backhaul(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--data-dir").arg(self.data_dir());
        self.at_home(&mut command);
        command.env("WANDB_API_KEY", KEY);
        command
    }

    /// Keeps a program away from the files and settings of whoever runs the tests.
    pub(super) fn at_home(&self, command: &mut Command) {
        command.current_dir(self.folder.path()).env("HOME", self.folder.path().join("home"));
        for variable in ["WANDB_BASE_URL", "WF_TRACE_SERVER_URL", "WANDB_ENTITY", "WANDB_API_KEY"] {
            command.env_remove(variable);
        }
    }

    /// A gateway that delivers to the server.
    pub(super) fn gateway(&self) -> Hub {
        self.gateway_to(&self.url(), "127.0.0.1:0")
    }

    /// One that listens at an address and delivers to another.
    pub(super) fn gateway_to(&self, url: &str, listen: &str) -> Hub {
        Hub::run(self.backhaul(&["serve", "--listen", listen]).args(target(url)))
    }

    /// `backhaul run … -- agent`, for a server at this address.
    pub(super) fn around(&self, agent: &Command) -> Command {
        let mut run = self.backhaul(&["run"]);
        run.args(target(&self.url())).arg("--").arg(agent.get_program()).args(agent.get_args());
        run.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run
    }

    pub(super) fn sync_to(&self, url: &str) -> Command {
        let mut sync = self.backhaul(&["sync", "--json"]);
        sync.args(target(url));
        sync
    }

    /// Delivers, and leaves nothing behind.
    #[track_caller]
    pub(super) fn sync(&self) {
        let done = self.sync_to(&self.url()).output().unwrap();
        assert!(done.status.success(), "{}\n{}", said(&done), self.status());
    }

    fn status(&self) -> String {
        said(&self.backhaul(&["status", "--json"]).output().unwrap())
    }

    /// All that the server holds, without what differs between two runs.
    pub(super) fn holdings(&self) -> String {
        weave_holdings(&self.url()).unwrap()
    }

    /// All that the server holds, as it says it.
    pub(super) fn held(&self) -> Held {
        Held::ask(self.port)
    }
}

fn target(url: &str) -> [&str; 4] {
    ["--weave-url", url, "--wandb-url", url]
}

/// What a process wrote, for who reads why a test failed.
pub(super) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}: {}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A port that nobody listens at, another each time. No connection is given it either: it is
/// below those.
fn unused_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ours = 20_000 + (std::process::id() * 64 % 12_000) as u16;
    let next = || Some(ours + NEXT.fetch_add(1, Ordering::Relaxed));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::from_fn(next).find(is_free).unwrap()
}
