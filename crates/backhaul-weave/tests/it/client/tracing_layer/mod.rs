//! Spans of `tracing` as calls.

mod any_order;
mod nesting;

use std::error::Error;
use std::fmt;

use backhaul_weave as weave;
use serde_json::{Value, json};
use tracing::field::Empty;
use tracing::{Level, debug, error, error_span, info, info_span, instrument, warn};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use weave::{CallStatus, WeaveLayer};

use super::support::{Logging, exception, logging, logging_as};

/// Runs something that traces.
pub(crate) fn traced<T>(work: impl FnOnce() -> T) -> T {
    traced_by(WeaveLayer::new(), work)
}

fn traced_by<T>(layer: WeaveLayer, work: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work)
}

fn names(logging: &Logging) -> Vec<String> {
    logging.calls().iter().map(|call| call.op_name().to_owned()).collect()
}

#[derive(Debug)]
struct Unreadable(std::num::ParseIntError);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreadable")
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn unreadable() -> Unreadable {
    Unreadable("x".parse::<u8>().unwrap_err())
}

#[test]
fn fields_are_inputs_of_their_types_and_the_place_is_among_the_attributes() {
    let logging = logging();
    let why = unreadable();
    let line = line!() + 2;
    traced(|| {
        let span = info_span!(
            "read",
            signed = -1,
            unsigned = u64::MAX,
            truth = true,
            real = 0.5,
            text = "a \"b\"",
            shown = ?Some(1),
            displayed = %'c',
            failed = &why as &dyn Error,
            http.method = "GET",
            api_key = "s3cret",
            late = Empty,
        );
        drop(span);
    });
    let call = logging.call();
    let inputs = json!({
        "signed": -1, "unsigned": u64::MAX, "truth": true, "real": 0.5, "text": "a \"b\"",
        "shown": "Some(1)", "displayed": "c",
        "failed": "unreadable: invalid digit found in string",
        "http.method": "GET", "api_key": "REDACTED",
    });
    assert_eq!(call.inputs(), &inputs);
    let code = json!({
        "target": module_path!(), "module_path": module_path!(), "file": file!(),
        "line": line, "level": "INFO",
    });
    assert_eq!(call.attributes()["code"], code);
    assert_eq!((call.output(), call.status()), (&json!(null), CallStatus::Success));
}

#[test]
fn what_comes_later_stands_in_the_output() {
    let logging = logging();
    traced(|| {
        let span = info_span!("read", celsius = Empty, tries = Empty, token = Empty, events = 0);
        span.record("tries", 1).record("tries", 2).record("celsius", 21.5);
        span.record("token", "a").record("events", 7);
        span.in_scope(|| {
            warn!("not of the level that is noted");
            error!(port = 7, why = %unreadable(), "not {}", "open");
            error!(error = "noted, and no exception");
        });
    });
    let call = logging.call();
    assert_eq!(call.inputs(), &json!({"events": 0}));
    let mut output = call.output().clone();
    let events = output["events_"].as_array_mut().unwrap();
    for event in &mut *events {
        let time = event.as_object_mut().unwrap().shift_remove("time").unwrap();
        assert!(time.as_str().unwrap() >= call.started_at(), "{time}");
    }
    let fields = json!({"port": 7, "why": "unreadable"});
    let expected = json!([
        {"level": "ERROR", "message": "not open", "fields": fields},
        {"level": "ERROR", "fields": {"error": "noted, and no exception"}},
    ]);
    assert_eq!(Value::Array(std::mem::take(events)), expected);
    let rest = json!({"tries": 2, "celsius": 21.5, "token": "a", "events": 7, "events_": []});
    assert_eq!(output, rest);
    assert_eq!(call.status(), CallStatus::Success);
}

#[test]
fn secrets_are_hidden_where_they_are_told_late() {
    let logging = logging_as(|init| init.redact_key("token"));
    traced(|| {
        let span = info_span!("read", token = Empty);
        span.record("token", "s3cret");
        span.in_scope(|| error!(api_key = "s3cret", "refused"));
    });
    let call = logging.call();
    assert!(!call.as_json().to_string().contains("s3cret"), "{}", call.as_json());
}

#[instrument(ret, err)]
fn halve(number: i32) -> Result<i32, Unreadable> {
    match number % 2 {
        0 => Ok(number / 2),
        _ => Err(unreadable()),
    }
}

#[instrument(ret(level = "debug"), err(Debug, level = "warn"))]
async fn halve_later(number: i32) -> Result<i32, Unreadable> {
    tokio::task::yield_now().await;
    error!("this, too");
    halve(number)
}

#[test]
fn what_instrumented_functions_return_is_the_output_or_the_exception() {
    let logging = logging();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    traced(|| {
        assert_eq!(runtime.block_on(halve_later(4)).unwrap(), 2);
        runtime.block_on(halve_later(5)).unwrap_err();
    });
    let calls = logging.calls();
    assert_eq!(names(&logging), ["halve_later", "halve", "halve_later", "halve"]);
    assert_eq!((calls[1].inputs(), calls[1].output()), (&json!({"number": 4}), &json!("2")));
    assert_eq!(calls[0].output()["return"], "2");
    assert_eq!(calls[0].output()["events"][0]["message"], "this, too");
    assert_eq!(calls[1].parent_id(), Some(calls[0].id()));
    assert_eq!(exception(&calls[3]), ("Error".to_owned(), "unreadable".to_owned()));
    assert_eq!(calls[3].output(), &json!(null));
    let (_, message) = exception(&calls[2]);
    assert_eq!(message, format!("{:?}", unreadable()));
    assert!(calls[2].exception().unwrap().contains(file!()));
    assert_eq!(calls[2].summary()["status_counts"], json!({"success": 0, "error": 2}));
}

#[instrument(level = "debug", ret, err(level = "error"))]
fn below_the_level() -> Result<u8, Unreadable> {
    Err(unreadable())
}

#[test]
fn results_of_spans_that_are_left_out_are_not_those_of_others() {
    let logging = logging();
    traced(|| info_span!("outer").in_scope(|| below_the_level().unwrap_err()));
    let call = logging.call();
    assert_eq!(call.status(), CallStatus::Success);
    assert_eq!(call.output()["events"][0]["fields"], json!({"error": "unreadable"}));
}

#[test]
fn a_text_that_is_recorded_in_a_field_error_is_the_exception() {
    let logging = logging();
    traced(|| {
        info_span!("told", error = Empty).record("error", "too hot");
        info_span!("flag", error = Empty).record("error", true);
    });
    assert_eq!(exception(&logging.call_of("told")).1, "too hot");
    let flag = logging.call_of("flag");
    assert_eq!((flag.output(), flag.status()), (&json!({"error": true}), CallStatus::Success));
}

#[test]
fn events_are_bounded_in_number_and_bytes_and_the_rest_is_counted() {
    let logging = logging();
    traced(|| {
        info_span!("many").in_scope(|| (0..1_000).for_each(|n| error!(n, "no")));
        let long = "x".repeat(300_000);
        info_span!("long").in_scope(|| (0..5).for_each(|_| error!("{long}")));
    });
    for (name, kept, left_out) in [("many", 128, 872), ("long", 3, 2)] {
        let call = logging.call_of(name);
        assert_eq!(call.output()["events"].as_array().unwrap().len(), kept, "{name}");
        assert_eq!(call.output()["events_left_out"], left_out, "{name}");
    }
}

#[test]
fn a_panic_that_goes_through_a_span_is_its_exception() {
    let logging = logging();
    traced(|| {
        let survivor = info_span!("survivor");
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _entered = survivor.enter();
            info_span!("first").in_scope(|| info_span!("second").in_scope(|| panic!("oops")))
        }));
        assert!(done.is_err());
        // It is entered again, and goes on.
        survivor.in_scope(|| ());
    });
    for name in ["first", "second"] {
        assert_eq!(exception(&logging.call_of(name)).0, "panic", "{name}");
    }
    assert_eq!(logging.call_of("survivor").status(), CallStatus::Success);
}

#[test]
fn a_span_that_is_open_goes_on() {
    let logging = logging();
    traced(|| std::mem::forget(info_span!("open")));
    assert_eq!(logging.call().status(), CallStatus::Running);
}

#[test]
fn without_a_client_spans_are_spans_and_no_calls() {
    let after = traced(|| {
        let span = info_span!("before", late = Empty);
        span.record("late", 1);
        let logging = span.in_scope(|| {
            error!("before");
            logging()
        });
        // It began when nobody logged.
        span.in_scope(|| info_span!("after").in_scope(|| weave::call("within").run(|| 1)));
        logging
    });
    assert_eq!(names(&after), ["after", "within"]);
    assert_eq!(after.call_of("after").parent_id(), None);
    after.client.finish().unwrap();
    traced(|| info_span!("finished").in_scope(|| error!("finished")));
    assert_eq!(after.client.status().dropped, 0);
}

#[test]
fn our_own_spans_and_those_of_lower_levels_are_left_out_and_do_not_come_between() {
    let logging = logging();
    traced_by(WeaveLayer::new().leave_out("mine"), || {
        error_span!(target: "backhaul_sync::courier", "courier").in_scope(|| error!("x"));
        error_span!(target: "hyper::proto", "hyper").in_scope(|| ());
        error_span!(target: "mine", "mine").in_scope(|| ());
        let outer = info_span!("outer");
        let debug = tracing::debug_span!(parent: &outer, "debug");
        debug.in_scope(|| {
            error!(target: "backhaul", "not noted");
            debug!("nor this");
            info_span!("inner").in_scope(|| weave::call("within").run(|| 1));
        });
    });
    assert_eq!(names(&logging), ["outer", "inner", "within"]);
    let calls = logging.calls();
    assert_eq!(calls[1].parent_id(), Some(calls[0].id()));
    assert_eq!(calls[2].parent_id(), Some(calls[1].id()));
    assert_eq!(calls[0].output(), &json!(null));
}

#[test]
fn levels_and_filters_are_the_programs() {
    let logging = logging();
    traced_by(WeaveLayer::new().spans(Level::DEBUG).events(LevelFilter::INFO), || {
        tracing::debug_span!("debug").in_scope(|| info!("noted"));
        tracing::trace_span!("trace").in_scope(|| ());
    });
    assert_eq!(logging.call().output()["events"][0]["message"], "noted");
    let filtered = WeaveLayer::new().with_filter(LevelFilter::ERROR);
    let subscriber = tracing_subscriber::registry().with(filtered);
    tracing::subscriber::with_default(subscriber, || {
        let _outer = error_span!("error").entered();
        let _between = info_span!("info").entered();
        error_span!("inner").in_scope(|| error!("noted"));
    });
    assert_eq!(names(&logging), ["debug", "error", "inner"]);
    let calls = logging.calls();
    assert_eq!(calls[2].parent_id(), Some(calls[1].id()));
    assert_eq!(calls[2].output()["events"][0]["message"], "noted");
}

#[test]
fn two_layers_log_a_span_once() {
    let logging = logging();
    let both = tracing_subscriber::registry().with(WeaveLayer::new()).with(WeaveLayer::new());
    tracing::subscriber::with_default(both, || {
        info_span!("one").in_scope(|| weave::call("within").run(|| 1));
    });
    assert_eq!(names(&logging), ["one", "within"]);
}

#[test]
fn a_durable_client_has_a_span_on_disk_when_it_is_closed() {
    let logging = logging_as(|init| init.durable(true));
    traced(|| {
        info_span!("one").in_scope(|| ());
        let waiting = logging.client.status().waiting;
        assert_eq!(waiting, 0);
    });
    assert_eq!(names(&logging), ["one"]);
}

#[test]
fn deliveries_beside_a_program_that_traces_everything_are_not_traced() {
    let nobody = "http://127.0.0.1:9";
    let logging =
        logging_as(|init| init.offline(false).trace_url(nobody).wandb_url(nobody).api_key("key"));
    let layer = WeaveLayer::new().spans(Level::TRACE).events(Level::TRACE);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for n in 0..100 {
        info_span!("mine", n).in_scope(|| weave::call("within").run(|| n));
    }
    logging.client.finish().unwrap();
    let reads = weave::Reads::of_server(logging.client.server());
    let count = reads.count_calls(logging.client.project(), &weave::CallsQuery::default());
    assert_eq!(count.unwrap(), 200);
}
