//! A campaign: many random cases, each shrunk to its least when it fails.

use std::sync::atomic::{AtomicU64, Ordering};

use backhaul_testkit::SimDisk;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::item::Fate;
use super::outcome::Outcome;
use super::run::Run;
use super::seen::Seen;
use super::step::{Setup, Step, setup, step};
use crate::support::Layout;

/// Cases per layout in the ordinary test run, half as many of each form of segments.
const CASES: u64 = 400;
/// Most steps of one case.
const STEPS: usize = 90;

/// Runs all cases, and asks that they reached what they should.
pub(super) fn agrees(layout: Layout) {
    let cases = u32::try_from(layout.wanted("BACKHAUL_MODEL_CASES", CASES)).unwrap();
    let seen = run_all(layout, cases, true, |_| {}).unwrap_or_else(|why| panic!("{why}"));
    println!("{layout:?}: {seen:?}");
    let reached = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
    assert!(seen.cases.load(Ordering::Relaxed) >= u64::from(cases));
    assert!(
        seen.long_cases.load(Ordering::Relaxed) * 10 >= u64::from(cases) * 9,
        "too few cases span three segments"
    );
    for counter in [
        &seen.power_cuts,
        &seen.kills,
        &seen.relaxed_lost,
        &seen.evicted,
        &seen.refused,
        &seen.requeued,
        &seen.expired,
        &seen.shares,
    ] {
        assert!(reached(counter), "the cases did not reach everything: {seen:?}");
    }
}

/// Runs random cases; `Err` tells the steps of the least that fails.
pub(super) fn run_all(
    layout: Layout,
    cases: u32,
    shrink: bool,
    sabotage: fn(&SimDisk),
) -> Result<Seen, String> {
    let seed = number_from("BACKHAUL_MODEL_SEED", 1).to_le_bytes();
    let mut seeds = [0; 32];
    seeds[..4].copy_from_slice(&seed);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if shrink { 20_000 } else { 0 },
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seeds));
    let seen = Seen::default();
    // Three parts, so that hardly a case is short, and every case can shrink to one step.
    let part = || prop::collection::vec(step(), 0..STEPS / 3);
    let steps = (part(), part(), part()).prop_map(|(a, b, c)| [a, b, c].concat());
    let result = runner.run(&(setup(), steps), |(setup, steps)| {
        run_case(layout, &setup, &steps, sabotage, &seen).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(seen),
        Err(TestError::Fail(why, (setup, steps))) => {
            let list: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
            Err(format!("{layout:?}, {setup:?}:\n{}\n{why}", list.join("\n")))
        }
        Err(TestError::Abort(why)) => Err(why.to_string()),
    }
}

fn run_case(
    layout: Layout,
    setup: &Setup,
    steps: &[Step],
    sabotage: fn(&SimDisk),
    seen: &Seen,
) -> Outcome {
    let disk = SimDisk::new();
    sabotage(&disk);
    let mut run = Run::start(layout, setup.clone(), disk, seen)?;
    for (index, step) in steps.iter().enumerate() {
        run.step(step).map_err(|why| format!("step {index}, {step:?}: {why}"))?;
        Seen::add(&seen.steps, 1);
    }
    Seen::add(&seen.cases, 1);
    let is_long = layout == Layout::Folder || run.segments.len() >= 3;
    Seen::add(&seen.long_cases, usize::from(is_long));
    let expired = usize::try_from(run.count(Fate::Expired)).unwrap();
    Seen::add(&seen.expired, expired);
    Ok(())
}

fn number_from(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}
