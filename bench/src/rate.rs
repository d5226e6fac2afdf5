//! Whether a rate is kept, counted by the process at the other end.

use std::time::{Duration, Instant};

use crate::drain::{self, Kind, Load, Sender, Stored};
use crate::engines::folder;
use crate::hub::{Counts, Hub};
use crate::report::{Spread, spread};

const WINDOW: Duration = Duration::from_secs(10);
const TIMES: usize = 3;

pub fn measure() {
    println!("\n### The rate over {} s from the first byte on, {TIMES} times\n", WINDOW.as_secs());
    println!(
        "| rate_limit_kbps | counted kbps: median (low to high) | farthest off | TCP payload alone |"
    );
    println!("|---|---|---|---|");
    for kbps in [50, 500, 5_000] {
        let counted: Vec<Counts> = (0..TIMES).map(|_| count(kbps)).collect();
        let of = |value: fn(&Counts) -> u64| -> Spread {
            let seconds = WINDOW.as_secs_f64();
            spread(counted.iter().map(|it| value(it) as f64 * 8.0 / 1000.0 / seconds).collect())
        };
        let (wire, payload) = (of(|it| it.wire), of(|it| it.payload));
        let off = |value: f64| (value / kbps as f64 - 1.0) * 100.0;
        let farthest = [off(wire.low), off(wire.high)]
            .into_iter()
            .max_by(|left, right| left.abs().total_cmp(&right.abs()));
        println!(
            "| {kbps} | {:.1} ({:.1} to {:.1}) | {:+.1} % | {:.1} |",
            wire.median,
            wire.low,
            wire.high,
            farthest.unwrap_or_default(),
            payload.median,
        );
    }
}

/// What a hub counts of a courier in the time from its first byte on.
fn count(kbps: u64) -> Counts {
    let folder = tempfile::tempdir_in(folder()).expect("a folder");
    // More than goes in the time, compressed five times.
    let records = 5_000 + kbps * 20;
    let load = Load { records, kind: Kind { len: 1_000, gzip: true } };
    drain::fill(folder.path(), Stored::Segments, load);
    let mut hub = Hub::start();
    let sender = Sender::Courier(Stored::Segments);
    let mut child = drain::spawn(sender, load, &hub.url, folder.path(), Some(kbps));
    while hub.counts().payload == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let began = Instant::now();
    std::thread::sleep(WINDOW.saturating_sub(began.elapsed()));
    let counts = hub.counts();
    let has_more = child.try_wait().expect("a child").is_none();
    let _ = child.kill();
    let _ = child.wait();
    assert!(has_more, "the backlog was sent before the time was over");
    counts
}
