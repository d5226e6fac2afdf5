//! What calls came to, by their keys: what is done is not done again.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backhaul_store::{Clock, Disk, Open, open_line, seal_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tools::IdempotencyKey;

/// Outcomes that are kept whatever their age: as many calls as wait at most by default.
const ALWAYS_KEPT: usize = 1_000;
/// Outcomes that come between two looks at what is too old.
const BETWEEN_LOOKS: u64 = 100;
/// What a file takes of most file systems, at the least.
const BLOCK: u64 = 4096;

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The tool.
    pub tool: String,
    /// What the effect is known by.
    pub key: IdempotencyKey,
    /// What it gave. Null where it was abandoned.
    pub value: Value,
    /// Why it is never done again, though nobody knows whether it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<String>,
    /// When, by the wall clock: as of RFC 3339.
    pub at: String,
}

/// The folder of outcomes.
#[derive(Debug)]
pub(super) struct Outcomes {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    keep: Keep,
    put: AtomicU64,
}

/// How much is kept beyond the newest: for this time, and of these bytes on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) time: Duration,
    pub(super) bytes: Option<u64>,
}

impl Outcomes {
    /// The outcomes in a folder, without those that are too old.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        keep: Keep,
    ) -> Self {
        let outcomes = Self { disk, clock, dir, keep, put: AtomicU64::new(0) };
        outcomes.remove_old();
        outcomes
    }

    /// Stores what a call gave, durably.
    pub(super) fn put(&self, tool: &str, key: &IdempotencyKey, value: &Value) -> io::Result<()> {
        self.store(&self.outcome(tool, key, value.clone(), None))
    }

    /// Stores that a call is never done again, durably.
    pub(super) fn abandon(&self, tool: &str, key: &IdempotencyKey, why: &str) -> io::Result<()> {
        self.store(&self.outcome(tool, key, Value::Null, Some(why.to_owned())))
    }

    fn outcome(
        &self,
        tool: &str,
        key: &IdempotencyKey,
        value: Value,
        abandoned: Option<String>,
    ) -> Outcome {
        let at = self.clock.now().wall.to_string();
        Outcome { tool: tool.to_owned(), key: key.clone(), value, abandoned, at }
    }

    fn store(&self, outcome: &Outcome) -> io::Result<()> {
        let bytes = seal_line(serde_json::to_vec(outcome).map_err(io::Error::other)?);
        self.disk.create_dir_durable(&self.dir)?;
        let path = self.path(&outcome.key);
        let temporary = path.with_extension("json.tmp");
        let file = self.disk.open(&temporary, Open::Create)?;
        file.set_len(0)?;
        file.write_all_at(&bytes, 0)?;
        file.flush()?;
        self.disk.rename(&temporary, &path)?;
        self.disk.sync_dir(&self.dir)?;
        if self.put.fetch_add(1, Ordering::Relaxed) % BETWEEN_LOOKS == BETWEEN_LOOKS - 1 {
            self.remove_old();
        }
        Ok(())
    }

    /// What a call came to. One that is damaged is as good as none.
    pub(super) fn get(&self, key: &IdempotencyKey) -> io::Result<Option<Outcome>> {
        let file = match self.disk.open(&self.path(key), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let object = open_line(&file.read_exact_at(len, 0)?);
        let outcome = object.and_then(|object| serde_json::from_str::<Outcome>(&object).ok());
        if outcome.is_none() {
            tracing::error!(%key, "the outcome of a call is damaged: the call counts as unknown");
        }
        Ok(outcome.filter(|outcome| outcome.key == *key))
    }

    /// Removes what is older than it needs to be, or more. The newest stay whatever their age,
    /// which a clock that was set may make anything.
    fn remove_old(&self) {
        let now = self.clock.now().wall;
        let entries = self.disk.list(&self.dir).unwrap_or_default();
        let mut dated: Vec<_> = entries
            .into_iter()
            .filter_map(|entry| {
                let path = self.dir.join(&entry.name);
                let on_disk = entry.len.next_multiple_of(BLOCK);
                Some((self.disk.modified(&path).ok()?, path, on_disk))
            })
            .collect();
        dated.sort_by(|left, right| right.cmp(left));
        let mut kept = 0;
        for (number, (at, path, on_disk)) in dated.into_iter().enumerate() {
            kept += on_disk;
            let is_too_much = self.keep.bytes.is_some_and(|most| kept > most);
            let is_due = is_too_much || now.since(at) > self.keep.time;
            if number >= ALWAYS_KEPT
                && is_due
                && let Err(error) = self.disk.remove(&path)
            {
                tracing::warn!(path = %path.display(), %error, "an old outcome stays");
            }
        }
    }

    /// Keys are any text; names of files are not.
    fn path(&self, key: &IdempotencyKey) -> PathBuf {
        let mut name = String::new();
        for byte in Sha256::digest(key.as_str().as_bytes()).iter().take(16) {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        Path::new(&self.dir).join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use backhaul_store::{OsDisk, SystemClock};
    use backhaul_testkit::ManualClock;
    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// On a real disk, whose files have times.
    fn open(dir: &Path, clock: &ManualClock, keep: Keep) -> Outcomes {
        Outcomes::open(Arc::new(OsDisk), Arc::new(clock.clone()), dir.to_owned(), keep)
    }

    fn clock() -> ManualClock {
        ManualClock::at(SystemClock::new().now().wall)
    }

    fn put(outcomes: &Outcomes, number: usize) {
        outcomes.put("act", &IdempotencyKey::chosen(number.to_string()), &json!(number)).unwrap();
    }

    fn count(dir: &Path) -> usize {
        dir.read_dir().unwrap().count()
    }

    #[test]
    fn a_process_that_lives_long_keeps_no_more_than_a_share_of_the_cap() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep { time: 7 * DAY, bytes: Some(1_200 * BLOCK) };
        let outcomes = open(dir.path(), &clock(), keep);
        (0..1_500).for_each(|number| put(&outcomes, number));
        assert_eq!(count(dir.path()), 1_200);
        let kept = |number: usize| outcomes.get(&IdempotencyKey::chosen(number.to_string()));
        assert_eq!(kept(0).unwrap(), None);
        assert_eq!(kept(1_499).unwrap().unwrap().value, json!(1_499));
    }

    #[test]
    fn what_is_old_goes_but_for_the_newest() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
        let keep = Keep { time: 7 * DAY, bytes: None };
        let outcomes = open(dir.path(), &clock, keep);
        (0..1_050).for_each(|number| put(&outcomes, number));
        clock.advance(6 * DAY);
        drop(open(dir.path(), &clock, keep));
        assert_eq!(count(dir.path()), 1_050);
        clock.advance(2 * DAY);
        drop(open(dir.path(), &clock, keep));
        assert_eq!(count(dir.path()), 1_000);
    }
}
