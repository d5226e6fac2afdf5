//! Spans, ops and calls by hand nest in each other, however tasks and threads take turns.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Barrier;

use backhaul_weave as weave;
use serde_json::json;
use tracing::{Instrument as _, debug_span, info_span, instrument};
use tracing_subscriber::layer::SubscriberExt as _;
use weave::{CallRecord, CallStatus, WeaveLayer};

use super::traced;
use crate::client::support::{Logging, logging};

/// For what runs on several threads.
fn trace_all() -> Logging {
    let subscriber = tracing_subscriber::registry().with(WeaveLayer::new());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    logging()
}

/// Each call and the one above it, by their ops.
fn below(logging: &Logging) -> Vec<(String, String)> {
    let calls = logging.calls();
    let names: BTreeMap<&str, &str> =
        calls.iter().map(|call| (call.id(), call.op_name())).collect();
    let above = |call: &CallRecord| call.parent_id().map_or("", |id| names[id]).to_owned();
    calls.iter().map(|call| (call.op_name().to_owned(), above(call))).collect()
}

#[track_caller]
fn stands_below(logging: &Logging, expected: &[(&str, &str)]) {
    let found = below(logging);
    let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(found, expected);
}

#[weave::op]
fn op(work: &dyn Fn()) {
    work();
}

#[test]
fn spans_stand_below_ops_and_ops_below_spans() {
    let logging = logging();
    traced(|| {
        info_span!("a").in_scope(|| {
            op(&|| {
                info_span!("b").in_scope(|| {
                    weave::call("c").run(|| drop(info_span!("d")));
                });
                drop(info_span!("e"));
            });
            drop(info_span!("f"));
        });
        drop(info_span!("g"));
    });
    let expected =
        [("a", ""), ("op", "a"), ("b", "op"), ("c", "b"), ("d", "c"), ("e", "op"), ("f", "a")];
    stands_below(&logging, &[&expected[..], &[("g", "")]].concat());
    let calls = logging.calls();
    assert!(calls[1..7].iter().all(|call| call.trace_id() == calls[0].trace_id()));
    assert_eq!(calls[0].summary()["status_counts"]["success"], 7);
}

#[test]
fn a_parent_that_is_named_counts_and_a_root_begins_a_trace_with_the_attributes_of_where_it_is() {
    let logging = logging();
    traced(|| {
        let a = info_span!("a");
        weave::attributes(json!({"site": "mast"})).run(|| {
            op(&|| {
                drop(info_span!(parent: &a, "b"));
                let c = info_span!(parent: None, "c");
                c.in_scope(|| drop(info_span!("d")));
            });
        });
    });
    stands_below(&logging, &[("a", ""), ("op", ""), ("b", "a"), ("c", ""), ("d", "c")]);
    assert_eq!(logging.call_of("d").attributes()["site"], "mast");
}

#[test]
fn nothing_is_logged_where_nothing_is_to_be() {
    let logging = logging();
    traced(|| {
        let a = info_span!("a");
        let future = weave::Context::current().without_logging().run(|| {
            drop(info_span!(parent: &a, "b"));
            let c = info_span!("c");
            async { weave::call("d").run(|| 1) }.instrument(c)
        });
        // It takes along where it began.
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    });
    stands_below(&logging, &[("a", "")]);
}

#[test]
fn with_call_gives_the_call_of_a_span() {
    let logging = logging();
    let (_, call) = traced(|| weave::with_call(|| drop(info_span!("a"))));
    assert_eq!(call.unwrap().id(), logging.call().id());
}

#[test]
fn a_guard_that_outlives_its_op_leaves_nothing_behind() {
    let logging = logging();
    traced(|| {
        let mut kept = None;
        weave::call("op").run(|| {
            kept = Some(info_span!("a").entered());
        });
        // The op is over, and the span is not.
        weave::call("b").run(|| ());
        drop(kept);
        weave::call("c").run(|| ());
    });
    stands_below(&logging, &[("op", ""), ("a", "op"), ("b", "a"), ("c", "")]);
    assert!(weave::current_call().is_none());
}

#[test]
fn guards_are_dropped_in_any_order() {
    let logging = logging();
    traced(|| {
        let a = info_span!("a").entered();
        let b = info_span!("b").entered();
        drop(a);
        drop(info_span!("c"));
        drop(b);
        drop(info_span!("d"));
    });
    stands_below(&logging, &[("a", ""), ("b", "a"), ("c", "b"), ("d", "")]);
}

#[test]
fn a_span_is_entered_on_several_threads_at_a_time() {
    let logging = trace_all();
    let shared = info_span!("shared");
    let met = Barrier::new(3);
    std::thread::scope(|scope| {
        for n in 0..3 {
            let (shared, met) = (&shared, &met);
            scope.spawn(move || {
                let own = info_span!("own", n).entered();
                let entered = shared.enter();
                met.wait();
                weave::call("in").run(|| shared.in_scope(|| weave::call("again").run(|| n)));
                // This one first, though it was entered first.
                drop(own);
                weave::call("still").run(|| n);
                drop(entered);
                met.wait();
                weave::call("out").run(|| n);
            });
        }
    });
    drop(shared);
    let mut found = below(&logging);
    found.sort();
    let each = [("again", "in"), ("in", "shared"), ("out", ""), ("own", "")];
    let mut expected: Vec<(&str, &str)> = each.iter().flat_map(|one| [*one; 3]).collect();
    expected.push(("shared", ""));
    expected.extend([("still", "shared"); 3]);
    let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(found, expected);
}

/// A tree of spans and ops in turn, each with its number and that of the one above.
fn tree(depth: u32, n: u64, above: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    if depth == 0 {
        return Box::pin(async {});
    }
    match depth % 3 {
        0 => Box::pin(by_attribute(depth, n, above)),
        1 => Box::pin(by_op(depth, n, above)),
        _ => Box::pin(branches(depth, n).instrument(info_span!("hand", n, above))),
    }
}

#[instrument(skip(depth))]
async fn by_attribute(depth: u32, n: u64, above: u64) {
    branches(depth, n).await;
}

#[weave::op(skip(depth))]
async fn by_op(depth: u32, n: u64, above: u64) {
    branches(depth, n).await;
}

async fn branches(depth: u32, n: u64) {
    tokio::task::yield_now().await;
    for child in 0..2 {
        tree(depth - 1, n * 2 + child, n).await;
        tokio::task::yield_now().await;
    }
    // In an op the current span is the one above it, if any.
    let elsewhere = weave::spawn(tree(depth - 1, n * 2, n).in_current_span());
    // This one is not logged, and takes along where it began.
    let last = tokio::spawn(tree(depth - 1, n * 2, n).instrument(debug_span!("between")));
    elsewhere.await.unwrap();
    last.await.unwrap();
}

#[test]
fn tasks_on_several_threads_keep_their_spans_and_ops_apart() {
    let logging = trace_all();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (1..9).map(|n| tokio::spawn(tree(5, n * 1_000, 0))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let calls = logging.calls();
    assert_eq!(calls.len(), 8 * (1 + 4 + 16 + 64 + 256));
    let by_id: BTreeMap<&str, &CallRecord> = calls.iter().map(|call| (call.id(), call)).collect();
    for call in &calls {
        assert_eq!(call.status(), CallStatus::Success);
        let above = call.parent_id().map_or(json!(0), |id| by_id[id].inputs()["n"].clone());
        assert_eq!(above, call.inputs()["above"], "{}", call.as_json());
        let below = call.parent_id().and_then(|id| by_id[id].ended_at());
        assert!(below.is_none_or(|ended| ended >= call.ended_at().unwrap()));
    }
}
