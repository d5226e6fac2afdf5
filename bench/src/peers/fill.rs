//! How fast records are stored, and what that takes of the disk, the processor and memory.

use std::path::Path;
use std::process::Command;

use super::{Corpus, Peer};
use crate::child::figures_of;
use crate::device;
use crate::engines::folder;
use crate::rounds::Rounds;

/// A peer, and who stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub peer: Peer,
    /// Threads, each with one record at a time.
    pub producers: usize,
    /// Records that one thread submits before it waits. Only ours can have more than one.
    pub ahead: usize,
}

/// Figures of one round.
#[derive(Clone, Copy)]
pub struct Filled {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub flushes: f64,
    pub block_bytes: f64,
    pub disk_bytes: f64,
    pub cpu_per_100k: f64,
    pub peak_mb: f64,
}

impl Case {
    pub const fn new(peer: Peer, producers: usize) -> Self {
        Self { peer, producers, ahead: 1 }
    }

    pub fn name(self) -> String {
        match self.ahead {
            1 => self.peer.title().to_owned(),
            ahead => format!("{}, {ahead} in flight", self.peer.title()),
        }
    }

    /// Lets a process store for so long, in an empty folder.
    ///
    /// # Errors
    /// What the process says when it fails.
    pub fn fill(self, seconds: f64, corpus: &Corpus) -> Result<Filled, String> {
        let dir = tempfile::tempdir_in(folder()).expect("a folder to measure in");
        let before = device::counters(dir.path());
        let says = self.peer.run(
            "fill",
            &[
                &dir.path().to_string_lossy(),
                &corpus.path().to_string_lossy(),
                &self.producers.to_string(),
                &self.ahead.to_string(),
                &seconds.to_string(),
            ],
        )?;
        let [records, seconds, p50_us, p99_us, cpu, peak] = figures_of(&says);
        // What is dirty goes to the device now, so that its bytes are counted here.
        let _ = Command::new("sync").arg("-f").arg(dir.path()).status();
        let after = device::counters(dir.path());
        Ok(Filled {
            rate: records / seconds,
            p50_us,
            p99_us,
            flushes: (after.flushes - before.flushes) as f64 / records,
            block_bytes: (after.bytes_written - before.bytes_written) as f64 / records,
            disk_bytes: disk_bytes(dir.path()) as f64 / records,
            cpu_per_100k: cpu / records * 100_000.0,
            peak_mb: peak / 1e6,
        })
    }
}

/// What a folder takes on disk.
pub fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let taken = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 })
    });
    taken.sum()
}

/// What was measured of each, in Markdown.
pub fn table(rounds: &Rounds<Case, Filled>, cases: &[Case]) -> String {
    let mut table = "| engine | producers | acknowledged records/s: median (low to high) \
                     | p50 / p99 us | flushes/record | block bytes/record | disk bytes/record \
                     | CPU s/100k | peak MB |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for case in cases.iter().filter(|case| rounds.all(**case).next().is_some()) {
        let of = |value: fn(&Filled) -> f64| rounds.column(*case, value);
        table += &format!(
            "| {} | {} | {:.0} | {:.0} / {:.0} | {:.3} | {:.0} | {:.0} | {:.2} | {:.1} |\n",
            case.name(),
            case.producers,
            of(|it| it.rate),
            of(|it| it.p50_us).median,
            of(|it| it.p99_us).median,
            of(|it| it.flushes).median,
            of(|it| it.block_bytes).median,
            of(|it| it.disk_bytes).median,
            of(|it| it.cpu_per_100k).low,
            of(|it| it.peak_mb).median,
        );
    }
    table
}
