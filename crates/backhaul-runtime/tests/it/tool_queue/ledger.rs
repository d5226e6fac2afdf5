//! A fault at every point between intent and outcome, with each policy: how often it is really
//! done.

use backhaul_runtime::tool_queue::{ToolQueue, ToolQueueOptions};
use backhaul_runtime::tools::{OnUnknown, ToolRegistry};
use backhaul_testkit::{CrashStyle, Prng};

use super::support::{Actuator, Device, Weather, World, call};

const POLICIES: [OnUnknown; 4] =
    [OnUnknown::Repeat, OnUnknown::CheckFirst, OnUnknown::AskPerson, OnUnknown::Abandon];

/// What became of one call after a fault, a restart, and all the time it needs.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    effects: u32,
    unknown: u64,
    failed: u64,
    delivered: u64,
}

struct Trial {
    device: Device,
    world: World,
    on_unknown: OnUnknown,
    knows_keys: bool,
    sabotage: bool,
}

impl Trial {
    fn new(on_unknown: OnUnknown) -> Self {
        let (device, world) = (Device::new(), World::default());
        Self { device, world, on_unknown, knows_keys: false, sabotage: false }
    }

    fn open(&self) -> ToolQueue {
        let tool = Actuator::new(&self.world, "act", self.on_unknown);
        let tool = if self.knows_keys { tool.keyed() } else { tool };
        let options = ToolQueueOptions {
            sabotage_skip_started: self.sabotage,
            ..ToolQueueOptions::default()
        };
        let tools = ToolRegistry::new().with(tool).unwrap();
        self.device.builder(tools).options(options).open().unwrap()
    }

    async fn rest(&self) -> Fate {
        let queue = self.open();
        for _ in 0..10 {
            queue.drain().await;
            self.device.clock.advance(std::time::Duration::from_secs(120));
        }
        let status = queue.status().unwrap();
        assert!(status.books.balance(), "{status:?}");
        assert_eq!(queue.unknown_calls().unwrap().len() as u64, status.unknown);
        Fate {
            effects: self.world.effects_of(&call("act", 1).key),
            unknown: status.unknown,
            failed: status.failed,
            delivered: status.books.delivered,
        }
    }
}

/// The power goes before the nth flush after the call was stored; what was not flushed is lost,
/// or not, as `style` says. `None`: there are no more flushes.
async fn power_cut_at(trial: &mut Trial, flush: u64, style: &CrashStyle, seed: u64) -> Option<()> {
    let queue = trial.open();
    queue.enqueue(call("act", 1)).unwrap();
    let image = std::sync::Arc::new(std::sync::Mutex::new(None));
    let (taken, mut count) = (std::sync::Arc::clone(&image), 0);
    let world = trial.world.clone();
    trial.device.disk.on_flush(Box::new(move |snapshot| {
        if count == flush {
            let effects = world.effects_of(&call("act", 1).key);
            *taken.lock().unwrap() = Some((snapshot.clone(), effects));
        }
        count += 1;
    }));
    queue.drain().await;
    trial.device.disk.clear_on_flush();
    drop(queue);
    let (snapshot, effects) = image.lock().unwrap().take()?;
    // The world is as it was then, and the disk as the power cut left it.
    trial.world.set_effects(&call("act", 1).key, effects);
    let left = snapshot.crash_image(&mut Prng::new(seed), style);
    trial.device.disk = left;
    Some(())
}

#[tokio::test]
async fn after_a_power_cut_at_any_point_it_is_done_as_often_as_its_policy_says() {
    let styles = [CrashStyle::DROP_ALL, CrashStyle::KEEP_ALL, CrashStyle::WORST];
    let mut points = 0;
    for on_unknown in POLICIES {
        for (style, seed) in styles.iter().flat_map(|style| (0..3).map(move |seed| (style, seed))) {
            for flush in 0.. {
                let mut trial = Trial::new(on_unknown);
                trial.knows_keys = on_unknown == OnUnknown::Repeat;
                if power_cut_at(&mut trial, flush, style, seed).await.is_none() {
                    break;
                }
                points += 1;
                let fate = trial.rest().await;
                check(on_unknown, &fate, &format!("flush {flush}, {style:?}, seed {seed}"));
            }
        }
    }
    assert!(points >= 4 * 9 * 3, "{points}");
}

/// One effect for a keyed tool and for one that looks first; one at most for the others, whose
/// unknown calls are listed.
fn check(on_unknown: OnUnknown, fate: &Fate, at: &str) {
    match on_unknown {
        OnUnknown::Repeat | OnUnknown::CheckFirst => {
            let expected = Fate { effects: 1, unknown: 0, failed: 0, delivered: 1 };
            assert_eq!(*fate, expected, "{on_unknown:?} {at}");
        }
        OnUnknown::AskPerson => {
            assert!(fate.effects <= 1, "{fate:?} {at}");
            assert_eq!((fate.unknown + fate.delivered, fate.failed), (1, 0), "{fate:?} {at}");
            assert!(fate.effects == 1 || fate.delivered == 0, "{fate:?} {at}");
        }
        OnUnknown::Abandon => {
            assert!(fate.effects <= 1, "{fate:?} {at}");
            assert_eq!((fate.failed + fate.delivered, fate.unknown), (1, 0), "{fate:?} {at}");
            assert!(fate.effects == 1 || fate.delivered == 0, "{fate:?} {at}");
        }
    }
}

#[tokio::test]
async fn whatever_a_try_meets_it_is_done_as_often_as_its_policy_says() {
    let all = [
        Weather::Fine,
        Weather::NoNetwork,
        Weather::AnswerLost,
        Weather::RequestLost,
        Weather::Refused,
        Weather::Panics,
    ];
    for on_unknown in POLICIES {
        for first in all {
            for second in all {
                let mut trial = Trial::new(on_unknown);
                trial.knows_keys = on_unknown == OnUnknown::Repeat;
                trial.world.forecast(&[first, second]);
                let queue = trial.open();
                queue.enqueue(call("act", 1)).unwrap();
                queue.drain().await;
                drop(queue);
                trial.device.disk.kill_process();
                let fate = trial.rest().await;
                check(on_unknown, &fate, &format!("{first:?} then {second:?}"));
                if on_unknown == OnUnknown::CheckFirst && first == Weather::AnswerLost {
                    assert_eq!((trial.world.tries(), trial.world.probes()), (1, 1));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_is_not_written_down_is_noticed() {
    let mut more_than_once = 0;
    for flush in 0..20 {
        let mut trial = Trial::new(OnUnknown::Abandon);
        trial.sabotage = true;
        if power_cut_at(&mut trial, flush, &CrashStyle::DROP_ALL, 1).await.is_none() {
            break;
        }
        more_than_once += u32::from(trial.rest().await.effects > 1);
    }
    assert!(more_than_once > 0);
}
