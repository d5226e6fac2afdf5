//! What it takes to open a store where records wait, and to drain it.

use super::{Corpus, Peer};
use crate::child::figures_of;
use crate::engines::{drop_caches, folder, gigabytes};

/// For how long a store is filled, and drained, at most.
const AT_MOST_SECONDS: &str = "10";
/// Records stored at once, by those that can.
const AT_ONCE: &str = "256";

/// Figures of one round.
#[derive(Clone, Copy)]
pub struct Drained {
    pub records: f64,
    pub open_ms: f64,
    pub first_ms: f64,
    pub rate: f64,
    pub mb_per_second: f64,
    pub cpu_per_100k: f64,
    pub peak_mb: f64,
}

/// Fills a store, ends its process without closing it, and lets another one open and drain it.
///
/// # Errors
/// What a process says when it fails.
pub fn drain(peer: Peer, corpus: &Corpus) -> Result<Drained, String> {
    let dir = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let path = dir.path().to_string_lossy();
    let bytes = ((gigabytes(0.2) * 1e9) as u64).to_string();
    let records = corpus.path();
    let records = records.to_string_lossy();
    peer.run("load", &[&path, &records, &bytes, AT_MOST_SECONDS, AT_ONCE, "leave"])?;
    drop_caches();
    let says = peer.run("drain", &[&path, AT_MOST_SECONDS])?;
    let [opened, first, records, bytes, seconds, cpu, peak] = figures_of(&says);
    Ok(Drained {
        records,
        open_ms: opened * 1e3,
        first_ms: first * 1e3,
        rate: records / seconds,
        mb_per_second: bytes / 1e6 / seconds,
        cpu_per_100k: cpu / records * 100_000.0,
        peak_mb: peak / 1e6,
    })
}
