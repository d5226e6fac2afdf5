//! The files of a folder of contexts: what they are called, and which there are.
//!
//! `0000000042_run_001.json` is the checkpoint of number 42, of the run `run_001`;
//! `0000000042_run_001.jsonl` is the journal of what that run did from then on, and
//! `0000000042_run_001.ended.jsonl` that of a run which has ended. Numbers go up over all runs.
//! Any other `.json` was written by another program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use backhaul_store::{Disk, Entry, Open};
use sha2::{Digest, Sha256};

/// Where damaged files are kept.
const QUARANTINE: &str = "quarantine";
const DIGITS: usize = 10;
/// Longest part of a run's id in a name: names of files have 255 bytes.
const LONGEST: usize = 100;

/// The number of a checkpoint.
pub(super) type Number = u64;

/// A run's name in names of files: its id, where that can be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunName(String);

impl RunName {
    pub(super) fn of(run_id: &str) -> Self {
        let is_fine = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let name: String = run_id
            .chars()
            .map(|letter| if is_fine(letter) { letter } else { '-' })
            .take(LONGEST)
            .collect();
        let is_id = name == run_id && !name.is_empty() && !name.ends_with(".ended");
        if is_id {
            return Self(name);
        }
        // Ids that look alike then are told apart by this.
        let digest = Sha256::digest(run_id.as_bytes());
        let mut tail = String::new();
        for byte in digest.iter().take(4) {
            // Writing to a string cannot fail.
            let _ = write!(tail, "{byte:02x}");
        }
        Self(format!("{name}~{tail}"))
    }
}

/// What there is of one run, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct FilesOfRun {
    pub(super) checkpoints: Vec<Number>,
    pub(super) journals: Vec<Number>,
    /// Journals of a run that has ended.
    pub(super) ended: Vec<Number>,
    /// Checkpoints of which the writing was interrupted.
    temporary: Vec<Number>,
}

impl FilesOfRun {
    /// The highest number.
    pub(super) fn newest(&self) -> Number {
        let last = [self.checkpoints.last(), self.journals.last(), self.ended.last()];
        last.into_iter().flatten().copied().max().unwrap_or(0)
    }

    /// Whether it goes on, or was interrupted.
    pub(super) fn is_open(&self) -> bool {
        !self.journals.is_empty()
    }

    /// The paths of all of them.
    pub(super) fn paths(&self, dir: &Path, run: &RunName) -> Vec<PathBuf> {
        let all = [
            (&self.checkpoints, Kind::Checkpoint),
            (&self.journals, Kind::Journal),
            (&self.ended, Kind::Ended),
            (&self.temporary, Kind::Temporary),
        ];
        let numbers =
            all.into_iter().flat_map(|(numbers, kind)| numbers.iter().map(move |n| (*n, kind)));
        numbers.map(|(number, kind)| path(dir, number, run, kind)).collect()
    }
}

/// What there is in a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) runs: BTreeMap<RunName, FilesOfRun>,
    /// Names of checkpoints that other programs wrote.
    pub(super) foreign: Vec<String>,
    pub(super) last: Number,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Checkpoint,
    Journal,
    Ended,
    Temporary,
}

impl Kind {
    /// The longer ones first.
    const ALL: [(Self, &str); 4] = [
        (Self::Ended, ".ended.jsonl"),
        (Self::Journal, ".jsonl"),
        (Self::Temporary, ".json.tmp"),
        (Self::Checkpoint, ".json"),
    ];

    fn suffix(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, suffix)| suffix)
    }
}

/// The path of a file.
pub(super) fn path(dir: &Path, number: Number, run: &RunName, kind: Kind) -> PathBuf {
    dir.join(format!("{number:0DIGITS$}_{}{}", run.0, kind.suffix()))
}

fn parse(name: &str) -> Option<(Number, RunName, Kind)> {
    let (number, rest) = name.split_once('_')?;
    let is_number = number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|_| is_number)?;
    let mut kinds = Kind::ALL.into_iter();
    let (run, kind) = kinds.find_map(|(kind, suffix)| Some((rest.strip_suffix(suffix)?, kind)))?;
    Some((number, RunName(run.to_owned()), kind))
}

/// Looks at a folder; one that is not there holds nothing.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Listing> {
    let entries = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries?,
    };
    let mut listing = Listing::default();
    for Entry { name, is_dir, .. } in entries {
        match parse(&name).filter(|_| !is_dir) {
            Some((number, run, kind)) => {
                let files = listing.runs.entry(run).or_default();
                let numbers = match kind {
                    Kind::Checkpoint => &mut files.checkpoints,
                    Kind::Journal => &mut files.journals,
                    Kind::Ended => &mut files.ended,
                    Kind::Temporary => &mut files.temporary,
                };
                numbers.push(number);
                listing.last = listing.last.max(number);
            }
            None if !is_dir && name.ends_with(".json") => listing.foreign.push(name),
            None => {}
        }
    }
    for files in listing.runs.values_mut() {
        files.checkpoints.sort_unstable();
        files.journals.sort_unstable();
        files.ended.sort_unstable();
    }
    listing.foreign.sort();
    Ok(listing)
}

/// The bytes of a file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    file.read_exact_at(len, 0)
}

/// Writes a file of which there is all or nothing. Its name is durable once the folder was
/// synced.
pub(super) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    let written = fill(disk, &temporary, bytes).and_then(|()| disk.rename(&temporary, path));
    // A disk that is full is not filled more by what did not fit.
    written.inspect_err(|_| _ = disk.remove(&temporary))
}

fn fill(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, Open::Create)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.flush()
}

/// Puts a damaged file aside, where a person finds it.
pub(super) fn quarantine(disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let aside = dir.join(QUARANTINE);
    disk.create_dir_all(&aside)?;
    let to = aside.join(path.file_name().unwrap_or_default());
    disk.rename(path, &to)?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_runs_where_they_can_be_and_never_meet() {
        assert_eq!(RunName::of("run_001").0, "run_001");
        let odd = ["run_2024-01-15T10:30:00.5+00:00", "a/b", "a:b", "a-b", "..", "", "~", "é"];
        let mut names: Vec<_> = odd.iter().map(|id| RunName::of(id).0).collect();
        assert!(names.iter().all(|name| !name.contains(['/', ':'])), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), odd.len());
        let long = RunName::of(&"x".repeat(500));
        assert!(path(Path::new(""), 1, &long, Kind::Ended).as_os_str().len() < 255);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for id in ["a_b.json", "a.ended", "run"] {
            let run = RunName::of(id);
            for (kind, _) in Kind::ALL {
                let name = path(Path::new(""), 42, &run, kind);
                let parsed = parse(&name.to_string_lossy());
                assert_eq!(parsed, Some((42, run.clone(), kind)));
            }
        }
        assert_eq!(parse("run_001.json"), None);
        assert_eq!(parse("42_run_001.json"), None);
    }
}
