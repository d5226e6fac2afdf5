//! The load: requests on connections that stay open, each with calls of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;

use super::calls::{Call, Post};
use super::child;
use crate::http::connect;

/// What is posted, and how.
#[derive(Clone)]
pub struct Load {
    pub url: String,
    pub connections: u64,
    pub post: Post,
    pub time: Duration,
    /// Requests a second on all connections together; `None`: each as soon as it may.
    pub pace: Option<f64>,
}

/// What came of it.
#[derive(Clone, Copy)]
pub struct Posted {
    pub requests: f64,
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Load {
    /// Posts in a process of its own. `salt`: no two loads with one have calls in common.
    pub fn post(&self, salt: u64) -> Posted {
        let [requests, rate, p50_ms, p99_ms] = child::figures(
            child::own("weave-post")
                .args([&self.url, &self.connections.to_string(), &self.post.key()])
                .args([self.time.as_secs_f64().to_string(), salt.to_string()])
                .args(self.pace.map(|pace| pace.to_string())),
        );
        Posted { requests, rate, p50_ms, p99_ms }
    }
}

/// The child: posts, then prints requests, requests a second, and milliseconds.
pub fn run_child(arguments: &[&str]) {
    let [url, connections, post, seconds, salt, ref pace @ ..] = *arguments else {
        panic!("expected URL CONNECTIONS POST SECONDS SALT [PACE]")
    };
    let load = Load {
        url: url.to_owned(),
        connections: connections.parse().expect("a number"),
        post: Post::of_key(post),
        time: Duration::from_secs_f64(seconds.parse().expect("a number")),
        pace: pace.first().map(|pace| pace.parse().expect("a number")),
    };
    let salt: u64 = salt.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (mut latencies, took) = runtime.expect("a runtime").block_on(post_all(load, salt));
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    println!(
        "{} {} {} {}",
        latencies.len(),
        latencies.len() as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
}

async fn post_all(load: Load, salt: u64) -> (Vec<u64>, Duration) {
    let load = Arc::new(load);
    let mut senders = Vec::new();
    for _ in 0..load.connections {
        senders.push(connect(&load.url).await);
    }
    let began = Instant::now();
    let tasks: Vec<_> = (0..)
        .zip(senders)
        .map(|(connection, sender)| {
            let first = salt << 36 | connection << 28;
            tokio::spawn(post_on(Arc::clone(&load), sender, connection, first, began))
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a connection"));
    }
    (latencies, began.elapsed())
}

/// What one connection posts until the time is over, with calls numbered from `first`.
async fn post_on(
    load: Arc<Load>,
    mut sender: SendRequest<Full<Bytes>>,
    connection: u64,
    first: u64,
    began: Instant,
) -> Vec<u64> {
    let mut latencies = Vec::new();
    let mut number = first;
    while began.elapsed() < load.time {
        if let Some(pace) = load.pace {
            let nth = latencies.len() as u64 * load.connections + connection;
            let due = began + Duration::from_secs_f64(nth as f64 / pace);
            tokio::time::sleep_until(due.into()).await;
        }
        let calls = number..number + load.post.calls();
        number = calls.end;
        let request = request(&load.post.path(), load.post.body(calls.map(Call::short)));
        let posted = Instant::now();
        send(&mut sender, request).await;
        latencies.push(posted.elapsed().as_nanos() as u64);
    }
    latencies
}

/// With the headers of client 0.54.0 that say something.
pub fn request(path: &str, body: String) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("host", "127.0.0.1")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "WeaveTrace/Python 0.0.1")
        // api:key
        .header("authorization", "Basic YXBpOmtleQ==")
        .header("x-weave-client-capabilities", "trace_id_on_end,eval_child_meta")
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}

/// Until the answer is read, which must be a good one.
pub async fn send(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) {
    sender.ready().await.expect("an open connection");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
}
