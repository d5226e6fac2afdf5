//! What goes wrong beside the plain course of calls.

use std::time::Duration;

use backhaul_runtime::tool_queue::{Decision, Placed, ToolQueue, ToolQueueOptions};
use backhaul_runtime::tools::{
    OnUnknown, ToolErrorKind, ToolOptions, ToolRegistry, ToolRequest, ToolResult,
};
use backhaul_store::{Settled, State};
use serde_json::json;
use tokio::time::timeout;

use super::support::{Actuator, Device, Weather, World, call};

const LONG: Duration = Duration::from_secs(300);

fn tools(world: &World, on_unknown: OnUnknown) -> ToolRegistry {
    tools_with(world, on_unknown, |options| options)
}

/// `act`, and `other`, which is safe to repeat.
fn tools_with(
    world: &World,
    on_unknown: OnUnknown,
    change: impl FnOnce(ToolOptions) -> ToolOptions,
) -> ToolRegistry {
    let act = Actuator::new(world, "act", on_unknown).with(change);
    let other = Actuator::new(world, "other", OnUnknown::Repeat);
    ToolRegistry::new().with(act).unwrap().with(other).unwrap()
}

fn id_of(placed: Placed) -> String {
    match placed {
        Placed::Queued { id } | Placed::AlreadyQueued { id } => id,
        other => panic!("{other:?}"),
    }
}

fn error_kind(result: &ToolResult) -> ToolErrorKind {
    match result {
        ToolResult::Failed(error) => error.kind(),
        other => panic!("{other:?}"),
    }
}

/// Drains, and lets pass what time the next try needs.
async fn drain_on(device: &Device, queue: &ToolQueue, times: u32) {
    for _ in 0..times {
        queue.drain().await;
        device.clock.advance(Duration::from_secs(120));
    }
}

#[tokio::test]
async fn what_was_abandoned_is_not_done_when_the_same_step_asks_again() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::Abandon));
    world.forecast(&[Weather::AnswerLost]);
    let result = queue.call(call("act", 1)).await.unwrap();
    assert_eq!(error_kind(&result), ToolErrorKind::Unclear);
    let result = queue.call(call("act", 1)).await.unwrap();
    assert_eq!(error_kind(&result), ToolErrorKind::Unclear);
    drop(queue);
    let queue = device.open(tools(&world, OnUnknown::Abandon));
    let result = queue.call(call("act", 1)).await.unwrap();
    assert_eq!(error_kind(&result), ToolErrorKind::Unclear);
    assert_eq!(world.effects_of(&call("act", 1).key), 1);
    // A person may have it done all the same.
    let failed = queue.status().unwrap();
    assert_eq!(failed.failed, 1);
}

#[tokio::test]
async fn a_person_may_have_an_abandoned_call_done() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::Abandon));
    let id = id_of(queue.enqueue(call("act", 1)).unwrap());
    world.forecast(&[Weather::RequestLost]);
    assert_eq!(queue.drain().await.failed, 1);
    assert!(queue.spool().requeue(id.parse().unwrap()).unwrap());
    assert_eq!(queue.drain().await.done, 1);
    assert_eq!(world.effects_of(&call("act", 1).key), 1);
    assert!(matches!(queue.enqueue(call("act", 1)).unwrap(), Placed::AlreadyDone(_)));
}

#[tokio::test]
async fn what_a_person_gave_up_is_not_done_when_the_same_step_asks_again() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::AskPerson));
    let id = id_of(queue.enqueue(call("act", 1)).unwrap());
    world.forecast(&[Weather::AnswerLost]);
    assert_eq!(queue.drain().await.unknown, 1);
    queue.decide(&id, Decision::Abandon).unwrap();
    let result = queue.call(call("act", 1)).await.unwrap();
    assert_eq!(error_kind(&result), ToolErrorKind::Unclear);
    assert_eq!(world.effects_of(&call("act", 1).key), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_leaves_the_call_to_a_person() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::CheckFirst));
    world.let_probes_panic();
    world.forecast(&[Weather::AnswerLost]);
    queue.enqueue(call("act", 1)).unwrap();
    timeout(LONG, drain_on(&device, &queue, 3)).await.expect("it goes on for ever");
    let status = queue.status().unwrap();
    assert_eq!((status.unknown, status.running), (1, 0));
    assert_eq!((world.tries(), world.probes()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_always_panics_is_kept_as_failed_and_holds_up_no_other() {
    for on_unknown in [OnUnknown::Repeat, OnUnknown::CheckFirst] {
        let (device, world) = (Device::new(), World::default());
        let queue = device.open(tools(&world, on_unknown));
        world.forecast(&[Weather::Panics; 4]);
        queue.enqueue(call("act", 1)).unwrap();
        queue.enqueue(call("act", 2)).unwrap();
        drain_on(&device, &queue, 6).await;
        assert_eq!(world.done(), [json!({"n": 2})], "{on_unknown:?}");
        assert_eq!(queue.status().unwrap().failed, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_long_holds_up_none_of_other_tools() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::Repeat));
    queue.start_processor(|_| {}, |_| {}).unwrap();
    world.forecast(&[Weather::Slow]);
    queue.enqueue(call("act", 1)).unwrap();
    world.tried(1).await;
    let result = timeout(LONG, queue.call(call("other", 2))).await.expect("it is held up");
    assert_eq!(result.unwrap(), ToolResult::Done(json!({"done": {"n": 2}})));
    // One of the same tool waits behind it.
    let result = queue.call(call("act", 3)).await.unwrap();
    assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
    assert_eq!(queue.status().unwrap().running, 1);
    world.go_on();
    world.tried(3).await;
    queue.stop(LONG).await;
    assert_eq!(world.done(), [json!({"n": 2}), json!({"n": 1}), json!({"n": 3})]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_call_is_told_that_it_waits_while_another_takes_long_and_none_is_begun() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::Repeat));
    queue.start_processor(|_| {}, |_| {}).unwrap();
    world.forecast(&[Weather::Slow, Weather::NoNetwork]);
    queue.enqueue(call("act", 1)).unwrap();
    world.tried(1).await;
    for number in [2, 3] {
        let calling = queue.call(call("other", number));
        let result = timeout(LONG, calling).await.expect("nobody tells").unwrap();
        assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
    }
    // All go on when the network is there again.
    device.clock.advance(Duration::from_secs(120));
    world.tried(4).await;
    world.go_on();
    queue.stop(LONG).await;
    assert_eq!(world.done(), [json!({"n": 2}), json!({"n": 3}), json!({"n": 1})]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_call_is_told_when_the_processor_is_stopped() {
    let (device, world) = (Device::new(), World::default());
    let options = ToolQueueOptions { max_parallel: 1, ..ToolQueueOptions::default() };
    let queue = device.builder(tools(&world, OnUnknown::Repeat)).options(options).open().unwrap();
    queue.start_processor(|_| {}, |_| {}).unwrap();
    world.forecast(&[Weather::Slow]);
    queue.enqueue(call("act", 1)).unwrap();
    world.tried(1).await;
    let caller = queue.clone();
    let calling = tokio::spawn(async move { caller.call(call("other", 2)).await });
    while queue.status().unwrap().pending < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stopping = queue.clone();
    let stopping = tokio::spawn(async move { stopping.stop(LONG).await });
    tokio::task::yield_now().await;
    world.go_on();
    stopping.await.unwrap();
    let result = timeout(LONG, calling).await.expect("nobody tells").unwrap().unwrap();
    assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_given_up_leaves_no_call_behind() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::CheckFirst));
    world.forecast(&[Weather::Slow]);
    queue.enqueue(call("act", 1)).unwrap();
    assert!(timeout(Duration::from_secs(1), queue.drain()).await.is_err());
    assert_eq!(queue.status().unwrap().running, 1);
    world.go_on();
    drain_on(&device, &queue, 2).await;
    assert_eq!(world.effects_of(&call("act", 1).key), 1);
    let status = queue.status().unwrap();
    assert_eq!((status.running, status.pending, status.books.delivered), (0, 0, 1));
}

#[tokio::test]
async fn a_call_is_waited_for_where_those_before_it_expired_or_gave_way() {
    let (device, world) = (Device::new(), World::default());
    let tools = tools_with(&world, OnUnknown::Repeat, |options| {
        options.expires_after(Duration::from_secs(60)).collapse_by([""; 0])
    });
    let queue = device.open(tools);
    for number in 1..=3 {
        queue.enqueue(call("act", number)).unwrap();
    }
    let drained = queue.drain().await;
    assert_eq!((drained.superseded, drained.done), (2, 1));
    let result = queue.call(call("act", 4)).await.unwrap();
    assert_eq!(result, ToolResult::Done(json!({"done": {"n": 4}})));
    queue.enqueue(call("act", 5)).unwrap();
    device.clock.advance(Duration::from_secs(61));
    queue.drain().await;
    assert_eq!(queue.status().unwrap().books.expired, 1);
    let result = queue.call(call("act", 6)).await.unwrap();
    assert_eq!(result, ToolResult::Done(json!({"done": {"n": 6}})));
}

#[tokio::test(start_paused = true)]
async fn calls_begin_at_most_as_often_as_is_allowed_however_they_come() {
    let (device, world) = (Device::new(), World::default());
    let options = ToolQueueOptions { drain_rate: Some(0.5), ..ToolQueueOptions::default() };
    let queue = device.builder(tools(&world, OnUnknown::Repeat)).options(options).open().unwrap();
    let began = tokio::time::Instant::now();
    for number in 0..4 {
        queue.enqueue(call("act", number)).unwrap();
        assert_eq!(queue.drain().await.done, 1);
    }
    assert!(began.elapsed() >= Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_slowest_rate_is_no_panic() {
    let (device, world) = (Device::new(), World::default());
    let options = ToolQueueOptions { drain_rate: Some(1e-300), ..ToolQueueOptions::default() };
    let queue = device.builder(tools(&world, OnUnknown::Repeat)).options(options).open().unwrap();
    queue.enqueue(call("act", 1)).unwrap();
    assert_eq!(queue.drain().await.done, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_taken_back_before_it_was_begun_is_not_done() {
    let (device, world) = (Device::new(), World::default());
    let options = ToolQueueOptions { drain_rate: Some(0.1), ..ToolQueueOptions::default() };
    let queue = device.builder(tools(&world, OnUnknown::Repeat)).options(options).open().unwrap();
    queue.enqueue(call("act", 1)).unwrap();
    queue.enqueue(call("other", 2)).unwrap();
    let third =
        id_of(queue.enqueue(ToolRequest::new("act", call("act", 3).arguments, "3")).unwrap());
    let draining = queue.clone();
    let draining = tokio::spawn(async move { draining.drain().await });
    world.tried(2).await;
    // The third is next, and waits for its turn.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(queue.withdraw(&third).unwrap());
    draining.await.unwrap();
    assert_eq!(world.tries(), 2);
    assert_eq!(queue.status().unwrap().books.dropped, 1);
}

#[tokio::test]
async fn an_unknown_call_is_listed_however_old_it_is() {
    let (device, world) = (Device::new(), World::default());
    let make = || {
        tools_with(&world, OnUnknown::AskPerson, |options| {
            options.expires_after(Duration::from_secs(60))
        })
    };
    let queue = device.open(make());
    let id = id_of(queue.enqueue(call("act", 1)).unwrap());
    // As a process that was killed leaves it.
    queue.spool().settle_durably(&[(id.parse().unwrap(), Settled::new(State::Started))]).unwrap();
    drop(queue);
    device.disk.kill_process();
    device.clock.advance(Duration::from_secs(3600));
    let queue = device.open(make());
    assert_eq!(queue.drain().await.unknown, 1);
    let status = queue.status().unwrap();
    assert_eq!((status.unknown, status.books.expired), (1, 0));
}

#[tokio::test]
async fn a_call_that_was_begun_and_expired_since_is_looked_at_and_not_done_late() {
    for (first, delivered) in [(Weather::AnswerLost, 1), (Weather::RequestLost, 0)] {
        let (device, world) = (Device::new(), World::default());
        let tools = tools_with(&world, OnUnknown::CheckFirst, |options| {
            options.expires_after(Duration::from_secs(60))
        });
        let queue = device.open(tools);
        world.forecast(&[first]);
        queue.enqueue(call("act", 1)).unwrap();
        drain_on(&device, &queue, 2).await;
        assert_eq!((world.tries(), world.probes()), (1, 1), "{first:?}");
        let books = queue.status().unwrap().books;
        assert_eq!((books.delivered, books.expired, books.pending), (delivered, 1 - delivered, 0));
    }
}

#[tokio::test]
async fn a_call_that_was_begun_and_whose_tool_is_gone_waits_for_a_person() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(tools(&world, OnUnknown::AskPerson));
    let id = id_of(queue.enqueue(call("act", 1)).unwrap());
    queue.spool().settle_durably(&[(id.parse().unwrap(), Settled::new(State::Started))]).unwrap();
    drop(queue);
    device.disk.kill_process();
    let queue = device.open(ToolRegistry::new());
    assert_eq!(queue.drain().await.unknown, 1);
    assert_eq!(queue.unknown_calls().unwrap()[0].id, id);
}

#[tokio::test]
async fn an_unknown_call_gives_way_to_none_that_tells_the_same() {
    let (device, world) = (Device::new(), World::default());
    let tools = tools_with(&world, OnUnknown::AskPerson, |options| {
        options.collapse_by([""; 0]).max_retries(0)
    });
    let queue = device.open(tools);
    let first = id_of(queue.enqueue(call("act", 1)).unwrap());
    world.forecast(&[Weather::Refused, Weather::AnswerLost]);
    assert_eq!(queue.drain().await.failed, 1);
    queue.enqueue(call("act", 2)).unwrap();
    assert_eq!(queue.drain().await.unknown, 1);
    queue.enqueue(call("act", 3)).unwrap();
    // A person has the first one tried again, which stands before the unknown one.
    assert!(queue.spool().requeue(first.parse().unwrap()).unwrap());
    queue.drain().await;
    assert_eq!(queue.unknown_calls().unwrap().len(), 1);
    assert_eq!(world.effects_of(&call("act", 1).key), 0);
}
