//! A call of a model by a client that costs little, and what came of it.

use std::fmt;
use std::time::{Duration, Instant};

use backhaul_testkit::{CLOUD_TEXT, LOCAL_TEXT};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};

use super::gateway::KEY;
use crate::http::connect;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Whole,
    /// With a conversation of 64 KB.
    Long,
    Streamed,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ask::Whole => "whole",
            Ask::Long => "whole, asked with 64 KB",
            Ask::Streamed => "streamed",
        })
    }
}

impl Ask {
    pub fn body(self, model: &str) -> Bytes {
        let turns = if self == Ask::Long { 64 } else { 0 };
        let mut messages = vec![json!({"role": "system", "content": "You are a thermometer."})];
        for turn in 0..turns {
            let role = if turn % 2 == 0 { "user" } else { "assistant" };
            let content = "It is \"warm\" today.\nIs it? ".repeat(38);
            messages.push(json!({"role": role, "content": content}));
        }
        messages.push(json!({"role": "user", "content": "Is it warm?"}));
        let mut body = json!({"model": model, "messages": messages, "max_tokens": 64});
        if self == Ask::Streamed {
            body["stream"] = true.into();
        }
        Bytes::from(body.to_string())
    }
}

/// A connection on which one call is made after the other.
pub struct Connection {
    url: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// How a call went.
#[derive(Clone, Debug)]
pub struct Called {
    /// To the first byte of the body.
    pub first: Duration,
    /// To the end.
    pub end: Duration,
    pub came: Came,
}

/// What a client makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    Cloud,
    Local,
    Error(u16),
    /// Part of the cloud's answer, and then one of these.
    PartThenError,
    PartThenCut,
    PartThenNothing,
    PartThenStop,
    Other,
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Came::Cloud => "the cloud's model",
            Came::Local => "the local model",
            Came::Error(status) => return write!(f, "an error, {status}"),
            Came::PartThenError => "a part, then an error event",
            Came::PartThenCut => "a part, then a broken connection",
            Came::PartThenNothing => "a part, as if it were all",
            Came::PartThenStop => "a part, and `finish_reason: stop`, which nobody said",
            Came::Other => "something else",
        })
    }
}

impl Connection {
    pub async fn open(url: &str) -> Self {
        Self { url: url.to_owned(), sender: Some(connect(url).await) }
    }

    /// Asks, on a new connection where the last one has ended; connecting is not timed.
    pub async fn call(&mut self, body: Bytes) -> Called {
        let mut kept = self.sender.take();
        let (mut sender, began, answer) = loop {
            let is_kept = kept.is_some();
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => connect(&self.url).await,
            };
            let began = Instant::now();
            match sender.send_request(request(body.clone())).await {
                Ok(answer) => break (sender, began, answer),
                // The server has ended it meanwhile.
                Err(_) if is_kept => {}
                Err(error) => panic!("{} does not answer: {error}", self.url),
            }
        };
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let (mut text, mut first, mut is_cut) = (Vec::new(), None, false);
        while let Some(frame) = body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => {
                    first.get_or_insert_with(|| began.elapsed());
                    text.extend_from_slice(&data);
                }
                Ok(Err(_)) => {}
                Err(_) => is_cut = true,
            }
        }
        let end = began.elapsed();
        let came = Came::of(status, &String::from_utf8_lossy(&text), is_cut);
        // Some servers close it behind an error.
        if matches!(came, Came::Cloud | Came::Local) && sender.ready().await.is_ok() {
            self.sender = Some(sender);
        }
        Called { first: first.unwrap_or(end), end, came }
    }
}

fn request(body: Bytes) -> Request<Full<Bytes>> {
    Request::post("/v1/chat/completions")
        .header("host", "127.0.0.1")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
        .body(Full::new(body))
        .expect("a request")
}

impl Came {
    fn of(status: u16, body: &str, is_cut: bool) -> Self {
        if status != 200 {
            return Came::Error(status);
        }
        let events: Vec<Value> = match serde_json::from_str(body) {
            Ok(whole) => vec![whole],
            Err(_) => {
                let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
                data.filter_map(|data| serde_json::from_str(data).ok()).collect()
            }
        };
        let at =
            |place: &'static str| events.iter().filter_map(move |it| it.pointer(place)?.as_str());
        let text: String =
            at("/choices/0/message/content").chain(at("/choices/0/delta/content")).collect();
        let is_finished = at("/choices/0/finish_reason").next().is_some();
        let has_failed = events.iter().any(|it| it.get("error").is_some_and(|it| !it.is_null()));
        match text.as_str() {
            _ if has_failed => Came::PartThenError,
            CLOUD_TEXT if is_finished => Came::Cloud,
            LOCAL_TEXT if is_finished => Came::Local,
            _ if !CLOUD_TEXT.starts_with(&text) => Came::Other,
            _ if is_cut => Came::PartThenCut,
            _ if is_finished => Came::PartThenStop,
            _ => Came::PartThenNothing,
        }
    }
}
