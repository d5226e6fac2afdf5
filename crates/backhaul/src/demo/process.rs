//! The processes of the demo. They end with it, however it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::is_variable;
use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::agent::STOP;

/// How long a process may take to come up, or to end when it was told to.
const PATIENCE: Duration = Duration::from_secs(20);

/// This program with other arguments, apart from the user's settings and terminal.
/// It ends when its stdin does, so that even a `kill -9` of the demo leaves nothing.
fn command(arguments: &[&str]) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("the program does not know its own file")?;
    let mut command = Command::new(program);
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for variable in set.filter(|name| is_variable(name) && name != "BACKHAUL_LOG") {
        command.env_remove(variable);
    }
    command
        .args(["--config", "/dev/null"])
        .args(arguments)
        .stdin(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

fn log_file(folder: &Path, name: &str) -> anyhow::Result<File> {
    let path = folder.join(name);
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// The hub.
pub(crate) struct HubProcess {
    child: Child,
    pub(crate) address: String,
}

impl HubProcess {
    /// Starts a hub and returns when it listens.
    pub(crate) async fn start(
        folder: &Path,
        data_dir: &Path,
        address: &str,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut tries = 0;
        loop {
            match Self::try_start(folder, data_dir, address, options).await {
                // The port may be in somebody's hands for a moment.
                Err(_) if tries < 20 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                started => return started,
            }
        }
    }

    async fn try_start(
        folder: &Path,
        data_dir: &Path,
        address: &str,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut child = command(&["serve", "--stop-with-stdin", "--listen", address])?
            .args(options)
            .arg("--data-dir")
            .arg(data_dir)
            .stderr(Stdio::piped())
            .spawn()
            .context("the hub cannot be started")?;
        let stderr = child.stderr.take().context("the hub has no stderr")?;
        let log = log_file(folder, "hub.log")?;
        let address = tokio::time::timeout(PATIENCE, listening(stderr, log))
            .await
            .context("the hub does not come up")??;
        Ok(Self { child, address })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        ended(&mut self.child).await.context("the hub lives on")
    }
}

/// Waits for a process to end by itself. `Child::wait` would close its stdin, which
/// tells it to stop.
async fn ended(child: &mut Child) -> anyhow::Result<()> {
    let ended = async {
        while child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, ended).await?
}

/// Reads up to the line that tells the address; the rest goes to the log.
async fn listening(stderr: ChildStderr, mut log: File) -> anyhow::Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await? {
        writeln!(log, "{line}")?;
        let address = line.strip_prefix("listening on http://");
        if let Some((address, _)) = address.and_then(|rest| rest.split_once(',')) {
            let address = address.to_owned();
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let _ = writeln!(log, "{line}");
                }
            });
            return Ok(address);
        }
        said.push(line);
    }
    bail!("the hub ended at once: {}", said.join("; "))
}

/// What the agent has said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// The runs that it was told are stored.
    pub(crate) acknowledged: BTreeSet<String>,
    /// How often each message came to the people on duty, by its key.
    pub(crate) messages: BTreeMap<String, u64>,
}

impl Said {
    /// A line of `examples/sensor_agent.rs`.
    fn note(&mut self, line: &str) {
        if let Some(message) = line.strip_prefix("to the people on duty: ") {
            let key = message.rsplit_once('(').and_then(|(_, key)| key.strip_suffix(')'));
            *self.messages.entry(key.unwrap_or(message).to_owned()).or_default() += 1;
        } else if let Some((run_id, said)) = line.split_once(' ')
            && (said.starts_with("is ") || said.starts_with("went on, and is "))
        {
            self.acknowledged.insert(run_id.to_owned());
        }
    }

    /// With what a process before, or after, has said.
    pub(crate) fn add(&mut self, other: Said) {
        self.acknowledged.extend(other.acknowledged);
        for (key, times) in other.messages {
            *self.messages.entry(key).or_default() += times;
        }
    }
}

/// The agent.
pub(crate) struct AgentProcess {
    child: Child,
    /// The runs of which a node that takes its time has begun.
    began: mpsc::UnboundedReceiver<String>,
    said: Arc<Mutex<Said>>,
    /// Reads what the agent says, to its last word.
    listener: JoinHandle<()>,
}

impl AgentProcess {
    pub(crate) fn start(folder: &Path, data_dir: PathBuf, runs_url: &str) -> anyhow::Result<Self> {
        let mut child = command(&["demo-agent", "--runs-url", runs_url])?
            .arg("--data-dir")
            .arg(data_dir)
            // No model, nobody's money: where nothing listens.
            .env("LOCAL_MODEL_URL", "http://127.0.0.1:9/v1")
            .env_remove("OPENAI_API_KEY")
            .stdout(Stdio::piped())
            .stderr(log_file(folder, "agent.log")?)
            .spawn()
            .context("the agent cannot be started")?;
        let stdout = child.stdout.take().context("the agent has no stdout")?;
        let (tell_began, began) = mpsc::unbounded_channel();
        let said = Arc::new(Mutex::new(Said::default()));
        let noted = Arc::clone(&said);
        let listener = tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(run_id) = line.strip_suffix(" watches the processors") {
                    let _ = tell_began.send(run_id.to_owned());
                }
                noted.lock().unwrap_or_else(PoisonError::into_inner).note(&line);
            }
        });
        Ok(Self { child, began, said, listener })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// `kill -9` as soon as the next run is under way for as long as was said. Gives
    /// the run's id.
    pub(crate) async fn kill_in_a_run(&mut self, after: Duration) -> anyhow::Result<String> {
        while self.began.try_recv().is_ok() {}
        let run_id = tokio::time::timeout(PATIENCE, self.began.recv())
            .await
            .context("the agent begins no run")?
            .context("the agent is gone: see agent.log")?;
        tokio::time::sleep(after).await;
        self.child.kill().await?;
        (&mut self.listener).await?;
        Ok(run_id)
    }

    /// Lets the agent finish its run and deliver what it has; returns when it ended.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(stdin) = &mut self.child.stdin {
            stdin.write_all(format!("{STOP}\n").as_bytes()).await?;
        }
        ended(&mut self.child).await.context("the agent does not stop")?;
        Ok((&mut self.listener).await?)
    }

    pub(crate) fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
