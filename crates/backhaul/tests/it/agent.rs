//! An agent that delivers from its own queue, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use backhaul::config::is_variable;
use backhaul::observability::{RunEnd, RunLogger as _};
use backhaul::offline::create_offline_logger_from_config;

const CHILD: &str = "AGENT_OF_A_TEST";

/// NOT A TEST. [`Agent`] starts this very program again with [`CHILD`] set. It has a run
/// for each line of stdin, says so when the run is stored, and ends well with stdin.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut agent = {
        let _inside = runtime.enter();
        create_offline_logger_from_config().unwrap()
    };
    runtime.block_on(agent.start());
    say("ready");
    for line in std::io::stdin().lines() {
        agent.logger.start_run(line.unwrap().into());
        agent.logger.end_run(RunEnd::new()).unwrap();
        say("stored");
    }
    runtime.block_on(agent.stop());
}

fn say(word: &str) {
    std::io::stdout().write_all(format!("\n{word}\n").as_bytes()).unwrap();
}

/// The process of an agent, killed when it is dropped.
pub(crate) struct Agent {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts one on a data dir that delivers to this hub, with its control socket served if
    /// nobody else delivers from the queue.
    pub(crate) fn start(data_dir: &Path, url: &str) -> Self {
        Self::start_with(data_dir, url, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(data_dir: &Path, url: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "agent::child", "--nocapture"]);
        let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for variable in set.filter(|name| is_variable(name)) {
            command.env_remove(variable);
        }
        command
            .env(CHILD, "1")
            .env("BACKHAUL_CONFIG", "/dev/null")
            .env("BACKHAUL_DATA_DIR", data_dir)
            .env("BACKHAUL_RUNS_URL", url)
            .envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut agent = Self { child, output };
        agent.hears("ready");
        agent
    }

    /// Has a run, and returns when it is stored.
    pub(crate) fn has_run(&mut self, run_id: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{run_id}\n").as_bytes()).unwrap();
        self.hears("stored");
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it end as it does by itself.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    #[track_caller]
    fn hears(&mut self, word: &str) {
        let mut line = String::new();
        while line.trim() != word {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the agent ended by itself");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
