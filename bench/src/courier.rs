//! The courier beside a bare loop, in rounds; and what it takes where much waits.

use std::collections::BTreeMap;
use std::process::Command;

use crate::drain::{self, Drained, Kind, Load, SENDERS, Sender, Stored};
use crate::engines::gigabytes;
use crate::hub::Hub;
use crate::report::{Spread, spread};
use crate::{rate, shuffled};

type Rounds = BTreeMap<(u64, Kind, Sender), Drained>;

pub fn measure(rounds: u64) {
    let hub = Hub::start();
    let mut drained = Rounds::new();
    for round in 0..rounds {
        for (kind, sender) in shuffled(round, &all()) {
            let load = Load { records: records(kind, sender), kind };
            drained.insert((round, kind, sender), drain::measure(sender, load, &hub.url));
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    print_drains(&drained);
    drain_much(&hub);
    choose();
    rate::measure();
}

fn all() -> Vec<(Kind, Sender)> {
    kinds().flat_map(|kind| SENDERS.map(|sender| (kind, sender))).collect()
}

fn kinds() -> impl Iterator<Item = Kind> {
    [1_000, 10_000].into_iter().flat_map(|len| [true, false].map(|gzip| Kind { len, gzip }))
}

/// About half a second's worth in gzip. A file takes as long to make as ten records of a segment.
fn records(kind: Kind, sender: Sender) -> u64 {
    let megabytes = if sender == Sender::Courier(Stored::Folder) { 8 } else { 40 };
    megabytes * 1_000_000 / kind.len as u64
}

fn print_drains(drained: &Rounds) {
    println!(
        "| records | sent by | records/s: median (low to high) | MB/s | CPU s/100k | beside the bare loop |"
    );
    println!("|---|---|---|---|---|---|");
    for (kind, sender) in all() {
        let column =
            |value: fn(&Drained) -> f64| of_rounds(drained, kind, sender, |_, it| Some(value(it)));
        let rate = column(|it| it.rate);
        let ratio = of_rounds(drained, kind, sender, |round, it| {
            Some(it.rate / drained.get(&(round, kind, Sender::Bare))?.rate)
        });
        println!(
            "| {kind} | {sender} | {:.0} ({:.0} to {:.0}) | {:.0} | {:.2} | {:.2} ({:.2} to {:.2}) |",
            rate.median,
            rate.low,
            rate.high,
            column(|it| it.megabytes).median,
            column(|it| it.cpu_per_100k).low,
            ratio.median,
            ratio.low,
            ratio.high
        );
    }
}

fn of_rounds(
    drained: &Rounds,
    kind: Kind,
    sender: Sender,
    value: impl Fn(u64, &Drained) -> Option<f64>,
) -> Spread {
    let rounds = drained.iter().filter(|((_, of, by), _)| (*of, *by) == (kind, sender));
    spread(rounds.filter_map(|((round, ..), it)| value(*round, it)).collect())
}

/// Peak memory of the process of the courier while a large backlog goes.
fn drain_much(hub: &Hub) {
    let gigabytes = gigabytes(1.0);
    println!("\n### A backlog of {gigabytes} GB, in gzip\n");
    for (stored, len) in [(Stored::Segments, 1_000), (Stored::Folder, 10_000)] {
        let (sender, kind) = (Sender::Courier(stored), Kind { len, gzip: true });
        let records = (gigabytes * 1e9) as u64 / len as u64;
        let drained = drain::measure(sender, Load { records, kind }, &hub.url);
        println!(
            "- {sender}, {records} records of {} KB: peak memory {:.1} MB, {:.0} records/s",
            len / 1000,
            drained.peak_mb,
            drained.rate
        );
    }
}

/// In a process of its own, whose memory is its own.
fn choose() {
    let program = std::env::current_exe().expect("the program's own path");
    println!();
    let chosen =
        Command::new(program).args(["choose", "1000000"]).status().expect("the child runs");
    assert!(chosen.success());
}
