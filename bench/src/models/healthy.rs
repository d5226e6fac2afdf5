//! What a gateway adds to calls while all is well, and the memory that it takes.

use std::time::{Duration, Instant};

use backhaul_testkit::{LlamaOptions, LlamaServer, TinyModel};
use tokio::runtime::Runtime;

use super::call::{Ask, Called, Came, Connection};
use super::gateway::{Gateway, Model};
use super::latencies::{Latencies, ms};
use super::primary::Primary;
use crate::child::Server;
use crate::engines::folder;
use crate::report::Spread;
use crate::rounds::Rounds;
use crate::shuffled;

const GATEWAYS: [Gateway; 3] = [Gateway::Backhaul, Gateway::BackhaulRecordless, Gateway::LiteLlm];
const ASKS: [Ask; 3] = [Ask::Whole, Ask::Long, Ask::Streamed];
const MODEL: &str = "cloud-model";
/// Connections that ask at once, and for how long.
const CONNECTIONS: usize = 8;
const TIME: Duration = Duration::from_secs(2);

/// Direct calls and those through a gateway, in turns.
struct Pairs {
    direct: Latencies,
    /// What each took more than its direct one.
    added: Latencies,
    /// To the first byte.
    added_first: Latencies,
}

struct AtOnce {
    rate: f64,
    times: Latencies,
}

struct Measuring {
    runtime: Runtime,
    primary: Primary,
    servers: Vec<(Gateway, Server)>,
    pairs: Rounds<(Gateway, Ask), Pairs>,
    /// `None`: directly.
    at_once: Rounds<Option<Gateway>, AtOnce>,
}

pub fn measure(rounds: u64) {
    let llama = LlamaServer::start(&TinyModel::chain(), LlamaOptions::default());
    let llama = llama.unwrap_or_else(|error| panic!("no local model: {error}"));
    let primary = Primary::start();
    let dirs = GATEWAYS.map(|_| tempfile::tempdir_in(folder()).expect("a folder"));
    let mut servers = Vec::new();
    for (gateway, dir) in GATEWAYS.into_iter().zip(&dirs) {
        let models = [Model { name: MODEL, primary: &primary.url }];
        match gateway.start(dir.path(), &models, &llama.url()) {
            Ok(server) => servers.push((gateway, server)),
            Err(error) => println!("{gateway} is not measured: {error}\n"),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (pairs, at_once) = (Rounds::new(), Rounds::new());
    let runtime = runtime.expect("a runtime");
    let mut measuring = Measuring { runtime, primary, servers, pairs, at_once };
    let memory = |it: &Measuring| -> Vec<u64> {
        it.servers.iter().map(|(_, server)| server.process().memory()).collect()
    };
    let idle = memory(&measuring);
    measuring.warm_up();
    for round in 0..rounds {
        measuring.round(round);
        eprintln!("healthy: round {} of {rounds}", round + 1);
    }
    measuring.print_pairs();
    measuring.print_at_once();
    measuring.print_memory(&idle);
}

impl Measuring {
    fn warm_up(&mut self) {
        for place in 0..self.servers.len() {
            for ask in ASKS {
                let _ = self.pairs_of(place, ask, 50);
            }
        }
    }

    fn round(&mut self, round: u64) {
        let places: Vec<usize> = (0..self.servers.len()).collect();
        for ask in shuffled(round, &ASKS) {
            for place in shuffled(round, &places) {
                let gateway = self.servers[place].0;
                let pairs = self.pairs_of(place, ask, if gateway.is_ours() { 1000 } else { 100 });
                self.pairs.add(round, (gateway, ask), pairs);
            }
        }
        let mut all: Vec<Option<usize>> = places.into_iter().map(Some).collect();
        all.push(None);
        for place in shuffled(round, &all) {
            let server = place.map(|place| &self.servers[place]);
            let url = server.map_or(&self.primary.url, |(_, server)| &server.url);
            let at_once = self.runtime.block_on(ask_at_once(url));
            self.at_once.add(round, server.map(|(gateway, _)| *gateway), at_once);
        }
        // What it remembers of them.
        self.primary.take_calls();
    }

    fn pairs_of(&self, place: usize, ask: Ask, count: usize) -> Pairs {
        let url = &self.servers[place].1.url;
        let called = self.runtime.block_on(async {
            let mut direct = Connection::open(&self.primary.url).await;
            let mut through = Connection::open(url).await;
            let body = ask.body(MODEL);
            let mut called: Vec<(Called, Called)> = Vec::new();
            for number in 0..count {
                // Who is first has what the other left behind.
                called.push(if number % 2 == 0 {
                    let direct = direct.call(body.clone()).await;
                    (direct, through.call(body.clone()).await)
                } else {
                    let through = through.call(body.clone()).await;
                    (direct.call(body.clone()).await, through)
                });
            }
            called
        });
        for (direct, through) in &called {
            assert_eq!((direct.came, through.came), (Came::Cloud, Came::Cloud), "{url}");
        }
        let added = |of: fn(&Called) -> Duration| {
            Latencies::of(called.iter().map(|(direct, through)| ms(of(through)) - ms(of(direct))))
        };
        Pairs {
            direct: Latencies::of(called.iter().map(|(direct, _)| ms(direct.end))),
            added: added(|it| it.end),
            added_first: added(|it| it.first),
        }
    }

    fn print_pairs(&self) {
        println!("### What a gateway adds to a call\n");
        println!(
            "| answer | gateway | direct p50 / p99 ms | added p50 ms: median (low to high) | added p99 ms: median (low to high) | to the first byte: added p50 / p99 ms | goal p50 / p99 |"
        );
        println!("|---|---|---|---|---|---|---|");
        for ask in ASKS {
            for (gateway, _) in &self.servers {
                let of = |value: fn(&Pairs) -> f64| self.pairs.column((*gateway, ask), value);
                println!(
                    "| {ask} | {gateway} | {:.2} / {:.2} | {} | {} | {:.2} / {:.2} | {} |",
                    of(|it| it.direct.p50()).median,
                    of(|it| it.direct.p99()).median,
                    in_ms(&of(|it| it.added.p50())),
                    in_ms(&of(|it| it.added.p99())),
                    of(|it| it.added_first.p50()).median,
                    of(|it| it.added_first.p99()).median,
                    if gateway.is_ours() { "0.3 / 1" } else { "" }
                );
            }
        }
    }

    fn print_at_once(&self) {
        println!("\n### {CONNECTIONS} connections at once, whole answers\n");
        println!(
            "| gateway | calls/s: median (low to high) | p50 / p99 ms | p50 beside direct ms |"
        );
        println!("|---|---|---|---|");
        let p50 = |key| self.at_once.column(key, |it: &AtOnce| it.times.p50()).median;
        let all = self.servers.iter().map(|(gateway, _)| Some(*gateway));
        for key in std::iter::once(None).chain(all) {
            let rate = self.at_once.column(key, |it| it.rate);
            println!(
                "| {} | {:.0} ({:.0} to {:.0}) | {:.2} / {:.2} | {} |",
                key.map_or("none".to_owned(), |it| it.to_string()),
                rate.median,
                rate.low,
                rate.high,
                p50(key),
                self.at_once.column(key, |it| it.times.p99()).median,
                key.map_or(String::new(), |_| format!("{:+.2}", p50(key) - p50(None)))
            );
        }
    }

    fn print_memory(&self, idle: &[u64]) {
        println!("\n### Memory\n");
        println!(
            "| gateway | started, MB | after all these calls, MB | peak MB |\n|---|---|---|---|"
        );
        for ((gateway, server), idle) in self.servers.iter().zip(idle) {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            let process = server.process();
            println!(
                "| {gateway} | {:.0} | {:.0} | {:.0} |",
                mb(*idle),
                mb(process.memory()),
                mb(process.peak_memory())
            );
        }
    }
}

async fn ask_at_once(url: &str) -> AtOnce {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(url).await;
        tasks.push(tokio::spawn(async move {
            let body = Ask::Whole.body(MODEL);
            let mut times = Vec::new();
            while began.elapsed() < TIME {
                let called = connection.call(body.clone()).await;
                assert_eq!(called.came, Came::Cloud);
                times.push(ms(called.end));
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a connection"));
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    AtOnce { rate, times: Latencies::of(times) }
}

fn in_ms(it: &Spread) -> String {
    format!("{:.2} ({:.2} to {:.2})", it.median, it.low, it.high)
}
