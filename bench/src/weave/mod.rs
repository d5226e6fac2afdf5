//! What is done for Weave, beside a real Weave server, Weave's own write-ahead log and its
//! sender, and the least that could be done.

mod calls;
mod client;
mod disk;
mod drain;
mod floor;
mod idle;
mod intake;
mod log;
mod memory;
mod ops;
mod reads;
mod sink;

use crate::child;
use crate::rounds::Rounds;

/// What is measured, each by itself.
pub fn measure(part: &str, rounds: u64) {
    match part {
        "intake" => intake::measure(rounds),
        "idle" => idle::measure(rounds),
        "log" => log::measure(rounds),
        "disk" => disk::measure(),
        "drain" => drain::measure(rounds),
        "memory" => memory::measure(rounds),
        "ops" => ops::measure(rounds),
        "reads" => reads::measure(rounds),
        _ => panic!("expected intake, idle, log, ops, disk, drain, reads or memory: found {part}"),
    }
}

/// Whether this is one of the processes that the above need.
pub fn run_child(arguments: &[&str]) -> bool {
    match *arguments {
        ["weave-post", ref load @ ..] => client::run_child(load),
        ["weave-floor", path] => floor::run_child(path),
        ["weave-sink"] => sink::run_child(),
        ["weave-log", ref log @ ..] => log::run_child(log),
        ["weave-ops", ref ops @ ..] => ops::run_child(ops),
        ["weave-drain", ref drain @ ..] => drain::run_child(drain),
        ["weave-read", calls, dir] => reads::run_child(calls, dir.as_ref()),
        ["weave-idle", url, connections] => idle::run_child(url, connections),
        _ => return false,
    }
    true
}
