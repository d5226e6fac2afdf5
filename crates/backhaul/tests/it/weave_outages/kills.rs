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
/// the same address.
fn gateways_are_killed(kills: usize, lie: u64) -> Vec<String> {
    let mut random = Prng::new(seed());
    let mut stage = Stage::new("0.52.42");
    stage.start_server();
    let mut gateway = stage.gateway();
    let (url, address) = (stage.url(), gateway.address);
    let recorder = Recorder::lying_before(address, lie);
    let mut agent = Agent::start(steady(&stage, "ada", Some(&recorder.url())));
    agent.says("logging");
    for _ in 0..kills {
        let_them_work(&mut random, 600);
        gateway.kill();
        gateway = stage.gateway_to(&url, &address.to_string());
    }
    let numbers = agent.finishes();
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
    let unpaid = gateways_are_killed(wanted(6, 50), u64::MAX);
    assert!(unpaid.is_empty(), "{}", unpaid.join("\n"));
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
