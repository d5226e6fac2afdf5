//! Acknowledged records per second, beside SQLite with `synchronous=FULL`.
//!
//! Every figure is measured in rounds: in each round all engines run, in a
//! shuffled order, and ratios are taken within the round. Printed: the median of
//! the rounds, and the lowest and highest. See `docs/benchmarks.md`.

mod choosing;
mod device;
mod engines;
mod records;
mod report;

use std::time::Duration;

use engines::{ALL, Engine};
use report::Table;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["open", folder] => return engines::time_opening(folder.as_ref()),
        ["choose", records] => return choosing::measure(records.parse().expect("a number")),
        _ => {}
    }
    let rounds = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(7);
    let seconds: f64 = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(0.8);
    if let Some(child) = arguments.get(2) {
        return engines::run_child(child, &arguments, Duration::from_secs_f64(seconds));
    }
    let mut table = Table::default();
    for round in 0..rounds {
        for engine in shuffled(round) {
            table.add(round, engines::measure(engine, seconds));
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!("{table}");
    engines::open_with_backlog();
    engines::open_folder_with_backlog();
}

/// All engines in an order that differs from round to round.
fn shuffled(round: u64) -> Vec<Engine> {
    let mut order = ALL.to_vec();
    let mut state = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    for index in (1..order.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(index, (state >> 33) as usize % (index + 1));
    }
    order
}
