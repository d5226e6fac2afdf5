//! A Weave server that keeps nothing but which calls it has: it reads what is posted, answers
//! what a sender waits for, and counts. In a process of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::child::{self, Asked};

/// One that runs until this is dropped.
pub struct Sink {
    pub url: String,
    asked: Asked,
}

/// What came since it was asked last.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// Requests that had calls in them.
    pub requests: f64,
    /// All requests.
    pub all_requests: f64,
    /// Starts of calls, whole calls among them.
    pub started: f64,
    /// Ends of calls, whole calls among them.
    pub ended: f64,
    /// Bytes of bodies.
    pub bytes: f64,
    /// From the first request that had calls to the end of the last.
    pub seconds: f64,
}

impl Sink {
    pub fn start() -> Self {
        let asked = Asked::start(&mut child::own("weave-sink"));
        Self { url: asked.url.clone(), asked }
    }

    /// What came since the last [`forget`](Self::forget).
    pub fn came(&mut self) -> Came {
        let [requests, all_requests, started, ended, bytes, seconds] = self.ask("tell");
        Came { requests, all_requests, started, ended, bytes, seconds }
    }

    pub fn forget(&mut self) {
        let _: [f64; 6] = self.ask("forget");
    }

    fn ask(&mut self, what: &str) -> [f64; 6] {
        child::figures_of(&self.asked.ask(what))
    }
}

struct Counted {
    since: Instant,
    requests: AtomicU64,
    all_requests: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
    first_micros: AtomicU64,
    last_micros: AtomicU64,
    calls: Mutex<HashMap<CallId, bool>>,
}

/// A UUID as it is written.
type CallId = [u8; 36];

impl Counted {
    fn new() -> Self {
        let counted = Self {
            since: Instant::now(),
            requests: AtomicU64::new(0),
            all_requests: AtomicU64::new(0),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first_micros: AtomicU64::new(0),
            last_micros: AtomicU64::new(0),
            calls: Mutex::default(),
        };
        counted.forget();
        counted
    }

    fn forget(&self) {
        for count in [&self.requests, &self.all_requests, &self.started, &self.ended, &self.bytes] {
            count.store(0, Relaxed);
        }
        self.first_micros.store(u64::MAX, Relaxed);
        self.last_micros.store(0, Relaxed);
        self.calls().clear();
    }

    /// Those that it has, and whether they have ended.
    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, bool>> {
        self.calls.lock().expect("not poisoned")
    }

    fn count(&self, path: &str, body: &[u8]) {
        let (started, ended) = (times(b"\"op_name\"", body), times(b"\"ended_at\"", body));
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(body.len() as u64, Relaxed);
        self.started.fetch_add(started, Relaxed);
        self.ended.fetch_add(ended, Relaxed);
        let has_ended = !path.ends_with("/call/start");
        let mut calls = self.calls();
        for at in memchr::memmem::find_iter(body, ID) {
            if let Some(id) = body.get(at + ID.len()..).and_then(<[u8]>::first_chunk) {
                *calls.entry(*id).or_default() |= has_ended;
            }
        }
    }

    fn micros(&self) -> u64 {
        self.since.elapsed().as_micros() as u64
    }

    fn tell(&self) {
        let (first, last) = (self.first_micros.load(Relaxed), self.last_micros.load(Relaxed));
        println!(
            "{} {} {} {} {} {}",
            self.requests.load(Relaxed),
            self.all_requests.load(Relaxed),
            self.started.load(Relaxed),
            self.ended.load(Relaxed),
            self.bytes.load(Relaxed),
            last.saturating_sub(first) as f64 / 1e6
        );
    }
}

/// The child: tells its address, and its counts whenever it is asked.
pub fn run_child() {
    let counted = Arc::new(Counted::new());
    let asked = Arc::clone(&counted);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            if line.is_ok_and(|line| line == "forget") {
                asked.forget();
            }
            asked.tell();
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("http://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket option");
            let counted = Arc::clone(&counted);
            let take = service_fn(move |request| take(Arc::clone(&counted), request));
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), take));
        }
    });
}

async fn take(
    counted: Arc<Counted>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let began = counted.micros();
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::new(Full::default()));
    };
    let body = body.to_bytes();
    counted.all_requests.fetch_add(1, Relaxed);
    if is_of_calls(&path) {
        counted.count(&path, &body);
        counted.first_micros.fetch_min(began, Relaxed);
        counted.last_micros.fetch_max(counted.micros(), Relaxed);
    }
    let answer = Response::builder().header("content-type", "application/json");
    Ok(answer.body(Full::new(Bytes::from(answer_to(&counted, &path, &body)))).expect("an answer"))
}

fn is_of_calls(path: &str) -> bool {
    ["/calls/complete", "/call/upsert_batch", "/call/start", "/call/end"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// What stands before the id of a call, as compact JSON has it.
const ID: &[u8] = b"\"id\":\"";

fn times(needle: &[u8], body: &[u8]) -> u64 {
    memchr::memmem::find_iter(body, needle).count() as u64
}

/// What a server that takes everything says.
fn answer_to(counted: &Counted, path: &str, body: &[u8]) -> String {
    let asked = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    let ids = |start: &Value| json!({"id": start["id"], "trace_id": start["trace_id"]});
    let answer = match path {
        "/server_info" => {
            json!({"min_required_weave_python_version": "0.0.1", "trace_server_version": "0.0.1"})
        }
        "/service/projects_info" => {
            let asked = asked();
            let names = asked["project_ids"].as_array().cloned().unwrap_or_default();
            names
                .iter()
                .map(|name| {
                    json!({"external_project_id": name,
                           "internal_project_id": "UHJvamVjdEludGVybmFsSWQ6MQ=="})
                })
                .collect()
        }
        "/graphql" => json!({"data": {
            "project": {"name": super::calls::PROJECT},
            "upsertModel": {"model": {"name": super::calls::PROJECT}},
            "viewer": {"username": "nobody", "defaultEntity": {"name": super::calls::ENTITY}},
        }}),
        "/call/upsert_batch" => {
            let asked = asked();
            let items = asked["batch"].as_array().cloned().unwrap_or_default();
            let res: Vec<Value> = items
                .iter()
                .map(|item| match item["mode"].as_str() {
                    Some("start") => ids(&item["req"]["start"]),
                    _ => json!({}),
                })
                .collect();
            json!({"res": res})
        }
        "/calls/stream_query" => return known(counted, &asked()["filter"]["call_ids"]),
        // A digest has so many characters.
        "/obj/create" | "/file/create" | "/files/create" => json!({"digest": "0".repeat(43)}),
        "/calls/query_stats" => json!({"count": 0}),
        "/call/read" => json!({"call": null}),
        _ if path.ends_with("/call/start") => ids(&asked()["start"]),
        _ => json!({}),
    };
    answer.to_string()
}

/// A line for each of these calls that is here.
fn known(counted: &Counted, ids: &Value) -> String {
    let calls = counted.calls();
    ids.as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| {
            let ended = calls.get(id.as_str()?.as_bytes().first_chunk::<36>()?)?;
            let ended_at = ended.then_some("2026-11-22T02:00:00.000000Z");
            Some(json!({"id": id, "ended_at": ended_at}).to_string() + "\n")
        })
        .collect()
}
