//! What it costs to choose a batch where many records wait.
//!
//! `backhaul-bench choose 1000000` fills a spool, and takes batches of 100 from it: in
//! order, and as three rules have it.

use std::sync::Arc;
use std::time::Instant;

use backhaul_store::{Batch, Chooser, Flush, Lane, Limits, Options, Record, Settled, Spool, State};
use backhaul_sync::SyncPrioritizer;

use crate::device;
use crate::engines::folder;
use crate::peers::options;
use crate::records::record;

const BATCHES: usize = 200;
const LIMITS: Limits = Limits { records: 100, bytes: 1_000_000, down_to: Lane::Bulk };

pub fn measure(records: u64) {
    let folder = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let options = Options { flush: Flush::Never, ..options() };
    {
        let spool = Spool::open(folder.path(), options.clone()).expect("a spool");
        for start in (0..records).step_by(256) {
            let tickets: Vec<_> = (start..(start + 256).min(records))
                .map(|number| spool.submit(Record::new("call", record(number))).expect("taken"))
                .collect();
            for ticket in tickets {
                ticket.wait().expect("stored");
            }
        }
    }
    println!("### {BATCHES} batches of 100 out of {records} waiting records\n");
    let chooser: Arc<dyn Chooser> = Arc::new(rules());
    let spool = Spool::open(folder.path(), options).expect("a spool");
    let before = device::peak_memory();
    time("in order, without rules", &spool, || spool.take(&LIMITS).expect("readable"));
    time("chosen by three rules", &spool, || {
        spool.take_chosen(&LIMITS, &chooser).expect("readable")
    });
    let grown = device::peak_memory().saturating_sub(before);
    println!(
        "- peak memory {:.1} MB, {:.1} MB of it since opening",
        device::peak_memory() as f64 / 1e6,
        grown as f64 / 1e6
    );
}

/// The rules of CEMAF's document, on what is read from each record's JSON.
fn rules() -> SyncPrioritizer {
    SyncPrioritizer::builder()
        .rule("priority", |r| r.metadata.get("tokens").and_then(|it| it.as_f64()).unwrap_or(0.0))
        .rule("recency", |r| 50.0 / r.age_hours.max(1.0))
        .rule("size", |r| if r.size_kb < 1.0 { 10.0 } else { 0.0 })
        .build()
        .expect("rules")
        .describing(Arc::new(|record, entry| {
            let body: serde_json::Value = serde_json::from_slice(&record.body).expect("JSON");
            entry.metadata = body["summary"].as_object().cloned().unwrap_or_default();
        }))
}

fn time(name: &str, spool: &Spool, take: impl Fn() -> Option<Batch>) {
    let mut times = Vec::new();
    for _ in 0..BATCHES {
        let began = Instant::now();
        let Some(batch) = take() else { break };
        times.push(began.elapsed().as_secs_f64() * 1e3);
        let settled: Vec<_> = batch
            .records
            .iter()
            .map(|offer| (offer.record.id.position, Settled::new(State::Delivered)))
            .collect();
        spool.settle(&settled).expect("settled");
    }
    let first = times.first().copied().unwrap_or(f64::NAN);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "- {name}: first {first:.2} ms, median {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
