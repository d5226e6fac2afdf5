//! Results that are given again in an outage.

mod file_name;
mod index;
mod kept;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock, Disk, Open, OsDisk, SystemClock};
use serde_json::{Map, Value};

use self::file_name::{FileName, Found};
use self::index::Index;
use self::kept::Kept;
use super::fingerprint::{canonical, fingerprint};
use super::tool_options::ToolOptions;
use super::tool_result::ToolResult;

/// How much a [`ToolCache`] holds.
///
/// ```
/// use backhaul_runtime::tools::ToolCacheOptions;
/// let options = ToolCacheOptions::new().max_entries(100).max_bytes(1_000_000);
/// assert_eq!(options.max_entries, 100);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCacheOptions {
    /// The most results. 0: none is kept. Default: 1,000.
    pub max_entries: usize,
    /// The most bytes of all files. A larger result is not kept. Default: 10,000,000 (10 MB).
    pub max_bytes: u64,
}

impl ToolCacheOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self { max_entries: 1_000, max_bytes: 10_000_000 }
    }

    /// The most results.
    #[must_use]
    pub fn max_entries(self, max_entries: usize) -> Self {
        Self { max_entries, ..self }
    }

    /// The most bytes of all files.
    #[must_use]
    pub fn max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }
}

impl Default for ToolCacheOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a [`ToolCache`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCacheStatus {
    /// Results.
    pub entries: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Files that were damaged and are removed, since the cache was opened.
    pub damaged: u64,
}

/// A result that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedResult {
    /// What the tool gave.
    pub value: Value,
    /// How long ago. [`Duration::MAX`]: nobody knows, as the device was off meanwhile and its
    /// clock is not, or was not, set.
    pub age: Duration,
}

impl CachedResult {
    /// The result of a call in an outage, if a tool's options let this be one. An age that
    /// nobody knows is past every [`local_cache_ttl`](ToolOptions::local_cache_ttl).
    ///
    /// ```
    /// use backhaul_runtime::tools::{CachedResult, OfflinePolicy, ToolOptions};
    /// use serde_json::json;
    /// use std::time::Duration;
    ///
    /// let kept = CachedResult { value: json!(21.5), age: Duration::from_secs(90) };
    /// let options = ToolOptions::new()
    ///     .offline_policy(OfflinePolicy::LocalFallback)
    ///     .local_cache_ttl(Duration::from_secs(60));
    /// assert_eq!(kept.clone().for_outage(&options), None);
    /// let result = kept.for_outage(&options.stale_allowed()).unwrap();
    /// assert_eq!(result.metadata()["stale"], json!(true));
    /// ```
    pub fn for_outage(self, options: &ToolOptions) -> Option<ToolResult> {
        let Self { value, age } = self;
        let ttl = options.local_cache_ttl?;
        let is_stale = age > ttl || age == Duration::MAX || ttl.is_zero();
        (!is_stale || options.is_stale_allowed).then_some(ToolResult::Cached {
            value,
            age,
            is_stale,
        })
    }
}

/// Results of tools, kept as files in a folder of their own, to be given again in an outage
/// ([`OfflinePolicy::LocalFallback`](super::OfflinePolicy::LocalFallback)).
///
/// A result is that of the same tool and the same arguments, in whatever order their fields
/// stand. Neither can be read from the names of the files; these, and the folder where it is
/// new, are for their owner alone (0600, 0700). Past its bounds the cache drops what was stored
/// first. What a disk does wrong is logged, and no more: a tool does not fail for it.
///
/// A result that was stored survives the process, however it ends. As nothing is flushed, a
/// power cut may lose those of the last half minute, or leave a damaged file: that is noticed
/// when it is read, and removed. One process at a time uses a folder.
///
/// A clone is another handle on the same cache.
///
/// ```
/// use backhaul_runtime::tools::{ToolCache, ToolCacheOptions};
/// use serde_json::json;
///
/// let dir = tempfile::tempdir()?;
/// let cache = ToolCache::open(dir.path().join("tool_cache"), ToolCacheOptions::new())?;
/// let arguments = json!({"location": "Oslo"}).as_object().unwrap().clone();
/// cache.put("get_weather", &arguments, &json!({"celsius": -3}));
/// let kept = cache.get("get_weather", &arguments).unwrap();
/// assert_eq!(kept.value["celsius"], json!(-3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct ToolCache {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    options: ToolCacheOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: Index,
    damaged: u64,
}

impl ToolCache {
    /// A cache in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// Where the folder cannot be made or listed.
    pub fn open(dir: impl Into<PathBuf>, options: ToolCacheOptions) -> io::Result<Self> {
        Self::open_on(Arc::new(OsDisk), Arc::new(SystemClock::new()), dir, options)
    }

    /// The same with another disk and clock, as tests have them.
    ///
    /// # Errors
    /// As for [`open`](ToolCache::open).
    pub fn open_on(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: impl Into<PathBuf>,
        options: ToolCacheOptions,
    ) -> io::Result<Self> {
        let dir = dir.into();
        let state = Mutex::default();
        let shared = Shared { disk, clock, dir, options, state };
        shared.recover().map_err(|error| {
            let dir = shared.dir.display();
            io::Error::new(error.kind(), format!("the cache of tools in {dir}: {error}"))
        })?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps a result, in place of an earlier one of the same call. Failures are no results.
    pub fn put(&self, tool: &str, arguments: &Map<String, Value>, value: &Value) {
        let shared = &self.shared;
        let kept = Kept::now(key_of(tool, arguments), tool, value, &*shared.clock);
        if let Err(error) = shared.store(&kept) {
            let dir = shared.dir.display();
            tracing::warn!(tool, %dir, %error, "the result of a tool is not kept for an outage");
        }
    }

    /// The result of a call that was kept last. How old it may be, others
    /// [decide](CachedResult::for_outage).
    pub fn get(&self, tool: &str, arguments: &Map<String, Value>) -> Option<CachedResult> {
        let shared = &self.shared;
        let kept = shared.find(&key_of(tool, arguments))?;
        let age = kept.age(&shared.clock.now(), shared.clock.boot_id());
        Some(CachedResult { value: kept.value, age: age.unwrap_or(Duration::MAX) })
    }

    /// What it holds.
    pub fn status(&self) -> ToolCacheStatus {
        let state = self.shared.state();
        ToolCacheStatus {
            entries: state.index.entries(),
            bytes: state.index.bytes(),
            damaged: state.damaged,
        }
    }
}

impl fmt::Debug for ToolCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { dir, options, .. } = &*self.shared;
        f.debug_struct("ToolCache").field("dir", dir).field("options", options).finish()
    }
}

fn key_of(tool: &str, arguments: &Map<String, Value>) -> String {
    fingerprint(&[tool, &canonical(arguments)])
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what is in the folder, and tidies up after who was stopped.
    fn recover(&self) -> io::Result<()> {
        self.disk.create_dir_all(&self.dir)?;
        let mut state = self.state();
        for entry in self.disk.list(&self.dir)? {
            match Found::of(&entry) {
                Found::Whole(name) => {
                    if let Some(earlier) = state.index.insert(name, entry.len) {
                        self.remove(&earlier.whole());
                    }
                }
                Found::Partial => self.remove(&entry.name),
                Found::Foreign => {}
            }
        }
        self.evict(&mut state.index);
        Ok(())
    }

    fn store(&self, kept: &Kept) -> io::Result<()> {
        let bytes = kept.encode()?;
        let len = bytes.len() as u64;
        if len > self.options.max_bytes || self.options.max_entries == 0 {
            let most = self.options.max_bytes;
            tracing::debug!(tool = kept.tool, bytes = len, most, "a result is too large to keep");
            return Ok(());
        }
        let mut state = self.state();
        let name = state.index.next_name(kept.key.clone());
        self.write(&name, &bytes).inspect_err(|_| self.remove(&name.partial()))?;
        if let Some(earlier) = state.index.insert(name, len) {
            self.remove(&earlier.whole());
        }
        self.evict(&mut state.index);
        Ok(())
    }

    /// Whole or not at all: under its name it stands when it is written.
    fn write(&self, name: &FileName, bytes: &[u8]) -> io::Result<()> {
        let partial = self.dir.join(name.partial());
        self.disk.open(&partial, Open::CreateNew)?.write_all_at(bytes, 0)?;
        self.disk.rename(&partial, &self.dir.join(name.whole()))
    }

    fn find(&self, key: &str) -> Option<Kept> {
        let mut state = self.state();
        let name = state.index.find(key)?;
        let path = self.dir.join(name.whole());
        let bytes = match self.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Somebody has tidied up.
                state.index.remove(&name);
                return None;
            }
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "a kept result of a tool cannot be read");
                return None;
            }
        };
        let kept = Kept::decode(&bytes, key);
        if kept.is_none() {
            tracing::warn!(path = %path.display(), "a kept result is damaged, and is removed");
            state.damaged += 1;
            state.index.remove(&name);
            self.remove(&name.whole());
        }
        kept
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.disk.open(path, Open::Read)?;
        // What is larger than anything that is kept is damaged, wherever it ends.
        let len = file.len()?.min(self.options.max_bytes);
        file.read_exact_at(usize::try_from(len).unwrap_or(usize::MAX), 0)
    }

    /// Removes what was stored first, until the rest is within bounds.
    fn evict(&self, index: &mut Index) {
        let ToolCacheOptions { max_entries, max_bytes } = self.options;
        while index.entries() > max_entries || index.bytes() > max_bytes {
            let Some(name) = index.remove_oldest() else { return };
            self.remove(&name.whole());
        }
    }

    /// What cannot be removed is found again when the cache is opened.
    fn remove(&self, name: &str) {
        let path = self.dir.join(name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = path.display();
                tracing::warn!(%path, %error, "a kept result of a tool cannot be removed");
            }
            _ => {}
        }
    }
}
