//! `#[op]` on functions of every kind.

use std::future::Future;
use std::pin::Pin;

use backhaul_weave as weave;
use serde::Serialize;
use serde_json::json;
use weave::CallStatus;

use super::support::{exception, logging};

#[weave::op]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[weave::op]
fn add_all(numbers: &[i64]) -> i64 {
    numbers.iter().fold(0, |sum, number| add(sum, *number))
}

#[test]
fn a_function_logs_what_it_is_given_and_gives_and_stands_below_its_caller() {
    let logging = logging();
    assert_eq!(add_all(&[1, 2]), 3);
    let calls = logging.calls();
    let root = &calls[0];
    assert_eq!((root.op_name(), root.parent_id()), ("add_all", None));
    assert_eq!((root.inputs(), root.output()), (&json!({"numbers": [1, 2]}), &json!(3)));
    for (call, inputs) in calls[1..].iter().zip([json!({"a": 0, "b": 1}), json!({"a": 1, "b": 2})])
    {
        assert_eq!(call.inputs(), &inputs);
        assert_eq!(call.parent_id(), Some(root.id()));
        assert_eq!(call.trace_id(), root.trace_id());
    }
    assert_eq!(root.summary()["status_counts"], json!({"success": 3, "error": 0}));
    assert_eq!(root.attributes()["weave"]["rust"]["type"], "function");
}

#[test]
fn without_a_client_a_function_is_what_it_was() {
    assert_eq!(add_all(&[1, 2, 3]), 6);
}

#[weave::op]
fn parse(text: &str) -> Result<u8, std::num::ParseIntError> {
    let number = text.parse()?;
    Ok(number)
}

#[test]
fn an_error_is_the_exception_of_its_call() {
    let logging = logging();
    assert_eq!(parse("7"), Ok(7));
    assert!(parse("x").is_err());
    let calls = logging.calls();
    assert_eq!(calls[0].output(), 7);
    assert_eq!(calls[1].status(), CallStatus::Error);
    let said = ("ParseIntError".to_owned(), "invalid digit found in string".to_owned());
    assert_eq!(exception(&calls[1]), said);
    assert_eq!(calls[1].output(), &json!(null));
}

#[weave::op]
fn read_all(limit: u32) -> u32 {
    assert!(limit < 3, "too much: {limit}");
    limit
}

#[test]
fn a_panic_goes_on_and_is_noted() {
    let logging = logging();
    let panicked = std::panic::catch_unwind(|| read_all(4));
    assert!(panicked.is_err());
    assert_eq!(exception(&logging.call()), ("panic".to_owned(), "too much: 4".to_owned()));
    assert!(weave::current_call().is_none());
}

#[derive(Debug, Serialize)]
struct Mast {
    height: f64,
}

struct Bare;

impl Mast {
    #[weave::op]
    fn taller(&mut self, by: f64) -> &mut f64 {
        self.height += by;
        &mut self.height
    }

    #[weave::op]
    async fn look(&self, far: &str) -> Option<usize> {
        tokio::task::yield_now().await;
        far.find('h')
    }
}

impl Bare {
    #[weave::op]
    fn is_bare(&self) -> bool {
        true
    }

    #[weave::op]
    fn make() -> Bare {
        Bare
    }
}

#[tokio::test]
async fn methods_are_named_with_their_type_and_log_it_where_it_can_be_serialized() {
    let logging = logging();
    let mut mast = Mast { height: 1.5 };
    *mast.taller(0.5) += 1.0;
    assert_eq!(mast.look("the hills").await, Some(1));
    assert!(Bare::make().is_bare());
    let taller = logging.call_of("Mast.taller");
    assert_eq!(taller.inputs(), &json!({"self": {"height": 1.5}, "by": 0.5}));
    assert_eq!(taller.output(), 2.0);
    let look = logging.call_of("Mast.look");
    assert_eq!(look.inputs(), &json!({"self": {"height": 3.0}, "far": "the hills"}));
    assert_eq!(look.attributes()["weave"]["rust"]["type"], "async_function");
    assert_eq!(logging.call_of("Bare.is_bare").inputs(), &json!({}));
    let made = logging.call_of("make");
    assert!(made.output().as_str().unwrap().contains("Bare"), "{made:?}");
}

trait Sensor {
    fn id(&self) -> u8;

    #[weave::op]
    fn read(&self) -> u8 {
        self.id() + 1
    }

    fn later<'a>(&'a self, by: u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>>;
}

struct A;
struct B;

impl Sensor for A {
    fn id(&self) -> u8 {
        1
    }

    // As `#[async_trait]` writes it.
    #[weave::op]
    fn later<'a>(&'a self, by: u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            by + 10
        })
    }
}

impl Sensor for B {
    fn id(&self) -> u8 {
        2
    }

    fn later<'a>(&'a self, by: u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> {
        Box::pin(std::future::ready(by))
    }
}

#[tokio::test]
async fn a_method_of_a_trait_is_an_op_of_each_type() {
    let logging = logging();
    assert_eq!((A.read(), B.read()), (2, 3));
    assert_eq!((A.later(1).await, B.later(1).await), (11, 1));
    assert_eq!(logging.call_of("A.read").output(), 2);
    assert_eq!(logging.call_of("B.read").output(), 3);
    let later = logging.call_of("A.later");
    assert_eq!((later.inputs(), later.output()), (&json!({"by": 1}), &json!(11)));
    assert_eq!(later.attributes()["weave"]["rust"]["type"], "async_function");
}

#[derive(Debug)]
struct Shown(#[expect(dead_code, reason = "shown")] u8);

#[weave::op]
fn generic<T: std::fmt::Debug, U, const N: usize>(shown: T, _kept: &U, numbers: [u8; N]) -> T {
    let _ = numbers;
    shown
}

#[weave::op]
fn described(items: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
    items.map(|item| item + 1)
}

#[weave::op]
fn patterns((x, y): (u8, u8), _: &str, [first, ..]: [u8; 2], mut last: u8, r#type: u8) -> u8 {
    last += 1;
    x + y + first + last + r#type
}

#[test]
fn arguments_of_every_form_are_logged_as_well_as_can_be() {
    let logging = logging();
    let _ = generic(Shown(7), &Bare, [1, 2]);
    assert_eq!(described([1, 2].into_iter()).sum::<u8>(), 5);
    assert_eq!(patterns((1, 2), "", [3, 4], 5, 6), 18);
    let generic = logging.call_of("generic");
    assert_eq!(generic.inputs()["shown"], "Shown(7)");
    assert!(generic.inputs()["_kept"].as_str().unwrap().contains("Bare"));
    // Arrays of any length are nothing that serde knows.
    assert_eq!(generic.inputs()["numbers"], "[1, 2]");
    assert!(logging.call_of("described").inputs()["items"].is_string());
    assert_eq!(
        logging.call_of("patterns").inputs(),
        &json!({"argument_0": [1, 2], "argument_2": [3, 4], "last": 5, "type": 6})
    );
}

#[weave::op(
    name = "with-options",
    display_name = format!("reading {n}"),
    attributes(site = "buoy 7", "try.count" = n + 1),
    skip(large),
    redact(token),
    skip_output
)]
fn with_options(n: u32, large: &[u8], token: &str) -> String {
    format!("{n} {} {token}", large.len())
}

#[test]
fn options_say_what_is_logged_and_how() {
    let logging = logging();
    assert_eq!(with_options(3, &[1], "s3cret"), "3 1 s3cret");
    let call = logging.call();
    assert_eq!(call.op_name(), "with-options");
    assert_eq!(call.display_name(), Some("reading 3"));
    assert_eq!(call.attributes()["site"], "buoy 7");
    assert_eq!(call.attributes()["try.count"], 4);
    assert_eq!(call.inputs(), &json!({"n": 3, "token": "REDACTED"}));
    assert_eq!(call.output(), &json!(null));
    assert!(!call.as_json().to_string().contains("s3cret"));
}

#[weave::op(sample_rate = 0.0)]
fn never() -> i64 {
    add(1, 2)
}

#[weave::op(sample_rate = 0.5, skip_all)]
fn sometimes(_n: u32) -> i64 {
    add(1, 2)
}

#[test]
fn of_a_trace_that_is_left_out_nothing_is_logged() {
    let logging = logging();
    assert_eq!(never(), 3);
    assert!(logging.calls().is_empty());
    for n in 0..200 {
        sometimes(n);
    }
    let calls = logging.calls();
    let roots = calls.iter().filter(|call| call.parent_id().is_none()).count();
    assert!((40..160).contains(&roots), "{roots}");
    assert_eq!(calls.len(), 2 * roots);
}

#[weave::op]
fn below_its_caller_a_rate_counts_for_nothing() -> i64 {
    never()
}

#[test]
fn a_call_below_one_that_is_logged_is_logged_whatever_its_rate() {
    let logging = logging();
    below_its_caller_a_rate_counts_for_nothing();
    assert_eq!(logging.calls().len(), 3);
}

#[weave::op]
async fn wait_for(sender: tokio::sync::oneshot::Receiver<u8>) -> Result<u8, String> {
    sender.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_future_that_is_dropped_before_it_is_done_is_noted() {
    let logging = logging();
    let (_sender, receiver) = tokio::sync::oneshot::channel();
    let mut waiting = Box::pin(wait_for(receiver));
    tokio::select! {
        biased;
        _ = &mut waiting => unreachable!(),
        () = tokio::task::yield_now() => {}
    }
    drop(waiting);
    assert_eq!(exception(&logging.call()).0, "Cancelled");
}

mod source_text {
    use super::*;

    #[test]
    fn the_version_of_an_op_holds_its_code_as_it_was_written() {
        let logging = logging();
        add(1, 2);
        let address = logging.call().as_json()["op_name"].as_str().unwrap().to_owned();
        let version = weave::get(&address.parse().unwrap()).unwrap();
        let digest = version["files"]["obj.py"].as_str().unwrap();
        let code = logging.client.server().file(logging.client.project(), digest).unwrap();
        let code = String::from_utf8(code).unwrap();
        assert!(code.starts_with("// Rust: backhaul-weave "), "{code}");
        assert!(code.contains("fn add(a: i64, b: i64) -> i64 {\n    a + b\n}"), "{code}");
        assert!(logging.dir.path().join("me/mine/ops").is_dir());
    }
}
