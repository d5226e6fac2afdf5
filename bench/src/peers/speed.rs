//! Ours beside its peers: how fast records are stored, and read again.

use super::backlog::{Drained, drain};
use super::fill::{Case, Filled, table};
use super::{Corpus, Engine, Mode, Peer};
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
    print_filled("Acknowledged when flushed", &filled, &cases, |mode| mode != Mode::Relaxed);
    print_filled("Acknowledged before", &filled, &cases, |mode| mode == Mode::Relaxed);
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
    title: &str,
    rounds: &Rounds<Case, Filled>,
    cases: &[Case],
    wanted: impl Fn(Mode) -> bool,
) {
    let cases: Vec<Case> = cases.iter().copied().filter(|case| wanted(case.peer.mode)).collect();
    let sqlite = cases.first().map_or("", |case| baseline(*case).peer.title());
    println!("### {title}\n\n{}", table(rounds, &cases));
    println!(
        "| records/s beside {sqlite} within a round | 1 producer | 64 producers |\n|---|---|---|"
    );
    let peers = cases.iter().filter(|case| baseline(**case) != **case).map(|case| case.peer);
    let mut peers: Vec<Peer> = peers.collect();
    peers.dedup();
    for peer in peers {
        let ratio = |producers| {
            let case = Case::new(peer, producers);
            if rounds.all(case).next().is_none() {
                return String::new();
            }
            format!("{:.2}", rounds.ratio(case, baseline(case), |it| it.rate))
        };
        println!("| {} | {} | {} |", peer.title(), ratio(1), ratio(64));
    }
    println!();
}

fn print_drained(rounds: &Rounds<Peer, Drained>, peers: &[Peer]) {
    println!("### A backlog, left by a process that ended without closing\n");
    println!(
        "| engine | records | open ms | first record ms | drained records/s | MB/s | \
         beside SQLite FULL | CPU s/100k | peak MB |\n|---|---|---|---|---|---|---|---|---|"
    );
    for peer in peers.iter().filter(|peer| rounds.all(**peer).next().is_some()) {
        let of = |value: fn(&Drained) -> f64| rounds.column(*peer, value);
        println!(
            "| {} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {:.2} | {:.2} | {:.1} |",
            peer.title(),
            of(|it| it.records).median,
            of(|it| it.open_ms),
            of(|it| it.first_ms).median,
            of(|it| it.rate),
            of(|it| it.mb_per_second).median,
            rounds.ratio(*peer, super::SQLITE_FULL, |it| it.rate),
            of(|it| it.cpu_per_100k).low,
            of(|it| it.peak_mb).median,
        );
    }
    println!();
}

/// What is not in the tables, and why.
pub fn print_failures(failures: &[(Peer, String)]) {
    for (peer, why) in failures {
        println!("- Not measured: {}: {why}", peer.title());
    }
}
