//! One flipped bit, or a file cut short, at many places of a closed store: what is lost, and
//! what is delivered damaged.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::reader::{After, Answer, End, Reader};
use super::speed::{one_of_each_engine, print_failures};
use super::{Corpus, Peer};
use crate::plot::{Panel, Plot};
use crate::report::Spread;

/// What a store holds, in bytes.
const HELD: usize = 1 << 20;
/// Processes that read damaged stores of one peer: some wait most of the time.
const READERS: u64 = 4;

#[derive(Clone, Copy)]
enum Damage {
    Flip,
    Cut,
}

pub fn measure(places: u64) {
    let corpus = Corpus::of_bytes(HELD);
    let (peers, mut failures) = Peer::present();
    let stores: Vec<(Peer, Store)> = one_of_each_engine(&peers)
        .into_iter()
        .filter_map(|peer| match Store::new(peer, &corpus) {
            Ok(store) => Some((peer, store)),
            Err(why) => {
                failures.push((peer, why));
                None
            }
        })
        .collect();
    println!("{} records of {} bytes in all.\n", corpus.records.len(), corpus.bytes());
    let mut panels = Vec::new();
    for damage in [Damage::Flip, Damage::Cut] {
        println!("### {}\n", damage.title());
        println!(
            "| engine | bytes on disk | places with a loss | records lost: mean, worst \
             | delivered damaged | nothing given but an error | an error midway | crashed \
             | hung |\n|---|---|---|---|---|---|---|---|---|"
        );
        // All at once: nothing here is a matter of time.
        let tallies: Vec<Tally> = std::thread::scope(|scope| {
            let tally = |(peer, store): &(Peer, Store)| store.tally(*peer, damage, places, &corpus);
            let threads: Vec<_> = stores.iter().map(|it| scope.spawn(move || tally(it))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a tally")).collect()
        });
        for ((peer, store), tally) in stores.iter().zip(&tallies) {
            println!("| {} | {} | {tally} |", peer.title(), store.len());
        }
        println!();
        let bars = tallies.iter().map(|tally| Some(tally.spread())).collect();
        panels.push(Panel { title: damage.title().to_owned(), bars });
    }
    let plot = Plot {
        name: "damage",
        title: format!("Of {} records, lost: mean and worst", corpus.records.len()),
        rows: stores.iter().map(|(peer, _)| peer.row_of_plot()).collect(),
        panels,
        from: 0.01,
    };
    println!("{}", plot.write());
    print_failures(&failures);
}

impl Damage {
    fn title(self) -> &'static str {
        match self {
            Damage::Flip => "One bit flipped",
            Damage::Cut => "One file cut short",
        }
    }
}

/// The files of a closed store.
struct Store(Vec<StoreFile>);

struct StoreFile {
    /// In the store's folder.
    path: PathBuf,
    /// Without the zeros behind them, which are only prepared.
    bytes: Vec<u8>,
    len: u64,
}

impl Store {
    /// Stores the corpus.
    ///
    /// # Errors
    /// What the peer says when it fails, or does not give all of it back.
    fn new(peer: Peer, corpus: &Corpus) -> Result<Self, String> {
        let dir = scratch();
        let (path, records) = (dir.path().to_string_lossy(), corpus.path());
        let wanted = corpus.bytes().to_string();
        // One by one, as records come.
        peer.run("load", &[&path, &records.to_string_lossy(), &wanted, "60", "1", "close"])?;
        let mut files = Vec::new();
        collect(dir.path(), Path::new(""), &mut files);
        let store = Self(files);
        let mut tally = Tally::default();
        tally.add(&Reader::new(peer, After::Keep).read(store.copy(None).path()), corpus);
        if tally.lost > 0 || tally.damaged > 0 {
            return Err(format!("what was stored is not given back: {tally}"));
        }
        Ok(store)
    }

    fn len(&self) -> usize {
        self.0.iter().map(|file| file.bytes.len()).sum()
    }

    fn tally(&self, peer: Peer, damage: Damage, places: u64, corpus: &Corpus) -> Tally {
        let tally = std::thread::scope(|scope| {
            let share = |first| self.tally_share(peer, damage, places, first, corpus);
            let threads: Vec<_> =
                (0..READERS).map(|first| scope.spawn(move || share(first))).collect();
            let tallies = threads.into_iter().map(|thread| thread.join().expect("a tally"));
            tallies.fold(Tally::default(), Tally::with)
        });
        eprintln!("{}: {}", damage.title(), peer.title());
        tally
    }

    /// The places of one reader, from its first on.
    fn tally_share(
        &self,
        peer: Peer,
        damage: Damage,
        places: u64,
        first: u64,
        corpus: &Corpus,
    ) -> Tally {
        let (mut tally, mut reader) = (Tally::default(), Reader::new(peer, After::Keep));
        for place in (first..places).step_by(READERS as usize) {
            let at = (self.len() as u64 * (2 * place + 1) / (2 * places)) as usize;
            let copy = self.copy(Some((damage, at, place)));
            tally.add(&reader.read(copy.path()), corpus);
        }
        tally
    }

    /// A copy with damage at a byte of all, where the number of the place says which bit.
    fn copy(&self, damage: Option<(Damage, usize, u64)>) -> TempDir {
        let dir = scratch();
        let mut before = 0;
        for file in &self.0 {
            let here = damage.and_then(|(damage, at, place)| {
                let at = at.checked_sub(before)?;
                (at < file.bytes.len()).then_some((damage, at, place))
            });
            file.write(dir.path(), here);
            before += file.bytes.len();
        }
        dir
    }
}

impl StoreFile {
    fn write(&self, dir: &Path, damage: Option<(Damage, usize, u64)>) {
        let path = dir.join(&self.path);
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
        let mut file = File::create(path).expect("a file");
        let mut bytes = self.bytes.clone();
        let mut len = self.len;
        match damage {
            Some((Damage::Flip, at, place)) => bytes[at] ^= 1 << (place % 8),
            Some((Damage::Cut, at, _)) => {
                bytes.truncate(at);
                len = at as u64;
            }
            None => {}
        }
        file.write_all(&bytes).expect("written");
        file.set_len(len).expect("as long");
    }
}

fn collect(dir: &Path, below: &Path, files: &mut Vec<StoreFile>) {
    let entries = std::fs::read_dir(dir.join(below)).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(name);
        if dir.join(&path).is_dir() {
            collect(dir, &path, files);
            continue;
        }
        let mut bytes = std::fs::read(dir.join(&path)).expect("a file");
        let len = bytes.len() as u64;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        files.push(StoreFile { path, bytes, len });
    }
}

/// In memory, where the machine has that: how fast a disk is does not matter here.
fn scratch() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir_in(crate::engines::folder())).expect("a folder")
}

/// What became of the records at all places.
#[derive(Default)]
struct Tally {
    places: u64,
    with_loss: u64,
    lost: u64,
    worst: u64,
    damaged: u64,
    refused: u64,
    midway: u64,
    crashed: u64,
    hung: u64,
}

impl Tally {
    fn add(&mut self, answer: &Answer, corpus: &Corpus) {
        let stored: HashSet<&[u8]> = corpus.records.iter().map(Vec::as_slice).collect();
        let given: HashSet<&[u8]> = answer.records.iter().map(Vec::as_slice).collect();
        let intact = given.intersection(&stored).count();
        let lost = (stored.len() - intact) as u64;
        self.places += 1;
        self.with_loss += u64::from(lost > 0);
        self.lost += lost;
        self.worst = self.worst.max(lost);
        self.damaged += (given.len() - intact) as u64;
        match answer.end {
            End::Done => {}
            End::Error(_) if given.is_empty() => self.refused += 1,
            End::Error(_) => self.midway += 1,
            End::Crashed => self.crashed += 1,
            End::Hung => self.hung += 1,
        }
    }
}

impl Tally {
    fn with(self, other: Self) -> Self {
        Self {
            places: self.places + other.places,
            with_loss: self.with_loss + other.with_loss,
            lost: self.lost + other.lost,
            worst: self.worst.max(other.worst),
            damaged: self.damaged + other.damaged,
            refused: self.refused + other.refused,
            midway: self.midway + other.midway,
            crashed: self.crashed + other.crashed,
            hung: self.hung + other.hung,
        }
    }

    fn mean(&self) -> f64 {
        self.lost as f64 / self.places as f64
    }

    /// From the mean to the worst.
    fn spread(&self) -> Spread {
        Spread { low: self.mean(), median: self.mean(), high: self.worst as f64 }
    }
}

/// The cells of a row.
impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mean = self.mean();
        let Self { with_loss, worst, damaged, refused, midway, crashed, hung, .. } = self;
        write!(
            f,
            "{with_loss} | {mean:.2}, {worst} | {damaged} | {refused} | {midway} | {crashed} | {hung}"
        )
    }
}
