//! Runs of random steps, on a disk of one's own.

use std::sync::Arc;

use backhaul_agent::{Context, ContextPatch};
use backhaul_runtime::RunStatus;
use backhaul_runtime::persistence::{
    ContextPersistence, NodeRecord, PersistenceOptions, RunState, RunStep,
};
use backhaul_store::Disk;
use backhaul_testkit::{ManualClock, Prng};
use serde_json::json;

pub(crate) const DIR: &str = "/data/context";

pub(crate) fn options() -> PersistenceOptions {
    PersistenceOptions { checkpoint_interval: 4, ..PersistenceOptions::default() }
}

pub(crate) fn open(disk: &(impl Disk + Clone + 'static)) -> ContextPersistence {
    open_with(disk, options())
}

pub(crate) fn open_with(
    disk: &(impl Disk + Clone + 'static),
    options: PersistenceOptions,
) -> ContextPersistence {
    let clock = Arc::new(ManualClock::new());
    ContextPersistence::open_on(Arc::new(disk.clone()), clock, DIR, options).unwrap()
}

pub(crate) fn a_run(run_id: &str) -> RunState {
    RunState::new(run_id, "sensors", Context::new().set("run", run_id)).dag_digest("d1")
}

pub(crate) fn patch(random: &mut Prng) -> ContextPatch {
    let path = *random.pick(&["a", "a.b", "list", "deep.er.still", "text"]);
    match random.below(5) {
        0 => ContextPatch::delete(path),
        1 => ContextPatch::append(path, random.below(1_000)),
        2 => ContextPatch::merge(path, json!({"k": random.below(9)})),
        3 => ContextPatch::set(path, "x".repeat(random.index(6_000))),
        _ => ContextPatch::from_tool("thermometer", path, random.below(100)),
    }
}

/// Between one step and four.
pub(crate) fn steps(random: &mut Prng, number: u64) -> Vec<RunStep> {
    let count = 1 + random.below(4);
    (0..count)
        .map(|at| {
            let node_id = format!("node-{number}-{at}");
            match random.below(6) {
                0 => RunStep::NodeStarted { node_id, attempt: 1 },
                1 => {
                    let mut node = NodeRecord::succeeded(node_id, json!({"n": number}));
                    node.patches = vec![patch(random), patch(random)];
                    node.leads_to = vec!["next".to_owned()];
                    node.duration_ms = 0.5;
                    RunStep::NodeFinished(node)
                }
                2 => {
                    let mut node = NodeRecord::failed(node_id, "no \u{fdd0} answer");
                    node.may_have_happened = random.chance(0.5);
                    RunStep::NodeFinished(node)
                }
                _ => RunStep::Patch(patch(random)),
            }
        })
        .collect()
}

pub(crate) fn completed() -> RunStep {
    RunStep::Ended { status: RunStatus::Completed, error: None }
}
