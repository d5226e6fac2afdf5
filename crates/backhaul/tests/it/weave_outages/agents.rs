//! Agents as processes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use backhaul_testkit::weave_steady_agent;
use serde_json::Value;

use super::held::Held;
use super::stage::Stage;

/// An agent that one can talk to, killed when it is dropped.
pub(super) struct Agent {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts a program that is one, or has one in it.
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits for a line that begins so; the rest of it.
    #[track_caller]
    pub(super) fn says(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        for line in self.output.by_ref().lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix(wanted) {
                return rest.trim().to_owned();
            }
            said += &format!("{line}\n");
        }
        panic!("the agent ended before it said {wanted:?}: {said}");
    }

    /// Has it go on.
    pub(super) fn go_on(&mut self) {
        self.child.stdin.as_ref().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until it has ended, and ended well.
    #[track_caller]
    pub(super) fn ends_well(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the agent ended with {status}");
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has a steady agent come to its end; how many numbers it has logged.
    #[track_caller]
    pub(super) fn finishes(mut self) -> u64 {
        drop(self.child.stdin.take());
        let count = self.says("logged").parse().unwrap();
        self.ends_well();
        count
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A steady agent with the newest client: what it is started with.
pub(super) fn steady(stage: &Stage, name: &str, url: Option<&str>) -> Command {
    let mut agent = weave_steady_agent("0.54.0").unwrap();
    agent.args([name, "--pause", "0.01"]);
    agent.args(url.iter().flat_map(|url| ["--url", url]));
    stage.at_home(&mut agent);
    agent
}

/// What a server lacks of the calls of a steady agent that has logged so many numbers.
pub(super) fn calls_missing(held: &Held, name: &str, numbers: u64) -> Vec<String> {
    let mut steps: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    let mut halves: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &held.calls {
        if call["inputs"]["agent"] == name {
            steps.entry(call["inputs"]["number"].as_u64().unwrap()).or_default().push(call);
        } else if let Some(parent) = call["parent_id"].as_str() {
            *halves.entry(parent).or_default() += 1;
        }
    }
    let is_whole = |number: &u64| match steps.get(number).map(Vec::as_slice) {
        Some([step]) => {
            !step["ended_at"].is_null() && halves.get(step["id"].as_str().unwrap()) == Some(&1)
        }
        _ => false,
    };
    let missing = (1..=numbers).filter(|number| !is_whole(number));
    missing.map(|number| format!("{name} {number}: {:?}", steps.get(&number))).collect()
}
