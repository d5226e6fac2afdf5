//! Gateways, agents and syncs that are killed (kill -9) at random moments.

use std::process::Stdio;
use std::time::Duration;

use backhaul_testkit::Prng;
use serde_json::json;

use super::agents::{Agent, calls_missing, steady};
use super::debts::Debts;
use super::held::post;
use super::library::Logger;
use super::recorder::Recorder;
use super::stage::Stage;
use super::{seed, wanted};

/// Lets other processes work for a random time of at most this.
fn let_them_work(random: &mut Prng, most_ms: u64) {
    std::thread::sleep(Duration::from_millis(random.below(most_ms)));
}

/// A steady agent while the gateway between it and the server is killed and started again at
/// the same address: what the server lacks in the end. Each kill comes when `until` returns;
/// after it `disk` may do something to the gateway's files.
fn gateways_are_killed(
    mut stage: Stage,
    kills: usize,
    mut until: impl FnMut(&Recorder),
    disk: impl Fn(&Stage),
) -> Vec<String> {
    let mut gateway = stage.gateway();
    let (url, address) = (stage.url(), gateway.address);
    let recorder = Recorder::before(address);
    let mut agent = Agent::start(steady(&stage, "ada", Some(&recorder.url())));
    agent.says("logging");
    for _ in 0..kills {
        until(&recorder);
        gateway.kill();
        disk(&stage);
        gateway = stage.gateway_to(&url, &address.to_string());
    }
    let numbers = agent.finishes();
    stage.start_server();
    stage.sync();
    let (debts, held) = (Debts::of(&recorder.take()), stage.held());
    println!("{kills} gateways killed, seed {}: {numbers} numbers, {:?}", seed(), debts.counts());
    // The client tries for longer than a gateway takes to start: its calls are all there.
    let mut unpaid = debts.unpaid(&held);
    unpaid.extend(calls_missing(&held, "ada", numbers));
    unpaid
}

#[test]
fn a_gateway_that_is_killed_has_all_that_it_acknowledged() {
    let mut random = Prng::new(seed());
    let mut stage = Stage::new("0.52.42");
    stage.start_server();
    let at_random = |_: &Recorder| let_them_work(&mut random, 600);
    let unpaid = gateways_are_killed(stage, wanted(6, 50), at_random, |_| {});
    assert!(unpaid.is_empty(), "{}", unpaid.join("\n"));
}

#[test]
fn a_gateway_that_acknowledges_what_it_has_not_stored_is_noticed() {
    // Without a server, which would have what was delivered before the kill.
    let stage = Stage::new("0.52.42");
    let acknowledged = |recorder: &Recorder| recorder.waits_for("/calls/complete");
    // What it would leave behind that keeps everything in memory.
    let nothing = |stage: &Stage| {
        std::fs::remove_dir_all(stage.data_dir().join("weave/local/scenario")).unwrap();
    };
    let unpaid = gateways_are_killed(stage, 1, acknowledged, nothing);
    let is_missing = |line: &String| line.starts_with("call ") && line.ends_with(" is missing");
    assert!(unpaid.iter().any(is_missing), "{unpaid:?}");
}

#[test]
fn what_was_acknowledged_outlives_an_agent_that_is_killed() {
    let mut random = Prng::new(seed());
    let mut stage = Stage::new("0.52.42");
    stage.start_server();
    let gateway = stage.gateway();
    let recorder = Recorder::before(gateway.address);
    let kills = wanted(2, 50);
    for number in 0..kills {
        let name = format!("agent-{number}");
        let mut agent = Agent::start(steady(&stage, &name, Some(&recorder.url())));
        agent.says("logging");
        let_them_work(&mut random, 3_000);
        agent.kill();
    }
    stage.sync();
    let (debts, held) = (Debts::of(&recorder.take()), stage.held());
    println!("{kills} agents killed, seed {}: {:?}", seed(), debts.counts());
    assert!(debts.counts().iter().all(|count| *count > 0), "nothing was logged of a kind");
    let unpaid = debts.unpaid(&held);
    assert!(unpaid.is_empty(), "{}", unpaid.join("\n"));
}

#[test]
fn a_sync_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    let mut random = Prng::new(seed());
    let mut stage = Stage::new("0.52.42");
    stage.start_server();
    let mut logger = Logger::new(&stage);
    let (kills, mut killed, mut rounds) = (wanted(15, 100), 0, 0);
    // A sync that is through before its time is over is none that was killed.
    while killed < kills {
        rounds += 1;
        logger.log(40);
        let mut sync = stage.sync_to(&stage.url());
        let mut sync = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let_them_work(&mut random, 1_000);
        if sync.try_wait().unwrap().is_none() {
            sync.kill().unwrap();
            killed += 1;
        }
        sync.wait().unwrap();
    }
    stage.sync();
    let calls = logger.calls().len();
    println!("{killed} of {rounds} syncs killed, seed {}: {calls} calls", seed());
    let unpaid = logger.unpaid(&stage.held());
    assert!(unpaid.is_empty(), "{}", unpaid.join("\n"));

    // The same feedback once more, as a sync would send it that does not know what it sent.
    let again = json!({
        "id": logger.feedback()[0], "weave_ref": "weave:///local/scenario/call/1",
        "feedback_type": "wandb.note.1", "payload": {"note": "again"},
    });
    assert_eq!(post(stage.port(), "/feedback/create", again).0, 200);
    assert_eq!(logger.unpaid(&stage.held()).len(), 1);
}
