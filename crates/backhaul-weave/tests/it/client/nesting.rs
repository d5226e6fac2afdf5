//! Calls stand below the call that they begin in, however tasks and threads take turns.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use backhaul_weave as weave;
use proptest::prelude::*;
use serde_json::json;
use weave::CallRecord;

use super::support::{logging, logging_as};

#[weave::op]
async fn node(id: u32, tree: Vec<Tree>, spawned: bool) -> u32 {
    let mut sum = 1;
    for child in tree {
        tokio::task::yield_now().await;
        let work = boxed(child, spawned);
        sum += if spawned { weave::spawn(work).await.unwrap() } else { work.await };
        tokio::task::yield_now().await;
    }
    sum + id - id
}

/// What calls itself has a type that can be named.
fn boxed(tree: Tree, spawned: bool) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    Box::pin(node(tree.id, tree.children, spawned))
}

#[derive(Debug, Clone, serde::Serialize)]
struct Tree {
    id: u32,
    children: Vec<Tree>,
}

impl Tree {
    /// Who stands below whom.
    fn parents(&self, parent: Option<u32>, found: &mut BTreeMap<u32, Option<u32>>) {
        found.insert(self.id, parent);
        self.children.iter().for_each(|child| child.parents(Some(self.id), found));
    }

    fn number(&mut self, next: &mut u32) {
        self.id = *next;
        *next += 1;
        self.children.iter_mut().for_each(|child| child.number(next));
    }
}

fn trees() -> impl Strategy<Value = Vec<Tree>> {
    let leaf = Just(Tree { id: 0, children: Vec::new() });
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|children| Tree { id: 0, children })
    });
    prop::collection::vec(tree, 1..6).prop_map(|mut trees| {
        let mut next = 0;
        trees.iter_mut().for_each(|tree| tree.number(&mut next));
        trees
    })
}

/// Who stood below whom, as it was logged.
fn logged(calls: &[CallRecord]) -> BTreeMap<u32, Option<u32>> {
    let number = |call: &CallRecord| call.inputs()["id"].to_string().parse::<u32>().unwrap();
    let numbers: BTreeMap<&str, u32> = calls.iter().map(|call| (call.id(), number(call))).collect();
    calls.iter().map(|call| (number(call), call.parent_id().map(|id| numbers[id]))).collect()
}

/// Polls futures in an order that is given, each for as long as it is not done.
fn interleave(futures: Vec<Pin<Box<dyn Future<Output = u32> + '_>>>, order: &[usize]) {
    let mut waiting: Vec<Option<_>> = futures.into_iter().map(Some).collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = |slot: &mut Option<Pin<Box<dyn Future<Output = u32> + '_>>>| {
        if let Some(future) = slot
            && future.as_mut().poll(&mut context) != Poll::Pending
        {
            *slot = None;
        }
    };
    for turn in order {
        let at = turn % waiting.len();
        poll(&mut waiting[at]);
    }
    while waiting.iter().any(Option::is_some) {
        waiting.iter_mut().for_each(&mut poll);
    }
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
}

#[test]
fn tasks_that_take_turns_on_one_thread_keep_their_calls_apart() {
    let order = prop::collection::vec(any::<usize>(), 0..200);
    let run = |(trees, order): (Vec<Tree>, Vec<usize>)| {
        let logging = logging();
        let mut expected = BTreeMap::new();
        trees.iter().for_each(|tree| tree.parents(None, &mut expected));
        let futures = trees
            .into_iter()
            .map(|tree| {
                Box::pin(node(tree.id, tree.children, false)) as Pin<Box<dyn Future<Output = u32>>>
            })
            .collect();
        interleave(futures, &order);
        prop_assert!(weave::current_call().is_none());
        prop_assert_eq!(logged(&logging.calls()), expected);
        Ok(())
    };
    runner(100).run(&(trees(), order), run).unwrap();
}

#[test]
fn tasks_on_several_threads_stand_below_those_that_spawned_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let run = |trees: Vec<Tree>| {
        let logging = logging();
        let mut expected = BTreeMap::new();
        trees.iter().for_each(|tree| tree.parents(None, &mut expected));
        let count = u32::try_from(expected.len()).unwrap();
        let total: u32 = runtime.block_on(async {
            let tasks: Vec<_> = trees
                .into_iter()
                .map(|tree| tokio::spawn(node(tree.id, tree.children, true)))
                .collect();
            let mut total = 0;
            for task in tasks {
                total += task.await.unwrap();
            }
            total
        });
        prop_assert_eq!(total, count);
        let calls = logging.calls();
        prop_assert_eq!(logged(&calls), expected);
        // Each root counts all calls below it.
        let counted: u64 = calls
            .iter()
            .filter(|call| call.parent_id().is_none())
            .map(|call| call.summary()["status_counts"]["success"].as_u64().unwrap())
            .sum();
        prop_assert_eq!(counted, u64::from(count));
        Ok(())
    };
    runner(60).run(&trees(), run).unwrap();
}

#[test]
fn a_task_that_is_spawned_without_its_context_begins_a_trace_of_its_own() {
    // What the two above would not notice otherwise: it is the context that nests.
    let logging = logging();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        weave::call("outer")
            .run_async(async {
                tokio::spawn(node(1, Vec::new(), false)).await.unwrap();
                weave::spawn(node(2, Vec::new(), false)).await.unwrap();
            })
            .await;
    });
    let calls = logging.calls();
    let below = |id: u32| {
        let call = calls.iter().find(|call| call.inputs()["id"] == id).unwrap();
        call.parent_id().is_some()
    };
    assert_eq!((below(1), below(2)), (false, true));
}

#[test]
fn a_pool_of_threads_takes_the_context_along_by_hand() {
    let logging = logging();
    weave::call("outer").run(|| {
        let context = weave::Context::current();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let context = context.clone();
                scope.spawn(move || context.run(|| weave::call("inner").input("n", n).run(|| n)));
            }
        });
        weave::spawn_thread(|| weave::call("inner").run(|| 4)).join().unwrap();
    });
    let outer = logging.call_of("outer");
    let inner = weave::calls().op("inner").parent(outer.id()).list().unwrap();
    assert_eq!(inner.len(), 5);
    assert!(inner.iter().all(|call| call.trace_id() == outer.trace_id()));
}

#[test]
fn a_conversation_has_turns_which_those_below_them_share() {
    let logging = logging();
    weave::call("before").run(|| {
        weave::thread("talk").run(|| {
            weave::call("turn").run(|| weave::call("step").run(|| 1));
            weave::call("turn").run(|| 2);
        });
    });
    let calls = logging.calls();
    let field = |at: usize, field: &str| calls[at].as_json()[field].clone();
    assert_eq!(field(0, "thread_id"), json!(null));
    for at in 1..4 {
        assert_eq!(field(at, "thread_id"), "talk");
    }
    assert_eq!(field(1, "turn_id"), field(1, "id"));
    assert_eq!(field(2, "turn_id"), field(1, "id"));
    assert_eq!(field(3, "turn_id"), field(3, "id"));
}

#[test]
fn attributes_of_the_client_the_context_and_the_call_are_put_together() {
    let logging = logging_as(|init| init.attributes(json!({"device": "a", "site": {"x": 1}})));
    weave::attributes(json!({"site": {"y": 2}, "try": 1})).run(|| {
        weave::attributes(json!({"try": 2})).run(|| {
            weave::call("read").attribute("last", true).run(|| 1);
        });
        weave::call("read").run(|| 1);
    });
    weave::call("read").run(|| 1);
    let attributes = |at: usize| {
        let mut attributes = logging.calls()[at].attributes().clone();
        attributes.as_object_mut().unwrap().shift_remove("weave");
        attributes
    };
    let site = json!({"x": 1, "y": 2});
    assert_eq!(attributes(0), json!({"device": "a", "site": site, "try": 2, "last": true}));
    assert_eq!(attributes(1), json!({"device": "a", "site": site, "try": 1}));
    assert_eq!(attributes(2), json!({"device": "a", "site": {"x": 1}}));
}
