//! What calls came to, by their keys: what is done is not done again.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Clock, Disk, Open, open_line, seal_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tools::IdempotencyKey;

/// Outcomes that are kept whatever their age: as many calls as wait at most by default.
const ALWAYS_KEPT: usize = 1_000;

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
}

impl Outcomes {
    pub(super) fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, dir: PathBuf) -> Self {
        Self { disk, clock, dir }
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
        self.disk.sync_dir(&self.dir)
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

    /// Removes what is older than it needs to be. The newest stay whatever their age, which a
    /// clock that was set may make anything.
    pub(super) fn remove_old(&self, keep: Duration) {
        let now = self.clock.now().wall;
        let entries = self.disk.list(&self.dir).unwrap_or_default();
        let paths = entries.iter().map(|entry| self.dir.join(&entry.name));
        let mut dated: Vec<_> =
            paths.filter_map(|path| Some((self.disk.modified(&path).ok()?, path))).collect();
        dated.sort_by(|left, right| right.cmp(left));
        for (at, path) in dated.into_iter().skip(ALWAYS_KEPT) {
            if now.since(at) > keep
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
