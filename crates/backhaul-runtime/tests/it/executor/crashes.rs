//! Power cuts at every flush of a run: what had begun is known to have, what had ended on disk
//! does not run again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use backhaul_agent::Context;
use backhaul_runtime::executor::{DagExecutor, RunOptions};
use backhaul_runtime::persistence::{PersistenceOptions, Recovery};
use backhaul_testkit::{CrashStyle, Prng, SimDisk, SimSnapshot};

use super::support::{Told, built, chain, diamond, functions, keeping};
use crate::persistence::support::{open_with, options};

struct Moment {
    snapshot: SimSnapshot,
    begun: BTreeSet<String>,
}

/// Runs the graph, and gives the moments at which the power could go.
async fn moments(options: PersistenceOptions) -> Vec<Moment> {
    let (disk, told) = (SimDisk::new(), Told::default());
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (kept, known) = (Arc::clone(&moments), told.clone());
    disk.on_flush(Box::new(move |snapshot| {
        let begun = known.begun().into_iter().collect();
        kept.lock().unwrap().push(Moment { snapshot: snapshot.clone(), begun });
    }));
    let persistence = open_with(&disk, options);
    let executor = DagExecutor::new(functions(&told)).context_persistence(persistence);
    let run = RunOptions::new().run_id("r");
    assert!(executor.run_with(&built(diamond()), Context::new(), run).await.success());
    disk.clear_on_flush();
    drop(executor);
    Arc::try_unwrap(moments).ok().unwrap().into_inner().unwrap()
}

/// Cuts the power, goes on, and says what is not as it has to be.
async fn check(moment: &Moment, random: &mut Prng) -> Result<(), String> {
    let style = CrashStyle::random(random);
    let disk = moment.snapshot.crash_image(random, &style);
    let Some(state) = keeping(&disk).recover_run(Recovery::any()).unwrap() else {
        let latest = keeping(&disk).recover_latest().unwrap();
        let is_done = latest.is_some_and(|context| context.len() == 6);
        return if is_done || moment.begun.is_empty() { Ok(()) } else { Err("it is lost".into()) };
    };
    let ended: BTreeSet<String> = state.nodes.iter().map(|node| node.node_id.clone()).collect();
    for id in &moment.begun {
        if !ended.contains(id) && !state.begun.contains_key(id) {
            return Err(format!("{id} had begun, and nobody knows"));
        }
    }
    let told = Told::default();
    let executor = DagExecutor::new(functions(&told)).context_persistence(keeping(&disk));
    let result = executor.recover_run(&built(diamond())).await.unwrap().unwrap();
    if !result.success() || result.final_context.len() != 6 {
        return Err(format!("it ended otherwise: {result:?}"));
    }
    match told.begun().iter().find(|id| ended.contains(*id)) {
        Some(again) => Err(format!("{again} had ended, and runs again")),
        None => Ok(()),
    }
}

async fn campaign(options: PersistenceOptions) -> Result<usize, String> {
    let mut random = Prng::new(11);
    let mut images = 0;
    for _ in 0..10 {
        for moment in moments(options.clone()).await {
            for _ in 0..3 {
                check(&moment, &mut random).await?;
                images += 1;
            }
        }
    }
    Ok(images)
}

#[tokio::test]
async fn after_a_power_cut_at_any_flush_a_run_goes_on_where_it_was() {
    let images = campaign(options()).await.unwrap();
    assert!(images > 300, "{images}");
}

#[tokio::test]
async fn the_campaign_notices_steps_that_are_not_written() {
    let sabotaged = PersistenceOptions { sabotage_skip_journal: true, ..options() };
    let error = campaign(sabotaged).await.unwrap_err();
    assert!(error.contains("had begun"), "{error}");
}

#[tokio::test]
async fn a_chain_costs_one_flush_a_node_and_its_beginning_and_end() {
    let flushes = |ids: Vec<&'static str>| async move {
        let disk = SimDisk::new();
        let rare = PersistenceOptions { checkpoint_interval: 1_000, ..options() };
        let executor = DagExecutor::new(functions(&Told::default()))
            .context_persistence(open_with(&disk, rare));
        assert!(executor.run(&built(chain(&ids)), Context::new()).await.success());
        disk.flush_count()
    };
    let short = flushes(vec!["a", "b"]).await;
    let long = flushes(vec!["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]).await;
    assert_eq!(long - short, 10);
    // The journal, the first start, each end with what begins then, and the last checkpoint.
    assert_eq!(short, 5);
}
