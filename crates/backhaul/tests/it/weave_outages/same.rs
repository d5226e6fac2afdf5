//! One program runs twice: to the server, and through backhaul with an outage.

use std::process::Command;

use backhaul_testkit::weave_agent;

use super::agents::Agent;
use super::stage::{Stage, said};
use super::wanted;

/// The programs' steps after which the server goes, fewest first.
const PYTHON: [&str; 12] = [
    "evaluation",
    "nested_calls",
    "exception",
    "async_calls",
    "threads",
    "objects",
    "tags_and_aliases",
    "large_dataset",
    "image",
    "large_file",
    "feedback",
    "renamed_and_deleted",
];
const NODE: [&str; 9] = [
    "objects",
    "nestedCalls",
    "exception",
    "asyncCalls",
    "largeDataset",
    "image",
    "evaluation",
    "feedback",
    "renamed",
];

/// A client, the server that goes with it, and the steps of its program.
pub(super) struct Case {
    client: &'static str,
    server: &'static str,
    steps: &'static [&'static str],
}

impl Case {
    fn agent(&self, stage: &Stage, options: &[&str]) -> Command {
        let mut agent = weave_agent(self.client).unwrap();
        agent.args(options);
        stage.at_home(&mut agent);
        agent
    }

    /// What the server holds when the agent has logged to it.
    pub(super) fn directly(&self, options: &[&str]) -> String {
        let mut stage = Stage::new(self.server);
        stage.start_server();
        let url = stage.url();
        ended_well(self.agent(&stage, &[&["--url", &url], options].concat()));
        stage.holdings()
    }

    /// The server was never seen: it starts when the agent has ended.
    fn before_the_server_was_ever_seen(&self) -> String {
        let mut stage = Stage::new(self.server);
        ended_well(stage.around(&self.agent(&stage, &[])));
        stage.start_server();
        stage.sync();
        stage.holdings()
    }

    /// It is there all the time, and `run` delivers before it ends.
    fn without_an_outage(&self) -> String {
        let mut stage = Stage::new(self.server);
        stage.start_server();
        ended_well(stage.around(&self.agent(&stage, &[])));
        stage.sync();
        stage.holdings()
    }

    /// It goes after a step and comes back when the agent has ended.
    fn gone_after(&self, step: &str) -> String {
        let mut stage = Stage::new(self.server);
        stage.start_server();
        let gateway = stage.gateway();
        let url = format!("http://{}", gateway.address);
        let mut agent = Agent::start(self.agent(&stage, &["--url", &url, "--pause-after", step]));
        agent.says("paused");
        stage.stop_server();
        agent.go_on();
        agent.ends_well();
        stage.start_server();
        stage.sync();
        stage.holdings()
    }

    /// It comes when the agent has already logged, and goes again.
    fn there_only_after(&self, step: &str) -> String {
        let mut stage = Stage::new(self.server);
        let gateway = stage.gateway();
        let url = format!("http://{}", gateway.address);
        let mut agent = Agent::start(self.agent(&stage, &["--url", &url, "--pause-after", step]));
        agent.says("paused");
        stage.start_server();
        stage.sync();
        stage.stop_server();
        agent.go_on();
        agent.ends_well();
        stage.start_server();
        stage.sync();
        stage.holdings()
    }

    fn an_outage_changes_nothing(&self) {
        let steps = self.steps.split_at(wanted(1, self.steps.len())).0;
        let directly = self.directly(&[]);
        let same = |what: &str, holdings: &str| is_same(self.client, what, &directly, holdings);
        // No more at a time than a small machine can do.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                same("never seen before", &self.before_the_server_was_ever_seen());
                same("there all the time", &self.without_an_outage());
            });
            scope.spawn(|| {
                for step in steps {
                    same(&format!("gone after {step}"), &self.gone_after(step));
                }
            });
            scope.spawn(|| {
                for step in steps {
                    same(&format!("there only after {step}"), &self.there_only_after(step));
                }
            });
        });
    }
}

#[track_caller]
fn ended_well(mut agent: Command) {
    let output = agent.output().unwrap();
    assert!(output.status.success(), "{agent:?}: {}", said(&output));
}

#[track_caller]
pub(super) fn is_same(client: &str, what: &str, directly: &str, holdings: &str) {
    let why = difference(directly, holdings);
    assert!(directly == holdings, "{client}, the server {what}:\n{why}");
}

/// The lines around the first that differs.
fn difference(first: &str, second: &str) -> String {
    let same = first.lines().zip(second.lines()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| -> Vec<String> {
        text.lines().skip(same.saturating_sub(20)).take(40).map(ToOwned::to_owned).collect()
    };
    format!("{}\n--- and through backhaul ---\n{}", part(first).join("\n"), part(second).join("\n"))
}

/// The newest client.
pub(super) fn newest() -> Case {
    Case { client: "0.54.0", server: "0.52.42", steps: &PYTHON }
}

#[test]
fn an_outage_changes_nothing_of_what_client_0_52_23_logs() {
    Case { client: "0.52.23", server: "0.52.23", steps: &PYTHON }.an_outage_changes_nothing();
}

#[test]
fn an_outage_changes_nothing_of_what_client_0_52_42_logs() {
    Case { client: "0.52.42", server: "0.52.42", steps: &PYTHON }.an_outage_changes_nothing();
}

#[test]
fn an_outage_changes_nothing_of_what_client_0_54_0_logs() {
    newest().an_outage_changes_nothing();
}

#[test]
fn an_outage_changes_nothing_of_what_the_client_for_node_logs() {
    Case { client: "npm", server: "0.52.42", steps: &NODE }.an_outage_changes_nothing();
}
