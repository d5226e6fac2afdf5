//! Agents with the real client of Weave, inside `backhaul run`.

use std::path::Path;
use std::process::Command;

use backhaul_testkit::{WeaveServer, weave_agent, weave_holdings};
use tempfile::tempdir;

use crate::support::command;

/// Ends at once, and answers nothing.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The agent that logs one of everything, inside a run.
fn around_agent(data_dir: &Path, home: &Path, server: &str) -> Command {
    let agent = weave_agent("0.54.0").unwrap();
    let mut run = command(&["run", "--weave-url", server, "--wandb-url", server, "--data-dir"]);
    run.arg(data_dir).arg("--").arg(agent.get_program()).args(agent.get_args());
    run.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let of_weave =
        ["WANDB_API_KEY", "WANDB_BASE_URL", "WF_TRACE_SERVER_URL", "WEAVE_SERVER_CACHE_DIR"];
    for name in of_weave {
        run.env_remove(name);
    }
    run.env("HOME", home);
    run
}

#[test]
fn an_agent_whose_server_was_never_seen_logs_and_its_traces_go_later() {
    let (dir, home) = (tempdir().unwrap(), tempdir().unwrap());
    let output = around_agent(dir.path(), home.path(), NOWHERE).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("backhaul: ") && last.contains("records wait"), "{said}");
    assert!(last.contains("no API key is known"), "{said}");
    let calls = dir.path().join("weave/local/scenario/calls");
    assert!(calls.is_dir());

    // A run of anything delivers what waits, once there is a server and a key.
    let server = WeaveServer::start("0.52.42", &dir.path().join("db")).unwrap();
    let url = server.url();
    let mut run = command(&["run", "--weave-url", &url, "--wandb-url", &url, "--data-dir"]);
    run.arg(dir.path()).args(["--drain-timeout", "5m", "--", "true"]);
    let output = run.env("WANDB_API_KEY", "key").env("HOME", home.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    let delivered = weave_holdings(&url).unwrap();

    // The same as of an agent that logs to the server itself.
    let direct = WeaveServer::start("0.52.42", &dir.path().join("direct")).unwrap();
    let mut agent = weave_agent("0.54.0").unwrap();
    let status = agent.args(["--url", &direct.url()]).env("HOME", home.path()).status().unwrap();
    assert!(status.success());
    let directly = weave_holdings(&direct.url()).unwrap();
    assert!(delivered == directly, "{delivered}\n\n{directly}");
    assert!(directly.contains("evaluat"), "{directly}");
}

#[test]
fn the_users_own_key_is_forwarded_with_and_never_written() {
    let (dir, home) = (tempdir().unwrap(), tempdir().unwrap());
    let server = WeaveServer::start("0.52.42", &dir.path().join("db")).unwrap();
    let data = dir.path().join("data");
    let mut run = around_agent(&data, home.path(), &server.url());
    let key = "s3cret-of-the-user-s3cret-of-the-user-0000";
    let output = run.env("WANDB_API_KEY", key).env("BACKHAUL_DRAIN_TIMEOUT", "5m").output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("wait to be delivered") && !said.contains(key), "{said}");
    assert!(weave_holdings(&server.url()).unwrap().contains("evaluat"));
    let grep = Command::new("grep").args(["-raq", key]).arg(&data).status().unwrap();
    assert_eq!(grep.code(), Some(1), "the key is in a file");
}
