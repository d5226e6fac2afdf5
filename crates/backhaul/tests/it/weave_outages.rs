//! Unmodified Weave clients, real ones, whose real server cannot be reached: what it holds in
//! the end is what it would hold if they had logged to it directly, whoever was killed.
//!
//! Agents, gateways, syncs and servers are processes of their own over TCP, and it is the
//! server's own answers that are counted. With `BACKHAUL_WEAVE_OUTAGES=all` they run in full:
//! an outage after each step of the agent, and as many kills as `docs/proofs.md` says.

mod agents;
mod debts;
mod held;
mod kills;
mod library;
mod recorder;
mod same;
mod several;
mod stage;

/// `all` where everything is asked for, else `few`.
fn wanted<T>(few: T, all: T) -> T {
    match std::env::var("BACKHAUL_WEAVE_OUTAGES").as_deref() {
        Ok("all") => all,
        Ok(other) => panic!("BACKHAUL_WEAVE_OUTAGES is {other:?}: expected all, or nothing"),
        Err(_) => few,
    }
}

/// The seed of what is random: `BACKHAUL_WEAVE_OUTAGES_SEED`, else 1.
fn seed() -> u64 {
    let seed = std::env::var("BACKHAUL_WEAVE_OUTAGES_SEED");
    seed.map_or(1, |seed| seed.parse().expect("BACKHAUL_WEAVE_OUTAGES_SEED is a number"))
}
