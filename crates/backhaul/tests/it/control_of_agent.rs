//! The commands beside an agent that delivers from its own queue.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backhaul::observability::RunRecord;
use backhaul::offline::OfflineQueue;
use backhaul::store::Timestamp;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::agent::Agent;
use crate::control::{NOBODY, ask, books_of, speak_at};
use crate::support::{Hub, backhaul, runs, stored, wait_until};

/// In the data dir.
const SOCKET: &str = "offline/state/control.sock";

/// What an agent's `status` says of its queue.
fn status(data_dir: &Path) -> Value {
    let (code, status) = ask(&["status"], data_dir);
    assert_eq!(code, 0, "{status}");
    status["spools"]["offline"].clone()
}

/// The process that answers for the queue, if one does.
fn owner(data_dir: &Path) -> Option<u64> {
    std::os::unix::net::UnixStream::connect(data_dir.join(SOCKET)).ok()?;
    let (_, overview) = speak_at(&data_dir.join(SOCKET), "GET", "/v1/status", "");
    let overview: Value = serde_json::from_str(&overview).unwrap();
    overview["process"].as_u64()
}

#[test]
fn status_shows_link_cap_next_try_and_reason_of_an_agent() {
    let dir = tempdir().unwrap();
    let mut agent = Agent::start_with(
        dir.path(),
        "http://user:secret@127.0.0.1:9/v1/runs",
        &[("BACKHAUL_DAILY_LIMIT_MB", "7")],
    );
    agent.has_run("run_1");
    wait_until(|| status(dir.path())["courier"]["next_attempt_at"].is_string());
    let found = status(dir.path());
    assert_eq!((&found["pending"], &found["forwards"]), (&1.into(), &true.into()), "{found}");
    let courier = &found["courier"];
    assert_eq!(courier["destination"], NOBODY);
    assert_eq!((&courier["is_online"], &courier["blocked_by"]), (&false.into(), &"offline".into()));
    assert!(courier["reason"].as_str().unwrap().contains("refused"), "{courier}");
    assert_eq!(courier["budget"]["limit_bytes"], 7_000_000);
    assert!(courier["link"]["state"].is_string(), "{courier}");
    let (_, text, _) = backhaul(&["status"], dir.path());
    for said in ["offline: held up: ", "offline: to http://127.0.0.1:9: ", "data cap: "] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let (code, metrics) = speak_at(&dir.path().join(SOCKET), "GET", "/metrics", "");
    assert_eq!(code, 200);
    for line in ["backhaul_sync_online{spool=\"offline\"} 0", "backhaul_budget_limit_bytes 7000000"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    agent.stop();
    assert_eq!(status(dir.path())["courier"], Value::Null);
}

#[test]
fn sync_has_the_agent_deliver_which_waits_for_its_next_try() {
    let (dir, to) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(to.path());
    let (address, url) = (hub.address, format!("http://{}", hub.address));
    hub.kill();
    let hour = [("BACKHAUL_BACKOFF_INITIAL", "1h"), ("BACKHAUL_BACKOFF_MAX", "1h")];
    let mut agent = Agent::start_with(dir.path(), &url, &hour);
    agent.has_run("run_1");
    wait_until(|| status(dir.path())["courier"]["last_error"].is_string());
    agent.has_run("run_2");
    let (code, report) = ask(&["sync"], dir.path());
    assert_eq!((code, &report["blocked_by"]), (1, &"offline".into()), "{report}");
    let _hub = Hub::start_at(to.path(), address);
    let (code, report) = ask(&["sync", "--runs-url", &url], dir.path());
    assert_eq!((code, &report["synced"], &report["remaining"]), (0, &2.into(), &0.into()));
    assert_eq!(stored(to.path()).len(), 2);
    // It delivers to where it delivers.
    let (code, _, stderr) = backhaul(&["sync", "--runs-url", NOBODY], dir.path());
    assert!(code == 2 && stderr.contains(&url), "{code} {stderr}");
}

#[test]
fn an_outage_holds_an_agent_back_and_its_end_wakes_it() {
    let (dir, to) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(to.path());
    let mut agent = Agent::start(dir.path(), &format!("http://{}", hub.address));
    assert_eq!(ask(&["outage", "on"], dir.path()).1["outage"]["source"], "switch");
    agent.has_run("run_1");
    let (code, report) = ask(&["sync"], dir.path());
    assert_eq!((code, &report["blocked_by"]), (1, &"outage".into()), "{report}");
    assert_eq!(status(dir.path())["courier"]["blocked_by"], "outage");
    assert_eq!(stored(to.path()).len(), 0);
    assert_eq!(ask(&["outage", "off"], dir.path()), (0, json!({"outage": null})));
    wait_until(|| stored(to.path()).len() == 1);
}

#[test]
fn the_socket_of_an_agent_is_its_owners_and_goes_with_it() {
    let dir = tempdir().unwrap();
    let socket = dir.path().join(SOCKET);
    let agent = Agent::start(dir.path(), NOBODY);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    agent.stop();
    assert!(!socket.exists());
}

#[test]
fn an_agent_that_was_killed_is_in_nobodys_way() {
    let dir = tempdir().unwrap();
    let mut agent = Agent::start(dir.path(), NOBODY);
    for run_id in ["run_1", "run_2"] {
        agent.has_run(run_id);
    }
    agent.kill();
    assert!(dir.path().join(SOCKET).exists());
    assert_eq!(status(dir.path())["pending"], 2);
    assert_eq!(ask(&["queue", "drop", "normal/1"], dir.path()).1["dropped"], 1);
    assert_eq!(ask(&["clean", "--older-than", "0s"], dir.path()).0, 0);
    let (to, agent) = (tempdir().unwrap(), Agent::start(dir.path(), NOBODY));
    assert_eq!(owner(dir.path()), Some(agent.process().into()));
    assert_eq!(ask(&["queue", "drop", "normal/2"], dir.path()).1["dropped"], 1);
    agent.kill();
    let hub = Hub::start(to.path());
    let url = format!("http://{}", hub.address);
    assert_eq!(ask(&["sync", "--runs-url", &url], dir.path()).1["remaining"], 0);
}

#[test]
fn a_second_agent_on_the_queue_is_reached_when_the_first_is_gone() {
    let dir = tempdir().unwrap();
    let mut first = Agent::start(dir.path(), NOBODY);
    let mut second = Agent::start(dir.path(), NOBODY);
    first.has_run("run_1");
    second.has_run("run_2");
    assert_eq!(owner(dir.path()), Some(first.process().into()));
    // Each appends to a chain of its own, and one process does it for both.
    let (code, listed, _) = backhaul(&["queue", "list", "--json"], dir.path());
    assert_eq!((code, listed.lines().count()), (0, 2), "{listed}");
    let of_second: Value = serde_json::from_str(listed.lines().last().unwrap()).unwrap();
    let of_second = of_second["id"].as_str().unwrap();
    assert_eq!(ask(&["queue", "drop", of_second], dir.path()).1["dropped"], 1);
    first.kill();
    wait_until(|| owner(dir.path()) == Some(second.process().into()));
    assert_eq!(status(dir.path())["courier"]["destination"], NOBODY);
    assert_eq!(ask(&["queue", "drop", "normal/1"], dir.path()).1["dropped"], 1);
    assert_eq!(books_of(dir.path(), "offline")["dropped"], 2);
    second.stop();
    assert!(!dir.path().join(SOCKET).exists());
}

#[test]
fn an_agent_that_gets_the_queue_from_one_that_only_stores_is_reached() {
    let dir = tempdir().unwrap();
    let queue = OfflineQueue::new(dir.path().join("offline")).unwrap();
    queue.enqueue(&RunRecord::new("run_1", Timestamp::from_micros(1))).unwrap();
    let agent = Agent::start(dir.path(), NOBODY);
    wait_until(|| owner(dir.path()) == Some(agent.process().into()));
    assert_eq!(ask(&["queue", "drop", "normal/1"], dir.path()).1["dropped"], 1);
}

#[test]
fn an_agent_and_a_hub_share_a_data_dir_and_answer_for_their_own_spools() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let (address, url) = (hub.address, format!("http://{}", hub.address));
    assert_eq!(ask(&["outage", "on"], dir.path()).0, 0);
    let mut agent = Agent::start(dir.path(), &url);
    agent.has_run("run_1");
    agent.has_run("run_2");
    assert_eq!(hub.post(&runs(3..=4)).receipt(), (2, 0));
    let (_, both) = ask(&["status"], dir.path());
    let courier = |spool: &str| both["spools"][spool]["courier"].clone();
    assert_eq!(courier("runs"), Value::Null);
    assert_eq!(courier("offline")["blocked_by"], "outage");
    for spool in ["runs", "offline"] {
        assert_eq!(both["spools"][spool]["pending"], 2);
        let dropped = ask(&["queue", "drop", "normal/1", "--spool", spool], dir.path());
        assert_eq!(dropped.1["dropped"], 1);
        assert_eq!(books_of(dir.path(), spool)["dropped"], 1);
    }
    // Each comes and goes by itself.
    hub.kill();
    assert_eq!(owner(dir.path()), Some(agent.process().into()));
    assert_eq!(ask(&["queue", "retry", "normal/2", "--spool", "runs"], dir.path()).0, 0);
    let hub = Hub::start_at(dir.path(), address);
    // The end of the outage reaches the agent, beside the hub that was told of it first.
    assert_eq!(ask(&["outage", "off"], dir.path()), (0, json!({"outage": null})));
    wait_until(|| books_of(dir.path(), "offline")["delivered"] == 1);
    agent.kill();
    assert_eq!(ask(&["clean", "--older-than", "0s"], dir.path()).0, 0);
    assert!(hub.terminate().1);
}
