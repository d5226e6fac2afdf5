//! What `plain.py` of the testkit does, in Rust.

use std::fmt;

use backhaul_weave as weave;
use serde_json::{Value, json};
use weave::{Content, Dataset, Object, TraceError};

#[weave::op]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[weave::op]
fn add_all(numbers: &[i64]) -> i64 {
    numbers.iter().fold(0, |total, number| add(total, *number))
}

fn nested_calls(leave_out_a_call: bool) {
    let numbers = [1, 2, 3];
    add_all(if leave_out_a_call { &numbers[..2] } else { &numbers });
    weave::attributes(json!({"site": "buoy 7", "try": {"number": 1}})).run(|| {
        weave::attributes(json!({"try": {"last": false}, "height": 2.5})).run(|| add(40, 2));
    });
}

#[derive(Debug)]
struct ZeroDivisionError;

impl fmt::Display for ZeroDivisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("float division by zero")
    }
}

impl std::error::Error for ZeroDivisionError {}

#[weave::op]
fn divide(a: f64, b: f64) -> Result<f64, ZeroDivisionError> {
    if b == 0.0 { Err(ZeroDivisionError) } else { Ok(a / b) }
}

#[weave::op]
fn divide_all(numbers: &[[f64; 2]]) -> Vec<f64> {
    numbers.iter().filter_map(|[a, b]| divide(*a, *b).ok()).collect()
}

fn exceptions() {
    divide_all(&[[1.0, 2.0], [1.0, 0.0], [1e300, 1e-5]]);
    drop(divide(1.0, 0.0));
}

#[weave::op]
async fn look_up(city: String) -> String {
    tokio::task::yield_now().await;
    city.to_uppercase()
}

#[weave::op]
async fn look_up_all(cities: &[&str]) -> Vec<String> {
    let looks: Vec<_> =
        cities.iter().map(|city| weave::spawn(look_up((*city).to_owned()))).collect();
    let mut found = Vec::new();
    for look in looks {
        found.push(look.await.unwrap());
    }
    found
}

#[weave::op]
fn square(n: u64) -> u64 {
    n * n
}

#[weave::op]
fn square_all(count: u64) -> Vec<u64> {
    let squares: Vec<_> = (0..count).map(|n| weave::spawn_thread(move || square(n))).collect();
    squares.into_iter().map(|square| square.join().unwrap()).collect()
}

fn threads() {
    square_all(20);
    weave::thread("a-conversation").run(|| {
        add_all(&[1, 2]);
        square(102);
    });
}

#[weave::op]
fn ask(question: &str) -> Value {
    let length = question.chars().count();
    let usage =
        json!({"prompt_tokens": length, "completion_tokens": 2, "total_tokens": length + 2});
    json!({"model": "local-3b", "usage": usage, "text": "42"})
}

#[weave::op]
fn ask_all(questions: &[&str]) -> Vec<Value> {
    questions.iter().map(|question| ask(question)["text"].clone()).collect()
}

#[weave::op]
fn values(mut given: Value) -> Value {
    for key in ["api_key", "nested"] {
        given.as_object_mut().unwrap().shift_remove(key);
    }
    given
}

fn odd_values() {
    values(json!({
        "floats": [1.0, 0.1, 1e16, 1e-7, -0.0, 2.5],
        "whole": [0, -1, 9_007_199_254_740_993_i64, u64::MAX],
        "none": null,
        "texts": ["", "a\nb", "é☀\u{1f600}", "\u{7f}\u{1}", "quo\"te\\"],
        "empty": [{}, [], ""],
        "api_key": "s3cret",
        "nested": [{"Authorization": "s3cret", "kept": true}],
    }));
}

fn objects(without_tags: bool) -> Result<(), TraceError> {
    weave::publish(&json!({"version": 1}), "settings")?;
    let limits = json!({"low": -40, "high": 85.0});
    let settings = weave::publish(&json!({"version": 2, "limits": limits}), "settings")?;
    weave::publish(&json!({"settings": settings, "note": "one of another"}), "mast")?;
    weave::publish(&(1, "two", 3.0), "a list!")?;
    let prompt = Object::new("StringPrompt", json!({"content": "Say {what}."}));
    weave::publish(&prompt.bases(["Prompt", "Object", "BaseModel"]), "prompt")?;
    if without_tags {
        return Ok(());
    }
    weave::add_tags(&settings, &["checked", "field"])?;
    weave::set_aliases(&settings, &["production"])
}

fn dataset() -> Result<(), TraceError> {
    let rows = (0..500)
        .map(|n| json!({"id": n, "question": format!("What is {n} + {n}?"), "answer": n + n}));
    weave::publish(&Dataset::new(rows).description("of two"), "sums")?;
    Ok(())
}

#[weave::op]
fn record(seed: u64) -> Content {
    let byte = |n: u64| u8::try_from((seed + n) % 251).unwrap();
    Content::from_bytes((0..200_000).map(byte).collect::<Vec<u8>>(), "audio/wav")
}

#[weave::op]
fn is_large(output: i64) -> bool {
    output > 10
}

fn feedback() -> Result<(), TraceError> {
    let (output, call) = weave::with_call(|| add(7, 8));
    let call = call.unwrap();
    call.feedback().add_reaction("👍")?;
    call.feedback().add_note("As expected.")?;
    call.feedback().add("field-report", &json!({"weather": "rain", "wind": 7.5}))?;
    let fields = json!({
        "name": "quality",
        "field_schema": {"type": "integer", "maximum": 5},
        "unique_among_creators": false,
        "op_scope": null,
    });
    let quality = Object::new("AnnotationSpec", fields).bases(["BaseObject", "BaseModel"]);
    call.feedback().annotate(&weave::publish(&quality, "quality")?, 4)?;
    let (is_large, scoring) = weave::with_call(|| is_large(output));
    call.feedback().add_score(&scoring.unwrap(), is_large)?;
    Ok(())
}

fn renamed_and_deleted() -> Result<(), TraceError> {
    let (_, once) = weave::with_call(|| add(100, 1));
    let (_, deleted) = weave::with_call(|| add_all(&[100, 3]));
    once.unwrap().set_display_name("the renamed one")?;
    deleted.unwrap().delete()
}

/// What is left out of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Without {
    /// One of the calls.
    pub(crate) a_call: bool,
    /// Tags and aliases, which older servers do not know.
    pub(crate) tags: bool,
}

/// All of it, to the active client.
pub(crate) async fn run(without: Without) -> Result<(), TraceError> {
    nested_calls(without.a_call);
    exceptions();
    look_up_all(&["Oslo", "Kiruna", "Tromsø"]).await;
    threads();
    ask_all(&["How many?", "How warm?", "☀ or ☂?"]);
    odd_values();
    objects(without.tags)?;
    dataset()?;
    record(7);
    feedback()?;
    renamed_and_deleted()
}
