//! Ours beside its peers: how fast records are stored, and read again.

use std::collections::BTreeSet;

use super::backlog::{Drained, drain};
use super::fill::{Case, Filled, table};
use super::{Corpus, Engine, Mode, Peer, SQLITE_FULL};
use crate::plot::{Panel, Plot};
use crate::report::Spread;
use crate::rounds::Rounds;
use crate::shuffled;

const PRODUCERS: [usize; 2] = [1, 64];
/// How long each stores records, in a round.
const SECONDS: f64 = 0.5;

pub fn measure(rounds: u64) {
    let corpus = Corpus::new(4096);
    let (peers, mut failures) = Peer::present();
    let cases: Vec<Case> = peers.iter().flat_map(|peer| cases(*peer)).collect();
    let backlogs = one_of_each_engine(&peers);
    let (mut filled, mut drained) = (Rounds::new(), Rounds::new());
    for round in 0..rounds {
        for case in shuffled(round, &cases) {
            match case.fill(SECONDS, &corpus) {
                Ok(figures) => filled.add(round, case, figures),
                Err(why) => failures.push((case.peer, why)),
            }
        }
        for peer in shuffled(round, &backlogs) {
            match drain(peer, &corpus) {
                Ok(figures) => drained.add(round, peer, figures),
                Err(why) => failures.push((peer, why)),
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    print_filled("peers-flushed", "Acknowledged when flushed", &filled, &cases, |mode| {
        mode != Mode::Relaxed
    });
    print_filled("peers-relaxed", "Acknowledged before", &filled, &cases, |mode| {
        mode == Mode::Relaxed
    });
    print_drained(&drained, &backlogs);
    print_failures(&failures);
}

/// A committer is of no use to one producer.
fn cases(peer: Peer) -> impl Iterator<Item = Case> {
    let producers = PRODUCERS.into_iter().filter(move |it| peer.mode != Mode::Grouped || *it > 1);
    producers.map(move |producers| Case::new(peer, producers))
}

/// Each engine in its first mode, which is the safest that works here.
pub fn one_of_each_engine(peers: &[Peer]) -> Vec<Peer> {
    let mut engines: Vec<Engine> = Vec::new();
    let first = peers.iter().filter(|peer| {
        let is_new = !engines.contains(&peer.engine);
        engines.push(peer.engine);
        is_new
    });
    first.copied().collect()
}

/// What others are compared with: SQLite with the same promise, and as many producers.
fn baseline(case: Case) -> Case {
    let mode = if case.peer.mode == Mode::Relaxed { Mode::Relaxed } else { Mode::Durable };
    Case::new(Peer { engine: Engine::Sqlite, mode }, case.producers)
}

fn print_filled(
    name: &'static str,
    title: &str,
    rounds: &Rounds<Case, Filled>,
    cases: &[Case],
    wanted: impl Fn(Mode) -> bool,
) {
    let cases: Vec<Case> = cases.iter().copied().filter(|case| wanted(case.peer.mode)).collect();
    let Some(first) = cases.first() else { return };
    let sqlite = baseline(*first).peer.title();
    let ratios = ratios(rounds, &cases);
    println!("### {title}\n\n{}", table(rounds, &cases));
    println!("{}", plot(name, title, sqlite, &ratios).write());
    println!("| records/s beside {sqlite} within a round | 1 producer | 64 producers |");
    println!("|---|---|---|");
    for (peer, ratios) in ratios {
        let [one, many] = ratios.map(|it| it.map_or_else(String::new, |it| format!("{it:.2}")));
        println!("| {} | {one} | {many} |", peer.title());
    }
    println!();
}

/// What each is beside SQLite, for each number of producers that it was measured with.
fn ratios(rounds: &Rounds<Case, Filled>, cases: &[Case]) -> Vec<(Peer, [Option<Spread>; 2])> {
    let others = cases.iter().filter(|case| baseline(**case) != **case);
    let mut peers: Vec<Peer> = others.map(|case| case.peer).collect();
    peers.dedup();
    let ratio = |case: Case| {
        rounds.all(case).next().and(rounds.all(baseline(case)).next())?;
        Some(rounds.ratio(case, baseline(case), |it| it.rate))
    };
    let ratios = |peer| PRODUCERS.map(|producers| ratio(Case::new(peer, producers)));
    peers.into_iter().map(|peer| (peer, ratios(peer))).collect()
}

fn plot(
    name: &'static str,
    title: &str,
    sqlite: &str,
    ratios: &[(Peer, [Option<Spread>; 2])],
) -> Plot {
    let panel = |at: usize| Panel {
        title: format!("{} producer{}", PRODUCERS[at], if at == 0 { "" } else { "s" }),
        bars: ratios.iter().map(|(_, ratios)| ratios[at]).collect(),
    };
    Plot {
        name,
        title: format!("{title}: records/s beside {sqlite}"),
        rows: ratios.iter().map(|(peer, _)| peer.row_of_plot()).collect(),
        panels: vec![panel(0), panel(1)],
        from: 1.0,
    }
}

fn print_drained(rounds: &Rounds<Peer, Drained>, peers: &[Peer]) {
    let measured = peers.iter().filter(|peer| rounds.all(**peer).next().is_some());
    let peers: Vec<Peer> = measured.copied().collect();
    println!("### A backlog, left by a process that ended without closing\n");
    println!(
        "| engine | records | open ms | first record ms | drained records/s | MB/s | \
         beside SQLite FULL | CPU s/100k | peak MB |\n|---|---|---|---|---|---|---|---|---|"
    );
    for peer in &peers {
        let of = |value: fn(&Drained) -> f64| rounds.column(*peer, value);
        println!(
            "| {} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {:.2} | {:.2} | {:.1} |",
            peer.title(),
            of(|it| it.records).median,
            of(|it| it.open_ms),
            of(|it| it.first_ms).median,
            of(|it| it.rate),
            of(|it| it.mb_per_second).median,
            rounds.ratio(*peer, SQLITE_FULL, |it| it.rate),
            of(|it| it.cpu_per_100k).low,
            of(|it| it.peak_mb).median,
        );
    }
    println!("\n{}", plot_drained(rounds, &peers).write());
}

fn plot_drained(rounds: &Rounds<Peer, Drained>, peers: &[Peer]) -> Plot {
    let others: Vec<Peer> = peers.iter().copied().filter(|it| *it != SQLITE_FULL).collect();
    let ratio = |value: fn(&Drained) -> f64| {
        let is_there = rounds.all(SQLITE_FULL).next().is_some();
        let ratio = |peer: &Peer| is_there.then(|| rounds.ratio(*peer, SQLITE_FULL, value));
        others.iter().map(ratio).collect()
    };
    Plot {
        name: "peers-backlog",
        title: format!("A backlog, beside {}", SQLITE_FULL.title()),
        rows: others.iter().map(|peer| peer.row_of_plot()).collect(),
        panels: vec![
            Panel { title: "drained records/s".to_owned(), bars: ratio(|it| it.rate) },
            Panel {
                title: "time to the first record (less is better)".to_owned(),
                bars: ratio(|it| it.first_ms),
            },
        ],
        from: 1.0,
    }
}

/// What is not in the tables, or failed in a round, and why.
pub fn print_failures(failures: &[(Peer, String)]) {
    for (peer, why) in failures.iter().collect::<BTreeSet<_>>() {
        println!("- Not measured: {}: {why}", peer.title());
    }
}
