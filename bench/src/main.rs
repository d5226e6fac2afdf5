//! Measures the store beside SQLite and its other peers, the courier beside a bare loop, what is
//! done for Weave beside Weave, the gateway of models beside LiteLLM's proxy, a change of a
//! context beside a copy of it, and a step of a graph beside LangGraph.
//!
//! Every figure is measured in rounds: in each round all engines run, in a
//! shuffled order, and ratios are taken within the round. Printed: the median of
//! the rounds, and the lowest and highest. See `docs/benchmarks.md`.

mod child;
mod choosing;
mod context;
mod courier;
mod device;
mod drain;
mod engines;
mod http;
mod hub;
mod models;
mod peers;
mod plot;
mod rate;
mod records;
mod report;
mod rounds;
mod steps;
mod weave;

const USAGE: &str = "store ROUNDS SECONDS | peers ROUNDS | damage PLACES | kills KILLS | courier ROUNDS | weave PART ROUNDS | \
                     models PART ROUNDS | context ROUNDS | steps ROUNDS | choose RECORDS | open FOLDER";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["store", rounds, seconds] => {
            engines::measure(number(rounds), seconds.parse().expect(USAGE))
        }
        ["peers", rounds] => peers::measure(number(rounds)),
        ["damage", places] => peers::measure_damage(number(places)),
        ["kills", kills] => peers::measure_kills(number(kills)),
        ["courier", rounds] => courier::measure(number(rounds)),
        ["weave", part, rounds] => weave::measure(part, number(rounds)),
        ["models", part, rounds] => models::measure(part, number(rounds)),
        ["context", rounds] => context::measure(number(rounds)),
        ["steps", rounds] => steps::measure(number(rounds)),
        ["choose", records] => choosing::measure(number(records)),
        ["open", folder] => engines::time_opening(folder.as_ref()),
        // What the above run in processes of their own.
        ["backlog", layout] => engines::run_child(layout),
        ["peer", ref verb @ ..] => peers::run_child(verb),
        ["context-memory", how, objects] => context::run_child(how, number(objects)),
        ["hub"] => hub::run_child(),
        ["drain", ref drain @ ..] => drain::run_child(drain),
        ["models-primary"] => models::run_child(),
        _ if weave::run_child(&arguments) => {}
        _ => panic!("expected {USAGE}"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect(USAGE)
}

/// All of them in an order that differs from round to round.
fn shuffled<T: Copy>(round: u64, all: &[T]) -> Vec<T> {
    let mut order = all.to_vec();
    let mut state = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    for index in (1..order.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(index, (state >> 33) as usize % (index + 1));
    }
    order
}
