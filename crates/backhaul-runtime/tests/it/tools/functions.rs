//! Functions of every form as tools.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::ThreadId;

use backhaul_runtime::tools::{
    IdempotencyKey, OfflinePolicy, OnUnknown, Probed, Tool, ToolError, ToolErrorKind,
    ToolInvocation, tool,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{call, invocation};

/// Adds two numbers.
///
/// # Panics
/// Where they are too large.
#[tool]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[derive(Serialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

/// Reads a sensor.
#[tool]
async fn read_sensor(sensor: &str) -> Result<Reading, ToolError> {
    tokio::task::yield_now().await;
    match sensor {
        "mast" => Ok(Reading { sensor: sensor.to_owned(), celsius: 21.5 }),
        other => Err(ToolError::permanent(format!("no such sensor: `{other}`"))),
    }
}

/// Does nothing.
#[tool]
fn nothing() {}

/// Says it again.
#[tool]
fn borrowed<'a>(
    one: &'a str,
    many: &[u8],
    nested: &std::collections::BTreeSet<String>,
    maybe: Option<&str>,
    none: Option<&[u8]>,
    mut owned: String,
) -> (&'a str, usize, usize, usize, bool, String) {
    owned.push('!');
    (one, many.len(), nested.len(), maybe.map_or(0, str::len), none.is_none(), owned)
}

/// Ends in a box.
#[tool]
fn boxed(n: u8) -> Pin<Box<dyn Future<Output = Result<u8, ToolError>> + Send>> {
    Box::pin(async move { Ok(n + 1) })
}

/// Ends in some future.
#[tool]
fn opaque(n: u8) -> impl Future<Output = u8> + Send {
    std::future::ready(n + 1)
}

/// Waits on its thread.
#[tool(blocking)]
fn waits(text: &str, key: &IdempotencyKey, call: &ToolInvocation) -> Result<bool, String> {
    Ok(*key == call.key && !text.is_empty())
}

/// Waits, and so does what looks after it.
#[tool(blocking, on_unknown = check_first, probe = looks)]
fn sends(text: &str) -> String {
    text.to_owned()
}

fn looks(text: &str) -> Result<Probed, String> {
    let is_elsewhere = std::thread::current().id() != *MAIN.get().expect("it is set");
    Ok(Probed::Done(json!([text, is_elsewhere])))
}

static MAIN: OnceLock<ThreadId> = OnceLock::new();

/// Panics on its thread.
#[tool(blocking)]
fn panics() {
    panic!("as it has to");
}

/// Tells what it is told of the call.
#[tool]
async fn told(
    key: IdempotencyKey,
    text: String,
    borrowed: &IdempotencyKey,
    call: &ToolInvocation,
) -> Value {
    json!([key == *borrowed && key == call.key, text, call.attempts])
}

/// Has a raw name.
#[tool]
fn r#match(r#type: u8) -> u8 {
    r#type
}

#[tool(name = "Other-Name", description = "Is told otherwise.")]
fn named() {}

/// Gives what is no JSON.
#[tool]
fn no_json() -> std::collections::BTreeMap<Vec<u8>, u8> {
    [(vec![1], 1)].into()
}

#[tokio::test]
async fn a_function_is_called_with_the_arguments_by_their_names() {
    assert_eq!(call(add::tool(), json!({"b": 40, "a": 2})).await, Ok(json!(42)));
    let reading = call(read_sensor::tool(), json!({"sensor": "mast"})).await;
    assert_eq!(reading, Ok(json!({"sensor": "mast", "celsius": 21.5})));
    assert_eq!(call(nothing::tool(), json!({})).await, Ok(Value::Null));
    assert_eq!(call(r#match::tool(), json!({"type": 3})).await, Ok(json!(3)));
}

#[tokio::test]
async fn the_function_stays_callable_as_it_was() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(read_sensor("mast").await.map(|reading| reading.celsius), Ok(21.5));
    nothing();
    named();
    assert_eq!(borrowed("a", &[], &Default::default(), None, None, String::new()).0, "a");
}

#[tokio::test]
async fn arguments_can_be_borrowed() {
    let all = json!({"one": "a", "many": [1, 2], "nested": ["x"], "maybe": "abc", "owned": "b"});
    assert_eq!(call(borrowed::tool(), all).await, Ok(json!(["a", 2, 1, 3, true, "b!"])));
}

#[tokio::test]
async fn a_future_is_waited_for_however_it_is_returned() {
    assert_eq!(call(boxed::tool(), json!({"n": 1})).await, Ok(json!(2)));
    assert_eq!(call(opaque::tool(), json!({"n": 1})).await, Ok(json!(2)));
}

#[tokio::test]
async fn a_function_that_blocks_runs_on_another_thread() {
    assert_eq!(call(waits::tool(), json!({"text": "a"})).await, Ok(json!(true)));
    MAIN.get_or_init(|| std::thread::current().id());
    let probed = sends::tool().probe(&invocation(json!({"text": "a"}))).expect("a function").await;
    assert_eq!(probed, Ok(Probed::Done(json!(["a", true]))));
    assert_eq!(sends("a"), "a");
}

#[tokio::test]
async fn what_panics_may_have_been_done_also_where_it_blocks() {
    let error = call(panics::tool(), json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ToolErrorKind::Unclear);
}

#[tokio::test]
async fn the_key_and_the_call_are_no_arguments() {
    let call = ToolInvocation { attempts: 2, ..invocation(json!({"text": "a"})) };
    assert_eq!(told::tool().call(&call).await, Ok(json!([true, "a", 2])));
    let tool = told::tool();
    let schema = &tool.definition().parameters;
    assert_eq!(schema["properties"], json!({"text": {"type": "string"}}));
}

#[tokio::test]
async fn what_is_no_json_was_done_and_is_not_done_again() {
    let error = call(no_json::tool(), json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ToolErrorKind::Permanent);
    assert!(error.message().starts_with("it was done"), "{error}");
}

#[test]
fn name_and_description_are_those_of_the_function_or_as_given() {
    let told = |tool: &dyn Tool| {
        let definition = tool.definition().clone();
        (definition.name, definition.description)
    };
    assert_eq!(told(&add::tool()), ("add".to_owned(), "Adds two numbers.".to_owned()));
    assert_eq!(told(&r#match::tool()).0, "match");
    let other = ("Other-Name".to_owned(), "Is told otherwise.".to_owned());
    assert_eq!(told(&named::tool()), other);
}

struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown")
    }
}

fn refused() -> std::io::Error {
    std::io::ErrorKind::ConnectionRefused.into()
}

/// An error.
#[tool]
fn by_error() -> Result<(), std::io::Error> {
    Err(refused())
}

/// A held error.
#[tool]
async fn by_anyhow() -> anyhow::Result<()> {
    Err(anyhow::Error::from(refused()).context("nothing was sent"))
}

/// A boxed error.
#[tool]
async fn by_box() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(Box::new(refused()))
}

/// A boxed error that stays on its thread.
#[tool]
fn by_local_box() -> Result<(), Box<dyn std::error::Error>> {
    Err(Box::new(refused()))
}

/// A text.
#[tool]
fn by_text() -> Result<(), String> {
    Err("out of paper".to_owned())
}

/// Another text.
#[tool]
async fn by_word() -> Result<Box<str>, &'static str> {
    Err("out of paper")
}

/// What can be displayed.
#[tool]
fn by_display() -> Result<(), Shown> {
    Err(Shown)
}

/// The tool's own.
#[tool]
fn by_own() -> Result<(), ToolError> {
    Err(ToolError::unclear("half of it was printed"))
}

/// By way of a box.
#[tool]
fn by_own_in_box() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(ToolError::unclear("half of it was printed"))?
}

#[tokio::test]
async fn errors_of_every_kind_say_what_they_mean() {
    use ToolErrorKind::{Failed, Unclear, Unreachable};
    let told = async |tool: &dyn Tool| {
        let error = tool.call(&invocation(json!({}))).await.unwrap_err();
        (error.kind(), format!("{error:#}"))
    };
    let text = refused().to_string();
    assert_eq!(told(&by_error::tool()).await, (Unreachable, text.clone()));
    let expected = (Unreachable, format!("nothing was sent: {text}"));
    assert_eq!(told(&by_anyhow::tool()).await, expected);
    assert_eq!(told(&by_box::tool()).await, (Unreachable, text.clone()));
    assert_eq!(told(&by_local_box::tool()).await, (Unreachable, text));
    for tool in [&by_text::tool() as &dyn Tool, &by_word::tool()] {
        assert_eq!(told(tool).await, (Failed, "out of paper".to_owned()));
    }
    assert_eq!(told(&by_display::tool()).await, (Failed, "shown".to_owned()));
    for tool in [&by_own::tool() as &dyn Tool, &by_own_in_box::tool()] {
        assert_eq!(told(tool).await, (Unclear, "half of it was printed".to_owned()));
    }
}

static SENT: AtomicU32 = AtomicU32::new(0);

/// Sends it.
#[tool(
    offline_policy = OfflinePolicy::LocalFallback,
    on_unknown = OnUnknown::CheckFirst,
    local = note_down,
    probe = was_sent,
)]
async fn send(text: &str, key: IdempotencyKey) -> Result<u32, reqwest::Error> {
    let _ = (text, key);
    Ok(SENT.fetch_add(1, Ordering::SeqCst))
}

fn note_down(text: &str, _: IdempotencyKey) -> Result<String, String> {
    match text {
        "" => Err("nothing to note".to_owned()),
        text => Ok(format!("noted: {text}")),
    }
}

async fn was_sent(text: &str, key: IdempotencyKey) -> Probed {
    match text {
        "known" => Probed::Done(json!(key.as_str().len())),
        _ => Probed::NotDone,
    }
}

/// Sends it too.
#[tool(on_unknown = check_first, probe = self::other::was_sent)]
fn send_other() {}

mod other {
    use super::{Probed, ToolError};

    pub(super) fn was_sent() -> Result<Probed, ToolError> {
        Err(ToolError::unreachable("nobody to ask"))
    }
}

#[tokio::test]
async fn functions_beside_a_tool_get_the_same_arguments() {
    let tool = send::tool();
    let local = async |text: &str| {
        let call = invocation(json!({"text": text}));
        tool.local(&call).expect("a function").await
    };
    assert_eq!(local("a").await, Ok(json!("noted: a")));
    assert_eq!(local("").await, Err(ToolError::failed("nothing to note")));
    let probe = async |text: &str| {
        let call = invocation(json!({"text": text}));
        tool.probe(&call).expect("a function").await
    };
    assert_eq!(probe("known").await, Ok(Probed::Done(json!(32))));
    assert_eq!(probe("other").await, Ok(Probed::NotDone));
    let call = invocation(json!({}));
    let probed = send_other::tool().probe(&call).expect("a function").await;
    assert_eq!(probed, Err(ToolError::unreachable("nobody to ask")));
    assert!(add::tool().probe(&call).is_none() && add::tool().local(&call).is_none());
    assert_eq!(SENT.load(Ordering::SeqCst), 0);
    send_other();
    assert_eq!(send("a", call.key).await.ok(), Some(0));
}
