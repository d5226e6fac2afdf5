//! Requests that are acknowledged when they are durable: the collector, a real Weave server,
//! and a bare server that appends and flushes.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::Rounds;
use super::calls::Post;
use super::child::{self, Server};
use super::client::{Load, Posted};
use crate::device;
use crate::engines::folder;
use crate::shuffled;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Backhaul,
    Reference,
    Floor,
}

const TARGETS: [Target; 3] = [Target::Backhaul, Target::Reference, Target::Floor];
const CASES: [(Post, u64); 7] = [
    (Post::Upsert(1), 1),
    (Post::Upsert(1), 64),
    (Post::Complete(1), 1),
    (Post::Complete(1), 64),
    (Post::Upsert(50), 1),
    (Post::Complete(100), 1),
    (Post::Complete(100), 64),
];
const TIME: Duration = Duration::from_secs(2);

type Key = (Target, Post, u64);

struct Measured {
    posted: Posted,
    flushes: f64,
    cpu_ms: f64,
}

impl Target {
    fn start(self, dir: &Path) -> Server {
        match self {
            // What is measured is the way in: nothing is delivered meanwhile.
            Target::Backhaul => Server::start_talking(
                child::backhaul_serve(dir)
                    .env("BACKHAUL_OUTAGE", "on")
                    .args(["--weave-url", "http://127.0.0.1:9"]),
            ),
            Target::Reference => Server::start(
                child::python("0.52.42")
                    .arg(child::of_repository("crates/backhaul-testkit/weave/server.py"))
                    .arg(dir.join("weave.db")),
            ),
            Target::Floor => Server::start(child::own("weave-floor").arg(dir.join("bodies"))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Backhaul => "backhaul serve",
            Target::Reference => "Weave's server, SQLite",
            Target::Floor => "append and flush",
        })
    }
}

pub fn measure(rounds: u64) {
    let all: Vec<Key> = CASES
        .into_iter()
        .flat_map(|(post, connections)| TARGETS.map(|target| (target, post, connections)))
        .collect();
    let mut measured = Rounds::new();
    for round in 0..rounds {
        let folders = TARGETS.map(|_| tempfile::tempdir_in(folder()).expect("a folder"));
        let servers: Vec<Server> =
            TARGETS.iter().zip(&folders).map(|(target, dir)| target.start(dir.path())).collect();
        for key in shuffled(round, &all) {
            let place = all.iter().position(|it| *it == key).expect("one of all");
            let salt = round * all.len() as u64 + place as u64;
            measured.add(round, key, measure_one(key, &servers[key.0 as usize], salt));
        }
        eprintln!("intake: round {} of {rounds}", round + 1);
    }
    print(&measured);
}

fn measure_one((_, post, connections): Key, server: &Server, salt: u64) -> Measured {
    let load = Load { url: server.url.clone(), connections, post, time: TIME, pace: None };
    let (counters, cpu) = (device::counters(&folder()), server.process().cpu_seconds());
    let posted = load.post(salt);
    let flushes = device::counters(&folder()).flushes - counters.flushes;
    Measured {
        posted,
        flushes: flushes as f64 / posted.requests,
        cpu_ms: (server.process().cpu_seconds() - cpu) * 1e3 / posted.requests,
    }
}

fn print(measured: &Rounds<Key, Measured>) {
    println!("### Acknowledged requests\n");
    println!(
        "| request | connections | server | requests/s: median (low to high) | p50 / p99 ms | flushes/request | CPU ms/request | backhaul beside it |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (post, connections) in CASES {
        for target in TARGETS {
            let key = (target, post, connections);
            let rate = measured.column(key, |it| it.posted.rate);
            let ours = (Target::Backhaul, post, connections);
            let ratio = measured.ratio(ours, key, |it| it.posted.rate);
            println!(
                "| {post} | {connections} | {target} | {:.0} ({:.0} to {:.0}) | {:.2} / {:.2} | {:.2} | {:.2} | {:.2} ({:.2} to {:.2}) |",
                rate.median,
                rate.low,
                rate.high,
                measured.column(key, |it| it.posted.p50_ms).median,
                measured.column(key, |it| it.posted.p99_ms).median,
                measured.column(key, |it| it.flushes).median,
                measured.column(key, |it| it.cpu_ms).low,
                ratio.median,
                ratio.low,
                ratio.high
            );
        }
    }
}
