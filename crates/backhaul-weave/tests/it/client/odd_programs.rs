//! Programs that do odd things.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_testkit::said_by_a_fork;
use backhaul_weave as weave;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;
use weave::CallStatus;

use super::support::{logging, logging_as};

#[weave::op]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[test]
fn calls_nested_a_hundred_thousand_deep_are_logged_and_let_go_of() {
    let logging = logging();
    // Each begins in the one before; none is on the stack.
    let mut context = weave::Context::current();
    let mut calls = Vec::new();
    for n in 0..100_000 {
        let call = context.run(|| weave::call("deep").input("n", n).start()).unwrap();
        context = call.context();
        calls.push(call);
    }
    calls.iter().rev().for_each(|call| call.finish(1));
    drop((calls, context));
    logging.client.flush().unwrap();
    assert_eq!(logging.client.status().waiting, 0);
}

/// A value that logs while it is logged.
struct Talkative;

impl Serialize for Talkative {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sum = add(1, 2);
        weave::call("by-hand")
            .input("content", weave::Content::from_bytes("x", "text/plain"))
            .run(|| 1);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sum", &sum)?;
        map.serialize_entry("file", &weave::Content::from_bytes("y", "text/plain"))?;
        map.end()
    }
}

#[weave::op]
fn talk(value: &Talkative) -> i64 {
    let _ = value;
    add(3, 4)
}

#[test]
fn a_value_that_logs_while_it_is_logged_holds_up_nothing() {
    let logging = logging();
    assert_eq!(talk(&Talkative), 7);
    let talk = logging.call_of("talk");
    assert_eq!(talk.inputs()["value"]["sum"], 3);
    let file = talk.inputs()["value"]["file"]["files"]["content"].as_str().unwrap();
    assert_eq!(logging.client.server().file(logging.client.project(), file).unwrap(), b"y");
    assert_eq!(weave::calls().op("add").list().unwrap().len(), 2);
}

#[test]
fn clients_that_follow_each_other_while_ops_run_lose_no_call() {
    let dir = tempfile::tempdir().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let init = || weave::init("me/mine").offline(true).offline_dir(dir.path());
    // What three busy threads log is bounded by the disk, so that no flush has much to wait for.
    let start = || init().max_memory_bytes(200_000).start().unwrap();
    let mut client = start();
    let working: Vec<_> = (0..3)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut calls = 0;
                while !is_over.load(Ordering::Relaxed) {
                    add(1, 2);
                    calls += 1;
                    std::thread::yield_now();
                }
                calls
            })
        })
        .collect();
    for _ in 0..5 {
        // The next one is there before the last is let go of.
        client = start();
        client.flush().unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let made: usize = working.into_iter().map(|thread| thread.join().unwrap()).sum();
    client.finish().unwrap();
    drop(client);
    let calls = weave::calls_in(dir.path(), "me/mine").unwrap().op("add").list().unwrap();
    assert_eq!(calls.len(), made);
    assert!(calls.iter().all(|call| call.status() == CallStatus::Success));
}

#[test]
fn a_call_that_goes_on_while_its_client_is_replaced_ends_there() {
    let dir = tempfile::tempdir().unwrap();
    let start = || weave::init("me/mine").offline(true).offline_dir(dir.path()).start().unwrap();
    let first = start();
    let call = weave::call("across").start().unwrap();
    first.flush().unwrap();
    drop(first);
    start().finish().unwrap();
    call.context().run(|| add(1, 2));
    call.finish("ended");
    drop(call);
    let calls = weave::calls_in(dir.path(), "me/mine").unwrap().list().unwrap();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.status() == CallStatus::Success), "{calls:?}");
}

#[test]
fn a_child_of_a_fork_goes_on_and_logs_nothing() {
    let logging = logging_as(|init| init.durable(true).max_memory_bytes(10_000));
    add(1, 2);
    let open = weave::call("open").start().unwrap();
    let said = said_by_a_fork(|| {
        let sum: i64 = (0..1_000).map(|n| add(n, 1)).sum();
        open.finish(1);
        let refused = weave::client().unwrap().flush().unwrap_err();
        format!("{sum} {refused}")
    });
    assert!(said.starts_with("500500 this process is a child of fork(2)"), "{said}");
    assert_eq!(logging.calls().len(), 2);
    assert_eq!(weave::calls().status(CallStatus::Running).list().unwrap().len(), 1);
}

#[test]
fn names_of_any_kind_are_logged_and_found() {
    let logging = logging();
    for name in ["", "a b", "quo\"te", "sl/ash", "ümläut ☀", &"long".repeat(100), "weave:///x/y"]
    {
        weave::call(name).input("quo\"te", 1).attribute("dot.ted", name).run(|| name.len());
        let kept: String = name.chars().take(128).collect();
        if !kept.is_empty() {
            let found = weave::calls().op(kept.as_str()).list().unwrap();
            assert_eq!(found.len(), 1, "{name:?}");
        }
    }
    assert_eq!(logging.calls().len(), 7);
    assert_eq!(weave::calls().op("unnamed").list().unwrap().len(), 1);
    let long = "ü".repeat(2_000);
    weave::call("shown").display_name(&long).run(|| 1);
    let shown = logging.call_of("shown");
    assert_eq!(shown.display_name().unwrap().chars().count(), 1_024);
    let (_, call) = weave::with_call(|| add(1, 2));
    let error = call.unwrap().set_display_name(&long).unwrap_err();
    assert!(error.to_string().contains("2000 characters: expected at most 1024"), "{error}");
    weave::thread("t\n\"").run(|| weave::call("in-a-thread").run(|| 1));
    assert_eq!(weave::calls().thread("t\n\"").list().unwrap().len(), 1);
    weave::attributes(json!([1, 2])).run(|| weave::call("no-object").run(|| 1));
    weave::attributes(json!({"weave": {"mine": 1}})).run(|| weave::call("theirs").run(|| 1));
    let theirs = logging.call_of("theirs");
    assert_eq!(theirs.attributes()["weave"]["mine"], 1);
    assert_eq!(theirs.attributes()["weave"]["source"], "backhaul-rust");
}

#[test]
fn conditions_tell_values_of_different_types_apart() {
    let _logging = logging();
    let values = [json!(1), json!(1.5), json!(true), json!("1"), json!("it's \"so\""), json!(null)];
    for value in &values {
        weave::call("read").attribute("v", value).input("v", value).run(|| 1);
    }
    let found =
        |value: serde_json::Value| weave::calls().attribute("v", value).list().unwrap().len();
    assert_eq!(found(json!("it's \"so\"")), 1);
    assert_eq!(found(json!(1.5)), 1);
    assert_eq!(weave::calls().input("v", "it's \"so\"").list().unwrap().len(), 1);
    assert!(found(json!(1)) >= 1);
    assert_eq!(found(json!("nowhere")), 0);
}

#[test]
fn times_bound_what_is_listed() {
    let _logging = logging();
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let (_, call) = weave::with_call(|| add(1, 2));
            // Times are told to the microsecond.
            std::thread::sleep(Duration::from_millis(2));
            call.unwrap().id()
        })
        .collect();
    let middle = weave::get_call(&ids[1]).unwrap().unwrap();
    let at = backhaul_store::Timestamp::parse(middle.started_at()).unwrap();
    let listed = |request: weave::CallsRequest| -> Vec<String> {
        request.list().unwrap().iter().map(|call| call.id().to_owned()).collect()
    };
    assert_eq!(listed(weave::calls().started_at_or_after(at)), ids[1..]);
    assert_eq!(listed(weave::calls().started_before(at)), ids[..1]);
    let newest = weave::calls().newest_first().limit(2);
    assert_eq!(listed(newest), [ids[2].clone(), ids[1].clone()]);
}

#[test]
fn a_tree_has_each_call_once_as_they_began() {
    let logging = logging();
    weave::call("root").run(|| {
        for n in 0..3 {
            weave::call("inner").input("n", n).run(|| add(n, 1));
        }
    });
    let root = logging.call_of("root");
    let trees = weave::trace_tree(root.trace_id()).unwrap();
    let [tree] = &*trees else { panic!("one root: {trees:?}") };
    let numbers: Vec<_> = tree.children.iter().map(|child| &child.call.inputs()["n"]).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert!(tree.children.iter().all(|child| child.children.len() == 1));
}

#[test]
fn a_dataset_of_many_rows_is_one_table_and_a_row_that_is_no_map_is_refused() {
    let _logging = logging();
    let text = "x".repeat(1_000);
    // More than one request holds.
    let rows = (0..25_000).map(|n| json!({"n": n, "text": text}));
    let address = weave::publish(&weave::Dataset::new(rows), "many").unwrap();
    let rows = weave::rows(&address).unwrap();
    assert_eq!(rows.len(), 25_000);
    assert_eq!((&rows[0]["n"], &rows[24_999]["n"]), (&json!(0), &json!(24_999)));
    let error = weave::publish(&weave::Dataset::new([1, 2]), "no-maps").unwrap_err();
    assert!(error.to_string().contains("a row of a table is an object: found 1"), "{error}");
    let error = weave::publish(&weave::Dataset::<serde_json::Value>::new([]), "--").unwrap_err();
    assert!(error.to_string().contains("letters and digits"), "{error}");
}

#[test]
fn a_client_whose_memory_is_small_waits_for_the_disk_and_loses_nothing() {
    let logging = logging_as(|init| init.max_memory_bytes(20_000));
    let text = "x".repeat(500);
    for _ in 0..2_000 {
        weave::call("read").input("text", &text).run(|| 1);
    }
    assert_eq!(logging.client.status().dropped, 0);
    assert_eq!(logging.calls().len(), 2_000);
}

#[test]
fn what_cannot_be_started_says_why_and_what_to_do() {
    let error_of = |init: weave::Init| init.offline(true).start().unwrap_err().to_string();
    assert!(error_of(weave::init("a/b/c")).contains("expected entity/project"));
    assert!(error_of(weave::init("")).contains("expected entity/project"));
    let error = error_of(weave::init("me/mine").attributes(json!([1])));
    assert!(error.contains("attributes are an object: found [1]"), "{error}");
    let error = error_of(weave::init("me/mine").trace_url("nowhere"));
    assert!(error.contains("no address of a Weave server"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = weave::init("me/mine").offline(true).offline_dir(file.path()).start().unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains(&*file.path().to_string_lossy()), "{source}");
    for error in [
        weave::publish(&1, "one").unwrap_err(),
        weave::calls().list().unwrap_err(),
        weave::Cost::of("m").add().unwrap_err(),
    ] {
        assert!(error.to_string().contains("weave::init"), "{error}");
    }
}

#[test]
fn feedback_that_no_server_takes_is_refused_at_once() {
    let logging = logging();
    let (_, call) = weave::with_call(|| add(1, 2));
    let feedback = call.unwrap().feedback();
    assert!(feedback.add_note("").is_err());
    assert!(feedback.add_note(&"x".repeat(1025)).is_err());
    assert!(feedback.add_reaction("yes").is_err());
    assert!(feedback.add("wandb.mine", &json!({})).is_err());
    assert!(feedback.add("mine", &json!([1])).is_err());
    assert!(weave::feedback("no address").is_err());
    assert!(weave::Cost::of("m").prompt(f64::NAN).add().is_err());
    let id = feedback.by("somebody").add("mine", &json!({"a": 1})).unwrap();
    let asked = json!({"project_id": "me/mine"});
    let found = logging.client.reads().unwrap().feedback_query(&asked).unwrap();
    assert_eq!(found["result"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&found["result"][0]["id"], &found["result"][0]["creator"]),
        (&json!(id), &json!("somebody"))
    );
}
