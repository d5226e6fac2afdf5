//! What becomes of calls, by the policies of their tools.

use std::sync::Arc;
use std::time::Duration;

use backhaul_runtime::tool_queue::ToolQueue;
use backhaul_runtime::tools::{
    OfflinePolicy, OnUnknown, ToolCache, ToolCacheOptions, ToolError, ToolErrorKind, ToolOptions,
    ToolRegistry, ToolRequest, ToolResult, ToolRunner,
};
use backhaul_sync::{ConnectivityMonitor, ConnectivityOptions};
use backhaul_weave as weave;
use serde_json::json;

use crate::tool_queue::support::{Actuator, Device, Weather, World};

struct Agent {
    device: Device,
    world: World,
    monitor: ConnectivityMonitor,
    runner: ToolRunner,
    queue: ToolQueue,
}

fn agent(policy: OfflinePolicy, change: impl FnOnce(ToolOptions) -> ToolOptions) -> Agent {
    let (device, world) = (Device::new(), World::default());
    let tool = Actuator::new(&world, "act", OnUnknown::Repeat)
        .with(|options| change(options.offline_policy(policy)));
    let tools = ToolRegistry::new().with(tool).unwrap();
    let monitor = ConnectivityMonitor::new(ConnectivityOptions::default()).unwrap();
    monitor.set_online();
    let queue = device.builder(tools.clone()).connectivity(monitor.clone()).open().unwrap();
    let (disk, clock) = (Arc::new(device.disk.clone()), Arc::new(device.clock.clone()));
    let cache = ToolCache::open_on(disk, clock, "/data/cache", ToolCacheOptions::new()).unwrap();
    let runner = ToolRunner::new(tools);
    let runner = runner.connectivity(monitor.clone()).queue(queue.clone()).cache(cache);
    Agent { device, world, monitor, runner, queue }
}

fn request(n: u64) -> ToolRequest {
    crate::tool_queue::support::call("act", n)
}

fn done(n: u64) -> ToolResult {
    ToolResult::Done(json!({"done": {"n": n}}))
}

fn kind(result: &ToolResult) -> ToolErrorKind {
    match result {
        ToolResult::Failed(error) => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn with_a_network_every_policy_calls_the_tool() {
    for policy in [
        OfflinePolicy::Queue,
        OfflinePolicy::Skip,
        OfflinePolicy::LocalFallback,
        OfflinePolicy::Fail,
    ] {
        let agent = agent(policy, |options| options);
        assert_eq!(agent.runner.call(&request(1)).await, done(1), "{policy:?}");
        assert_eq!(agent.world.tries(), 1);
    }
}

#[tokio::test]
async fn queued_calls_are_done_when_there_is_a_network_whoever_says_that_there_is_none() {
    let agent = agent(OfflinePolicy::Queue, |options| options);
    agent.monitor.set_offline();
    let result = agent.runner.call(&request(1)).await;
    assert_eq!(result.metadata()["queued"], true);
    assert_eq!(result.data(), None);
    assert_eq!(agent.world.tries(), 0);
    agent.monitor.set_online();
    assert_eq!(agent.queue.drain().await.done, 1);
    // The call itself may find that out.
    agent.world.forecast(&[Weather::NoNetwork]);
    let result = agent.runner.call(&request(2)).await;
    assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
    agent.device.clock.advance(Duration::from_secs(5));
    assert_eq!(agent.queue.drain().await.done, 1);
    assert_eq!(agent.world.done(), [json!({"n": 1}), json!({"n": 2})]);
}

#[tokio::test]
async fn skipped_calls_succeed_without_data_and_say_so() {
    let agent = agent(OfflinePolicy::Skip, |options| options);
    agent.monitor.set_offline();
    let result = agent.runner.call(&request(1)).await;
    assert_eq!(result, ToolResult::Skipped);
    assert!(result.is_success());
    agent.monitor.set_online();
    agent.world.forecast(&[Weather::NoNetwork]);
    assert_eq!(agent.runner.call(&request(1)).await, ToolResult::Skipped);
    // A tool that says no has failed, whatever its policy.
    agent.world.forecast(&[Weather::Refused]);
    assert_eq!(kind(&agent.runner.call(&request(1)).await), ToolErrorKind::Failed);
}

#[tokio::test]
async fn a_kept_result_is_given_in_an_outage_until_it_is_too_old() {
    let ttl = Duration::from_secs(3600);
    let agent = agent(OfflinePolicy::LocalFallback, |options| options.local_cache_ttl(ttl));
    agent.monitor.set_offline();
    assert_eq!(kind(&agent.runner.call(&request(1)).await), ToolErrorKind::Offline);
    agent.monitor.set_online();
    assert_eq!(agent.runner.call(&request(1)).await, done(1));
    // With a network it is always asked.
    assert_eq!(agent.runner.call(&request(1)).await, done(1));
    assert_eq!(agent.world.tries(), 2);
    agent.monitor.set_offline();
    agent.device.clock.advance(Duration::from_secs(600));
    let result = agent.runner.call(&request(1)).await;
    let expected = ToolResult::Cached {
        value: json!({"done": {"n": 1}}),
        age: Duration::from_secs(600),
        is_stale: false,
    };
    assert_eq!(result, expected);
    assert_eq!(kind(&agent.runner.call(&request(2)).await), ToolErrorKind::Offline);
    agent.device.clock.advance(Duration::from_secs(3_001));
    assert_eq!(kind(&agent.runner.call(&request(1)).await), ToolErrorKind::Offline);
    agent.monitor.set_online();
    agent.world.forecast(&[Weather::NoNetwork]);
    assert_eq!(kind(&agent.runner.call(&request(1)).await), ToolErrorKind::Unreachable);
}

#[tokio::test]
async fn without_a_policy_a_call_fails_in_an_outage_and_is_not_kept() {
    let agent = agent(OfflinePolicy::Fail, |options| options);
    agent.monitor.set_offline();
    let result = agent.runner.call(&request(1)).await;
    assert_eq!(kind(&result), ToolErrorKind::Offline);
    assert_eq!(agent.queue.status().unwrap().pending, 0);
}

#[tokio::test]
async fn a_tool_that_is_not_to_be_repeated_goes_through_the_ledger_and_does_not_wait() {
    let agent = agent(OfflinePolicy::Fail, |options| options.on_unknown(OnUnknown::AskPerson));
    assert_eq!(agent.runner.call(&request(1)).await, done(1));
    // The same step is not done twice, after whatever crash.
    assert_eq!(agent.runner.call_again(&request(1), 1).await, done(1));
    assert_eq!(agent.world.tries(), 1);
    agent.world.forecast(&[Weather::NoNetwork]);
    assert_eq!(kind(&agent.runner.call(&request(2)).await), ToolErrorKind::Offline);
    assert_eq!(agent.queue.status().unwrap().pending, 0);
    agent.device.clock.advance(Duration::from_secs(5));
    agent.world.forecast(&[Weather::AnswerLost]);
    let result = agent.runner.call(&request(3)).await;
    assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
    assert_eq!(agent.queue.unknown_calls().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tool_that_goes_through_the_ledger_and_fails_has_failed_and_no_network_is_blamed() {
    for policy in [OfflinePolicy::Fail, OfflinePolicy::Skip] {
        let agent = agent(policy, |options| options.on_unknown(OnUnknown::Abandon));
        agent.world.forecast(&[Weather::Refused]);
        let result = agent.runner.call(&request(1)).await;
        assert_eq!(kind(&result), ToolErrorKind::Failed, "{policy:?}");
        assert_eq!(agent.queue.status().unwrap().pending, 0);
    }
}

/// What is done on the device.
fn broken(_n: u64) -> u64 {
    panic!("a bug in what is done on the device")
}

/// Needs a network.
#[backhaul_runtime::tools::tool(offline_policy = local_fallback, local = broken)]
fn remote(n: u64) -> Result<u64, ToolError> {
    Err(ToolError::unreachable(format!("no route for {n}")))
}

#[tokio::test]
async fn what_panics_on_the_device_has_failed() {
    let runner = ToolRunner::new(ToolRegistry::new().with(remote::tool()).unwrap());
    let result = runner.call(&ToolRequest::new("remote", request(1).arguments, "s")).await;
    assert_eq!(kind(&result), ToolErrorKind::Unclear);
}

#[tokio::test]
async fn calls_that_make_no_sense_fail_with_what_was_expected() {
    let agent = agent(OfflinePolicy::Queue, |options| options);
    let unknown = ToolRequest::new("atc", request(1).arguments, "s");
    let result = agent.runner.call(&unknown).await;
    assert_eq!(kind(&result), ToolErrorKind::UnknownTool);
    let invented = json!({"m": 1}).as_object().unwrap().clone();
    let result = agent.runner.call(&ToolRequest::new("act", invented, "s")).await;
    assert_eq!(kind(&result), ToolErrorKind::InvalidArguments);
    assert_eq!(agent.queue.status().unwrap().books.accepted, 0);
}

#[tokio::test]
async fn calls_are_in_run_records_and_calls_of_weave() {
    let agent = agent(OfflinePolicy::Skip, |options| options);
    let dir = tempfile::tempdir().unwrap();
    let client = weave::init("me/mine").offline(true).offline_dir(dir.path()).start().unwrap();
    let request = request(1).run("run_1").node("alert");
    let (_, call) = agent.runner.call_recorded(&request, 0).await;
    assert!(call.success);
    assert_eq!(call.output, done(1).to_value());
    assert_eq!((call.correlation_id.as_str(), call.node_id.as_deref()), ("run_1", Some("alert")));
    agent.world.forecast(&[Weather::Refused]);
    let (_, call) = agent.runner.call_recorded(&request, 0).await;
    assert_eq!(call.error.as_deref(), Some("the other side is busy"));
    agent.monitor.set_offline();
    let (_, call) = agent.runner.call_recorded(&request, 0).await;
    assert_eq!((call.success, &call.output["metadata"]["skipped"]), (true, &json!(true)));
    client.finish().unwrap();
    let calls = weave::calls_in(dir.path(), "me/mine").unwrap().op("act").list().unwrap();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].inputs()["n"], 1);
    let failed = calls.iter().filter(|call| call.status() == weave::CallStatus::Error).count();
    assert_eq!(failed, 1);
}
