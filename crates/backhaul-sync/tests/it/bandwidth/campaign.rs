//! Thirty simulated days, many times: several processes send all they can; they are
//! killed, the power is cut, also at flushes, the device reboots, clocks jump and are
//! corrected. In no period between two refills, by true time, does more go over the wire
//! than the cap; and what is sabotaged is noticed.
//!
//! `BACKHAUL_CAP_CASES` asks for more cases, `BACKHAUL_CAP_SEED` for others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_sync::Refill;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::world::{Action, End, Figures, PROCESSES, Sabotage, Setup, Step, WallAtBoot, World};

/// Cases in the ordinary test run.
const CASES: u32 = 60;
/// Steps of a case: about thirty days.
const STEPS: usize = 900;

fn setup() -> impl Strategy<Value = Setup> {
    let at = prop_oneof![Just(0_u64), 0..24 * 60_u64]
        .prop_map(|minutes| Duration::from_secs(60 * minutes));
    let refill = (at, prop_oneof![4 => Just(0), 1 => 1..=28_u8]).prop_map(|(at, day)| match day {
        0 => Refill::Daily { at },
        day => Refill::Monthly { day, at },
    });
    (2..=6_u64, 0..=2_u64, refill, -400..=400_i64, any::<u64>()).prop_map(
        |(limit_mb, reserve_mb, refill, drift_ppm, seed)| Setup {
            limit_mb,
            reserve_mb: reserve_mb.min(limit_mb - 1),
            refill,
            drift_ppm,
            seed,
        },
    )
}

fn wall() -> impl Strategy<Value = WallAtBoot> {
    prop_oneof![Just(WallAtBoot::Right), Just(WallAtBoot::Stopped), Just(WallAtBoot::In1970)]
}

fn off_minutes() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..5_u64, 2 => 0..300_u64, 1 => 0..1_500_u64]
}

/// Minutes by which the wall clock jumps: an hour, a day or ten years either way.
fn jump() -> impl Strategy<Value = i64> {
    prop_oneof![-4..=4_i64, -60..=60_i64, -1_500..=1_500_i64, -5_260_000..=5_260_000_i64]
}

fn action() -> impl Strategy<Value = Action> {
    let process = || 0..PROCESSES;
    let percent = || prop_oneof![Just(100_u64), 0..=100_u64];
    let bytes = || prop_oneof![1..20_000_u64, 1_000..400_000_u64, 1_000..1_000_000_u64];
    let end = prop_oneof![4 => Just(End::Commit), 1 => Just(End::Drop), 2 => Just(End::Keep)];
    prop_oneof![
        60 => (process(), bytes(), any::<bool>(), percent(), end).prop_map(
            |(process, bytes, critical, percent, end)| Action::Send {
                process, bytes, critical, percent, end
            }
        ),
        6 => (process(), percent()).prop_map(|(process, percent)| Action::GoOn { process, percent }),
        8 => process().prop_map(|process| Action::Finish { process }),
        3 => process().prop_map(|process| Action::Restart { process }),
        3 => (process(), percent()).prop_map(|(process, percent)| Action::Kill { process, percent }),
        2 => (off_minutes(), percent(), wall()).prop_map(
            |(off_minutes, percent, wall)| Action::PowerCut { off_minutes, percent, wall }
        ),
        2 => (process(), bytes(), 0..4_usize, off_minutes(), wall()).prop_map(
            |(process, bytes, flush, off_minutes, wall)| Action::CutAtFlush {
                process, bytes, flush, off_minutes, wall
            }
        ),
        2 => (off_minutes(), wall()).prop_map(|(off_minutes, wall)| Action::Reboot { off_minutes, wall }),
        4 => jump().prop_map(|minutes| Action::Jump { minutes }),
        3 => any::<bool>().prop_map(Action::Synchronise),
        2 => process().prop_map(|process| Action::ServerDate { process }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let minutes = prop_oneof![3 => Just(0_u64), 3 => 0..30_u64, 3 => 0..180_u64];
    (minutes, any::<bool>(), action()).prop_map(|(minutes, maintained, action)| Step {
        minutes,
        maintained,
        action,
    })
}

fn run_case(setup: &Setup, steps: &[Step], sabotage: Sabotage) -> Result<Figures, String> {
    let mut world = World::new(setup, sabotage);
    let start = world.first_period();
    for (index, step) in steps.iter().enumerate() {
        world.step(step).map_err(|why| format!("step {index}: {why}"))?;
    }
    Ok(world.end(start))
}

/// Runs random cases; `Err` tells the steps of the least that fails.
fn run_all(cases: u32, shrink: bool, sabotage: Sabotage) -> Result<Figures, String> {
    let mut seeds = [0; 32];
    seeds[..4].copy_from_slice(&number_from("BACKHAUL_CAP_SEED", 1).to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if shrink { 4_000 } else { 0 },
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seeds));
    let all = Arc::new(Mutex::new(Figures::default()));
    // Parts, so that no case is short, and every case can shrink to one step.
    let part = || prop::collection::vec(step(), 0..=STEPS * 2 / 3);
    let steps = (part(), part(), part()).prop_map(|(a, b, c)| [a, b, c].concat());
    let result = runner.run(&(setup(), steps), |(setup, steps)| {
        let figures = run_case(&setup, &steps, sabotage).map_err(TestCaseError::fail)?;
        *all.lock().unwrap() += figures;
        Ok(())
    });
    match result {
        Ok(()) => Ok(all.lock().unwrap().clone()),
        Err(TestError::Fail(why, (setup, steps))) => {
            let list: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
            Err(format!("{setup:?}:\n{}\n{why}", list.join("\n")))
        }
        Err(TestError::Abort(why)) => Err(why.to_string()),
    }
}

fn number_from(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

#[test]
fn in_thirty_days_no_period_passes_the_cap_whatever_happens() {
    let cases = number_from("BACKHAUL_CAP_CASES", CASES);
    let figures = run_all(cases, true, Sabotage::None).unwrap_or_else(|why| panic!("{why}"));
    println!("{figures:#?}");
    assert!(figures.days >= 20 * u64::from(cases), "{figures:?}");
    for reached in [
        figures.denied_by_cap,
        figures.denied_by_reserve,
        figures.critical_in_reserve,
        figures.kills,
        figures.power_cuts,
        figures.cuts_at_flushes,
        figures.jumps,
        figures.full_periods,
    ] {
        assert!(reached > 0, "the cases did not reach everything: {figures:?}");
    }
    // The caution has its price; what is left is what a device lives on.
    assert!(figures.megabytes * 4 >= figures.allowed_megabytes, "{figures:?}");
}

#[test]
fn a_wall_clock_that_is_trusted_is_noticed() {
    let why = run_all(20, false, Sabotage::TrustTheWallClock).unwrap_err();
    assert!(why.contains("the period has"), "{why}");
}

#[test]
fn a_disk_that_keeps_nothing_is_noticed() {
    let why = run_all(20, false, Sabotage::KeepNothing).unwrap_err();
    assert!(why.contains("the period has"), "{why}");
}
