//! Memory of the collector over minutes, while 64 connections log and it delivers.

use std::time::{Duration, Instant};

use super::calls::Post;
use super::child::{self, Server};
use super::client::Load;
use super::sink::Sink;
use crate::engines::folder;
use crate::report::spread;

/// Requests a second, of one call each.
const PACE: f64 = 1000.0;
/// How long what waits at the end may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(minutes: u64) {
    let dir = tempfile::tempdir_in(folder()).expect("a folder");
    let mut sink = Sink::start();
    let server = Server::start_talking(
        child::backhaul_serve(dir.path())
            .args(["--weave-url", &sink.url, "--wandb-url", &sink.url])
            .env("WANDB_API_KEY", "key"),
    );
    let load = Load {
        url: server.url.clone(),
        connections: 64,
        post: Post::Upsert(1),
        time: Duration::from_secs(minutes * 60),
        pace: Some(PACE),
    };
    let process = server.process();
    println!(
        "### Memory over {minutes} minutes: 64 connections, {PACE} requests/s, delivered meanwhile\n"
    );
    println!("| minute | resident MB: median (low to high) | calls delivered | CPU s |");
    println!("|---|---|---|---|");
    let began = Instant::now();
    let posting = std::thread::spawn(move || load.post(1));
    let mut medians = Vec::new();
    for minute in 1..=minutes {
        let (mut seconds, cpu) = (Vec::new(), process.cpu_seconds());
        for second in 1..=60 {
            let due = Duration::from_secs((minute - 1) * 60 + second);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            seconds.push(process.memory() as f64 / 1e6);
        }
        let memory = spread(seconds);
        println!(
            "| {minute} | {:.1} ({:.1} to {:.1}) | {} | {:.1} |",
            memory.median,
            memory.low,
            memory.high,
            sink.came().ended,
            process.cpu_seconds() - cpu
        );
        medians.push(memory.median);
    }
    let posted = posting.join().expect("the load");
    let (acknowledged, waited) = (posted.requests, Instant::now());
    while sink.came().ended < acknowledged && waited.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    let came = sink.came();
    println!(
        "\n{acknowledged} calls were acknowledged, {} starts and {} ends delivered in {} requests, the last {:.1} s after the end; p99 {:.2} ms; peak {:.1} MB; data on disk {:.0} MB.",
        came.started,
        came.ended,
        came.requests,
        waited.elapsed().as_secs_f64(),
        posted.p99_ms,
        process.peak_memory() as f64 / 1e6,
        size_of(dir.path()) as f64 / 1e6,
    );
    if let (Some(second), Some(last)) = (medians.get(1), medians.last()) {
        println!(
            "From the second minute to the last it grew by {:+.1} %.",
            (last / second - 1.0) * 100.0
        );
    }
}

/// Bytes of all files below a folder.
pub fn size_of(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
