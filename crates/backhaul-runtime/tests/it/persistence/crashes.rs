//! Power cuts: whatever a run was told is kept is there afterwards, and nothing that it never
//! was.

use std::sync::{Arc, Mutex};

use backhaul_runtime::persistence::{PersistenceOptions, Recovery, RunState, RunStep};
use backhaul_testkit::{CrashStyle, Prng, SimDisk, SimSnapshot};

use super::support::{a_run, completed, open, open_with, options, steps};

/// Images in the ordinary test run; `BACKHAUL_CRASH_IMAGES` asks for more.
const IMAGES: u64 = 1_500;
const RUN: &str = "run:1";

/// All that the run has been, and how much of it was acknowledged.
#[derive(Debug, Clone, Default)]
struct Told {
    states: Vec<Arc<RunState>>,
    acknowledged: usize,
}

struct Moment {
    snapshot: SimSnapshot,
    told: Told,
}

/// Runs for a while, now and then interrupted and gone on with, and gives the moments at which
/// the power could go.
fn moments(seed: u64, options: &PersistenceOptions) -> Vec<Moment> {
    let mut random = Prng::new(seed);
    let disk = SimDisk::new();
    let told = Arc::new(Mutex::new(Told::default()));
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (kept, known) = (Arc::clone(&moments), Arc::clone(&told));
    disk.on_flush(Box::new(move |snapshot| {
        let (snapshot, told) = (snapshot.clone(), known.lock().unwrap().clone());
        kept.lock().unwrap().push(Moment { snapshot, told });
    }));
    let persistence = open_with(&disk, options.clone());
    note(&told, &a_run(RUN), false);
    let mut run = persistence.begin(a_run(RUN)).unwrap();
    note(&told, run.state(), true);
    for number in 0..20 {
        if random.chance(0.1) {
            let mut resumed = run.state().clone();
            drop(run);
            resumed.take(&RunStep::Resumed).unwrap();
            note(&told, &resumed, false);
            run = persistence.resume(RUN).unwrap();
            note(&told, run.state(), true);
        }
        let steps = steps(&mut random, number);
        let mut ahead = run.state().clone();
        for step in &steps {
            // What cannot be applied ends the steps.
            if ahead.take(step).is_err() {
                break;
            }
            note(&told, &ahead, false);
        }
        let _ = run.take(&steps);
        note(&told, run.state(), true);
    }
    let mut ended = run.state().clone();
    ended.take(&completed()).unwrap();
    note(&told, &ended, false);
    run.take(&[completed()]).unwrap();
    note(&told, run.state(), true);
    disk.clear_on_flush();
    let told = told.lock().unwrap().clone();
    let mut moments = std::mem::take(&mut *moments.lock().unwrap());
    moments.push(Moment { snapshot: disk.snapshot(), told });
    moments
}

fn note(told: &Mutex<Told>, state: &RunState, is_acknowledged: bool) {
    let mut told = told.lock().unwrap();
    if told.states.last().is_none_or(|last| **last != *state) {
        told.states.push(Arc::new(state.clone()));
    }
    if is_acknowledged {
        told.acknowledged = told.states.len();
    }
}

/// Whether what is recovered of an image is what it has to be.
fn holds(image: &SimDisk, told: &Told) -> Result<(), String> {
    let persistence = open(image);
    let latest = persistence.recover_latest().map_err(|error| error.to_string())?;
    let resumable = persistence.recover_run(Recovery::any()).map_err(|error| error.to_string())?;
    // What was written last may be there without having been acknowledged.
    let least = told.acknowledged.saturating_sub(1);
    let may_be = told.states.get(least..).unwrap_or_default();
    if told.acknowledged == 0 && latest.is_none() {
        return Ok(());
    }
    let Some(latest) = latest else { return Err("nothing is there".to_owned()) };
    if !may_be.iter().any(|state| state.context == latest) {
        return Err(format!("{latest:?} is none of the last states"));
    }
    let Some(resumable) = resumable else {
        let may_have_ended = may_be.iter().any(|state| state.status.is_over());
        return if may_have_ended { Ok(()) } else { Err("the run cannot go on".to_owned()) };
    };
    if !may_be.iter().any(|state| **state == resumable) {
        return Err(format!("{resumable:?} is none of the last states"));
    }
    let resumed = persistence.resume(RUN).map_err(|error| error.to_string())?;
    drop(resumed);
    // And again: recovery has changed nothing.
    let again = persistence.recover_latest().map_err(|error| error.to_string())?;
    if again.as_ref() == Some(&latest) { Ok(()) } else { Err("going on loses it".to_owned()) }
}

fn images() -> u64 {
    std::env::var("BACKHAUL_CRASH_IMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(IMAGES)
}

fn campaign(options: &PersistenceOptions, images: u64) -> Vec<String> {
    let (mut drawn, mut seed, mut failures) = (0, 0, Vec::new());
    while drawn < images {
        seed += 1;
        let mut random = Prng::new(seed);
        for moment in moments(seed, options) {
            for _ in 0..2 {
                drawn += 1;
                let style = CrashStyle::random(&mut random);
                let image = moment.snapshot.crash_image(&mut random, &style);
                if let Err(why) = holds(&image, &moment.told) {
                    let at = moment.snapshot.point();
                    failures.push(format!("seed {seed}, at {at:?}, {style:?}: {why}"));
                }
            }
        }
    }
    failures
}

#[test]
fn no_power_cut_loses_a_step_that_was_acknowledged_or_makes_one_up() {
    let failures = campaign(&options(), images());
    assert!(failures.is_empty(), "{} failed, the first: {}", failures.len(), failures[0]);
}

#[test]
fn steps_that_are_acknowledged_before_they_are_on_disk_are_missed() {
    let options = PersistenceOptions { sabotage_skip_journal: true, ..options() };
    assert!(!campaign(&options, 200).is_empty());
}

#[test]
fn a_killed_process_loses_nothing_at_any_durability() {
    use backhaul_store::Flush;
    for flush in [Flush::Never, Flush::Every(std::time::Duration::from_secs(1))] {
        let options = PersistenceOptions { flush, ..options() };
        for moment in (0..4).flat_map(|seed| moments(seed, &options)) {
            let image = moment.snapshot.crash_image(&mut Prng::new(1), &CrashStyle::KEEP_ALL);
            holds(&image, &moment.told).unwrap();
        }
    }
}
