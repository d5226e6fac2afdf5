//! Calls are stored, done in order, once each, and told of.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_runtime::tool_queue::{
    CallOutcome, Decision, Placed, ToolQueueErrorKind, ToolQueueOptions,
};
use backhaul_runtime::tools::{OnUnknown, ToolRegistry, ToolRequest, ToolResult};
use serde_json::json;

use super::support::{Actuator, Device, Weather, World, call};

fn one_tool(world: &World, on_unknown: OnUnknown) -> ToolRegistry {
    ToolRegistry::new().with(Actuator::new(world, "act", on_unknown)).unwrap()
}

fn id_of(placed: Placed) -> String {
    match placed {
        Placed::Queued { id } | Placed::AlreadyQueued { id } => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_are_done_in_order_once_each_and_told_of() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    for number in 0..5 {
        queue.enqueue(call("act", number)).unwrap();
    }
    assert!(matches!(queue.enqueue(call("act", 3)).unwrap(), Placed::AlreadyQueued { .. }));
    let drained = queue.drain().await;
    assert_eq!((drained.done, drained.remaining), (5, 0));
    let done: Vec<_> = (0..5).map(|n| json!({"n": n})).collect();
    assert_eq!(world.done(), done);
    let again = queue.enqueue(call("act", 3)).unwrap();
    assert_eq!(again, Placed::AlreadyDone(json!({"done": {"n": 3}})));
    assert_eq!(queue.status().unwrap().books.delivered, 5);
}

#[tokio::test]
async fn a_restart_loses_no_call_and_repeats_none() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    for number in 0..3 {
        queue.enqueue(call("act", number)).unwrap();
    }
    drop(queue);
    device.disk.kill_process();
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    assert!(matches!(queue.enqueue(call("act", 1)).unwrap(), Placed::AlreadyQueued { .. }));
    assert_eq!(queue.drain().await.done, 3);
    drop(queue);
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    assert!(matches!(queue.enqueue(call("act", 1)).unwrap(), Placed::AlreadyDone(_)));
    assert_eq!(queue.drain().await.done, 0);
    assert_eq!(world.tries(), 3);
}

#[tokio::test]
async fn an_outage_spends_no_retry_and_calls_go_on_after_it() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    queue.enqueue(call("act", 1)).unwrap();
    world.forecast(&[Weather::NoNetwork; 20]);
    for _ in 0..20 {
        let drained = queue.drain().await;
        assert_eq!((drained.put_off, drained.failed, drained.remaining), (1, 0, 1));
        // All wait after that, and ever longer, up to a minute.
        assert_eq!(queue.drain().await.put_off, 0);
        device.clock.advance(Duration::from_secs(70));
    }
    assert_eq!(queue.status().unwrap().last_error.as_deref(), Some("no route to host"));
    assert_eq!(queue.drain().await.done, 1);
}

#[tokio::test]
async fn what_fails_is_tried_again_and_kept_with_the_reason_in_the_end() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    let failed = Arc::new(Mutex::new(Vec::<CallOutcome>::new()));
    let told = Arc::clone(&failed);
    queue
        .start_processor(
            |_| panic!("nothing succeeds"),
            move |outcome| told.lock().unwrap().push(outcome.clone()),
        )
        .unwrap();
    queue.stop(Duration::from_secs(1)).await;
    queue.enqueue(call("act", 1)).unwrap();
    world.forecast(&[Weather::Refused; 4]);
    for retry in 0..4 {
        let drained = queue.drain().await;
        assert_eq!((drained.put_off, drained.failed), if retry < 3 { (1, 0) } else { (0, 1) });
        device.clock.advance(Duration::from_secs(10));
    }
    let told = failed.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].to_string(), "act (normal/1) after 4 attempts: the other side is busy");
    let status = queue.status().unwrap();
    assert_eq!((status.failed, status.pending), (1, 0));
}

#[tokio::test]
async fn a_call_of_no_registered_tool_is_kept_as_failed_with_the_reason() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    queue.enqueue(call("vanished", 1)).unwrap();
    assert_eq!(queue.drain().await.failed, 1);
    let mut reasons = Vec::new();
    queue
        .spool()
        .each(None, &mut |entry| {
            reasons.push(entry.last_error);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(reasons, [Some("no tool `vanished` is registered: these are: act".to_owned())]);
}

#[tokio::test]
async fn a_full_queue_refuses_the_new_call_and_keeps_the_old_ones() {
    let (device, world) = (Device::new(), World::default());
    let queue =
        device.builder(one_tool(&world, OnUnknown::Repeat)).max_queue_size(2).open().unwrap();
    queue.enqueue(call("act", 1)).unwrap();
    queue.enqueue(call("act", 2)).unwrap();
    let error = queue.enqueue(call("act", 3)).unwrap_err();
    assert_eq!(error.kind(), ToolQueueErrorKind::Full);
    assert!(
        error.to_string().contains("holds 2 calls, as many as max_queue_size allows"),
        "{error}"
    );
    assert_eq!(queue.drain().await.done, 2);
    queue.enqueue(call("act", 3)).unwrap();
}

#[tokio::test]
async fn calls_that_are_too_old_are_not_done() {
    let (device, world) = (Device::new(), World::default());
    let tool = Actuator::new(&world, "act", OnUnknown::Repeat);
    let tool = tool.with(|options| options.expires_after(Duration::from_secs(60)));
    let queue = device.open(ToolRegistry::new().with(tool).unwrap());
    queue.enqueue(call("act", 1)).unwrap();
    device.clock.advance(Duration::from_secs(61));
    // The same again is another one.
    assert!(matches!(queue.enqueue(call("act", 2)).unwrap(), Placed::Queued { .. }));
    assert_eq!(queue.drain().await.done, 1);
    assert_eq!(world.done(), [json!({"n": 2})]);
    assert_eq!(queue.status().unwrap().books.expired, 1);
    assert!(matches!(queue.enqueue(call("act", 1)).unwrap(), Placed::Queued { .. }));
}

#[tokio::test]
async fn of_calls_that_tell_the_same_the_newest_is_done() {
    let (device, world) = (Device::new(), World::default());
    let tool = Actuator::new(&world, "act", OnUnknown::Repeat);
    let tool = tool.with(|options| options.collapse_by(["place"]));
    let queue = device.open(ToolRegistry::new().with(tool).unwrap());
    for (number, place) in ["roof", "mast", "roof", "roof"].into_iter().enumerate() {
        let arguments = json!({"n": number, "place": place}).as_object().unwrap().clone();
        queue.enqueue(ToolRequest::new("act", arguments, &number.to_string())).unwrap();
    }
    let drained = queue.drain().await;
    assert_eq!((drained.done, drained.superseded, drained.remaining), (2, 2, 0));
    assert_eq!(world.done(), [json!({"n": 1, "place": "mast"}), json!({"n": 3, "place": "roof"})]);
    let books = queue.status().unwrap().books;
    assert_eq!((books.superseded, books.balance()), (2, true));
}

#[tokio::test]
async fn one_tool_that_waits_holds_up_no_other() {
    let (device, world) = (Device::new(), World::default());
    let tools = one_tool(&world, OnUnknown::Repeat);
    let tools = tools.with(Actuator::new(&world, "other", OnUnknown::Repeat)).unwrap();
    let options = ToolQueueOptions { max_parallel: 1, ..ToolQueueOptions::default() };
    let queue = device.builder(tools).options(options).open().unwrap();
    queue.enqueue(call("act", 1)).unwrap();
    queue.enqueue(call("act", 2)).unwrap();
    queue.enqueue(call("other", 3)).unwrap();
    world.forecast(&[Weather::Refused]);
    let drained = queue.drain().await;
    assert_eq!((drained.done, drained.put_off, drained.remaining), (1, 1, 2));
    assert_eq!(world.done(), [json!({"n": 3})]);
    device.clock.advance(Duration::from_secs(2));
    assert_eq!(queue.drain().await.done, 2);
    assert_eq!(world.done(), [json!({"n": 3}), json!({"n": 1}), json!({"n": 2})]);
}

#[tokio::test]
async fn a_call_is_done_at_once_where_there_is_a_network_and_waits_where_there_is_none() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    let result = queue.call(call("act", 1)).await.unwrap();
    assert_eq!(result, ToolResult::Done(json!({"done": {"n": 1}})));
    assert_eq!(queue.call(call("act", 1)).await.unwrap(), result);
    world.forecast(&[Weather::NoNetwork]);
    let result = queue.call(call("act", 2)).await.unwrap();
    assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
    // One more of the same tool waits behind it.
    let result = queue.call(call("act", 3)).await.unwrap();
    assert!(matches!(result, ToolResult::Queued { .. }), "{result:?}");
    assert_eq!(world.tries(), 2);
    device.clock.advance(Duration::from_secs(5));
    assert_eq!(queue.drain().await.done, 2);
}

#[tokio::test]
async fn a_processor_does_what_comes_until_it_is_stopped() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::Repeat));
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    // A callback that panics does no harm.
    let on_success = move |outcome: &CallOutcome| {
        told.send(outcome.call.key.clone()).unwrap();
        panic!("a bug in a callback");
    };
    queue.start_processor(on_success, |_| {}).unwrap();
    for number in 0..3 {
        queue.enqueue(call("act", number)).unwrap();
        assert_eq!(heard.recv().await, Some(call("act", number).key));
    }
    assert!(queue.call(call("act", 9)).await.unwrap().is_success());
    queue.stop(Duration::from_secs(10)).await;
    queue.enqueue(call("act", 4)).unwrap();
    assert_eq!(queue.status().unwrap().pending, 1);
}

#[tokio::test]
async fn a_person_decides_what_nobody_knows() {
    let (device, world) = (Device::new(), World::default());
    let queue = device.open(one_tool(&world, OnUnknown::AskPerson));
    let ids: Vec<_> = (0..3).map(|n| id_of(queue.enqueue(call("act", n)).unwrap())).collect();
    world.forecast(&[Weather::RequestLost, Weather::AnswerLost, Weather::RequestLost]);
    assert_eq!(queue.drain().await.unknown, 1);
    // Others of the tool wait behind it, in order.
    assert_eq!(world.tries(), 1);
    let unknown = queue.unknown_calls().unwrap();
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].reason.as_deref(), Some("the answer was lost: the connection broke"));
    queue.decide(&ids[0], Decision::Repeat).unwrap();
    world.forecast(&[Weather::Fine, Weather::AnswerLost]);
    let drained = queue.drain().await;
    assert_eq!((drained.done, drained.unknown), (1, 1));
    queue.decide(&ids[1], Decision::WasDone(json!("seen"))).unwrap();
    let known = queue.enqueue(call("act", 1)).unwrap();
    assert_eq!(known, Placed::AlreadyDone(json!("seen")));
    world.forecast(&[Weather::RequestLost]);
    assert_eq!(queue.drain().await.unknown, 1);
    queue.decide(&ids[2], Decision::Abandon).unwrap();
    let error = queue.decide(&ids[2], Decision::Abandon).unwrap_err();
    assert_eq!(error.kind(), ToolQueueErrorKind::NotFound);
    let books = queue.status().unwrap().books;
    assert_eq!((books.delivered, books.dropped, books.pending), (2, 1, 0));
}
