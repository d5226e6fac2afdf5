//! Connections that stay open and say nothing, beside 64 that work.

use std::time::Duration;

use super::calls::Post;
use super::child::{self, Server};
use super::client::{self, Load};
use crate::engines::folder;
use crate::http::connect;

const IDLE: u64 = 10_000;
const WORKING: Load = Load {
    url: String::new(),
    connections: 64,
    post: Post::Upsert(1),
    time: Duration::from_secs(4),
    pace: None,
};

pub fn measure(times: u64) {
    println!("### {IDLE} idle connections beside 64 that work\n");
    println!(
        "| idle connections | requests/s of the 64 | p50 / p99 ms | memory MB | KB per idle connection |"
    );
    println!("|---|---|---|---|---|");
    for time in 0..times {
        for idle in [0, IDLE] {
            measure_one(time, idle);
        }
    }
}

fn measure_one(time: u64, idle: u64) {
    let dir = tempfile::tempdir_in(folder()).expect("a folder");
    let server = Server::start_talking(
        child::backhaul_serve(dir.path())
            .env("BACKHAUL_OUTAGE", "on")
            .args(["--weave-url", "http://127.0.0.1:9"])
            .args(["--max-connections", &(IDLE + 100).to_string()]),
    );
    let load = Load { url: server.url.clone(), ..WORKING };
    // What working takes is taken before.
    load.post(time * 4 + idle / IDLE * 2);
    let before = server.process().memory();
    // Says its address when all are open.
    let others = Server::start(child::own("weave-idle").arg(&server.url).arg(idle.to_string()));
    let with = server.process().memory();
    let posted = load.post(time * 4 + idle / IDLE * 2 + 1);
    println!(
        "| {idle} | {:.0} | {:.2} / {:.2} | {:.1} | {} |",
        posted.rate,
        posted.p50_ms,
        posted.p99_ms,
        server.process().memory() as f64 / 1e6,
        match idle {
            0 => "".to_owned(),
            _ => format!("{:.1}", with.saturating_sub(before) as f64 / 1e3 / idle as f64),
        }
    );
    drop(others);
}

/// The child: opens the connections, asks one thing on each, says so, and holds them.
pub fn run_child(url: &str, connections: &str) {
    let connections: u64 = connections.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut held = Vec::new();
        for _ in 0..connections {
            let mut sender = connect(url).await;
            let asked = hyper::Request::get("/server_info").header("host", "127.0.0.1");
            client::send(&mut sender, asked.body(Default::default()).expect("a request")).await;
            held.push(sender);
        }
        println!("{url}");
        std::future::pending::<()>().await;
    });
}
