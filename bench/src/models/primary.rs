//! The cloud's model, in a process of its own: the testkit's server that goes wrong by number,
//! and two models that break off at the pace at which a cloud writes.

use std::io;
use std::time::Duration;

use backhaul_testkit::{Answer, CLOUD_TEXT, FaultServer, LlmScript, Request};
use serde_json::{Value, json};

use crate::child::{self, Asked};

/// Longer than anybody here waits for a head.
const SLOW: Duration = Duration::from_secs(30);
/// Between two tokens of a model that breaks off.
const GAP: Duration = Duration::from_millis(20);

/// The model whose connection is closed inside the body.
pub const CUT: &str = "cut";
/// The model whose body ends properly, without a reason why it stopped.
pub const ENDED: &str = "ended";

/// One that runs until this is dropped.
pub struct Primary {
    pub url: String,
    asked: Asked,
}

impl Primary {
    pub fn start() -> Self {
        let asked = Asked::start(&mut child::own("models-primary"));
        Self { url: asked.url.clone(), asked }
    }

    /// The calls that came since it was asked last.
    pub fn take_calls(&mut self) -> u64 {
        self.asked.ask("").parse().expect("a count")
    }
}

/// The child: tells its address, and how many calls came whenever it is asked.
pub fn run_child() {
    let script = LlmScript::new();
    script.set_delay(SLOW);
    let answer =
        move |request: &Request| broken_off(request).unwrap_or_else(|| script.answer(request));
    let server = FaultServer::new(answer).expect("a server");
    println!("{}", server.url());
    for _ in io::stdin().lines() {
        let requests = server.take_requests();
        println!("{}", requests.iter().filter(|it| it.method() == "POST").count());
    }
    // Not until answers that are held back have come.
    std::process::exit(0);
}

/// Four tokens of an answer in pieces.
fn broken_off(request: &Request) -> Option<Answer> {
    let asked: Value = serde_json::from_slice(request.body()).ok()?;
    let model = asked["model"].as_str().filter(|model| [CUT, ENDED].contains(model))?;
    let piece = |delta: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
        let chunk = json!({"id": "chatcmpl-cloud", "object": "chat.completion.chunk",
                           "created": 1_700_000_000, "model": model, "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let begun = Answer::events().piece(piece(json!({"role": "assistant", "content": ""})));
    // Of what it says otherwise.
    let tokens = CLOUD_TEXT.as_bytes().chunks(3).take(4).map(String::from_utf8_lossy);
    let four = tokens
        .fold(begun, |answer, token| answer.pause(GAP).piece(piece(json!({"content": token}))));
    let four = four.pause(GAP);
    Some(if model == CUT { four.then_hang_up() } else { four })
}
