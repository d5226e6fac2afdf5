//! Which calls of a disk fail, and how.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::errno;

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `Disk::create_dir_all`.
    CreateDir,
    /// `Disk::open` with `Open::Read` or `Open::Write`, and `Disk::modified`.
    Open,
    /// `Disk::open` with `Open::Create` or `Open::CreateNew`, whether or not the file is there.
    Create,
    /// `Disk::list`.
    List,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove`.
    Remove,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `Disk::sync_all`.
    SyncAll,
    /// `Disk::space`.
    Space,
    /// `DiskFile::read_at`.
    Read,
    /// `DiskFile::write_all_at`.
    Write,
    /// `DiskFile::len`.
    Len,
    /// `DiskFile::set_len`.
    SetLen,
    /// `DiskFile::flush`.
    Flush,
    /// `DiskFile::try_lock` and `try_lock_shared`.
    Lock,
}

impl Call {
    /// Every kind there is.
    pub const ALL: [Self; 15] = [
        Self::CreateDir,
        Self::Open,
        Self::Create,
        Self::List,
        Self::Rename,
        Self::Remove,
        Self::SyncDir,
        Self::SyncAll,
        Self::Space,
        Self::Read,
        Self::Write,
        Self::Len,
        Self::SetLen,
        Self::Flush,
        Self::Lock,
    ];

    /// Every kind that changes the disk: what a read-only or full disk refuses.
    pub const CHANGES: [Self; 9] = [
        Self::CreateDir,
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncDir,
        Self::SyncAll,
        Self::Write,
        Self::SetLen,
        Self::Flush,
    ];
}

/// One rule: these calls fail with this error number.
#[derive(Debug, Clone)]
pub struct Fault {
    calls: Vec<Call>,
    errno: i32,
    passing: u64,
    remaining: u64,
    path_part: String,
    short: bool,
}

impl Fault {
    /// Every call of one kind fails with `errno` (see [`crate::errno`]).
    pub fn new(call: Call, errno: i32) -> Self {
        Self::any(&[call], errno)
    }

    /// Every call of these kinds fails with `errno`.
    pub fn any(calls: &[Call], errno: i32) -> Self {
        Self {
            calls: calls.to_vec(),
            errno,
            passing: 0,
            remaining: u64::MAX,
            path_part: String::new(),
            short: false,
        }
    }

    /// The disk is full: nothing can be made or written, but files can be removed.
    pub fn full() -> Self {
        let calls = [Call::CreateDir, Call::Create, Call::Write, Call::SetLen];
        Self::any(&calls, errno::ENOSPC)
    }

    /// The file system has become read-only.
    pub fn read_only() -> Self {
        Self::any(&Call::CHANGES, errno::EROFS)
    }

    /// Lets the first `calls` matching calls pass.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.passing = calls;
        self
    }

    /// Fails only `calls` calls, then none any more.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.remaining = calls;
        self
    }

    /// Only calls whose path contains `part`. A file has the path under which it
    /// was opened; a rename matches by either path.
    #[must_use]
    pub fn on_path(mut self, part: impl Into<String>) -> Self {
        self.path_part = part.into();
        self
    }

    /// A write that fails has written the first half of its data.
    #[must_use]
    pub fn short(mut self) -> Self {
        self.short = true;
        self
    }

    fn matches(&self, call: Call, paths: &[&Path]) -> bool {
        self.calls.contains(&call)
            && paths.iter().any(|path| path.to_string_lossy().contains(&self.path_part))
    }
}

/// The rules of a faulty disk, and its counts. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Fault>,
    calls: BTreeMap<Call, u64>,
    failures: BTreeMap<Call, u64>,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) errno: i32,
    pub(crate) short: bool,
}

impl Faults {
    /// No rule at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule. Of several that match a call the oldest decides; those before
    /// it that let the call pass count it.
    pub fn add(&self, fault: Fault) {
        self.state().rules.push(fault);
    }

    /// Takes all rules away: the disk is healthy again. Counts stay.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// Calls of one kind so far, failed ones included.
    pub fn calls(&self, call: Call) -> u64 {
        self.state().calls.get(&call).copied().unwrap_or(0)
    }

    /// Calls of one kind that a rule has failed.
    pub fn failures(&self, call: Call) -> u64 {
        self.state().failures.get(&call).copied().unwrap_or(0)
    }

    /// Counts a call, and decides whether it fails.
    pub(crate) fn decide(&self, call: Call, paths: &[&Path]) -> Option<Failure> {
        let mut state = self.state();
        *state.calls.entry(call).or_default() += 1;
        let mut failure = None;
        for rule in state.rules.iter_mut().filter(|rule| rule.matches(call, paths)) {
            if rule.passing > 0 {
                rule.passing -= 1;
            } else if rule.remaining > 0 {
                rule.remaining -= u64::from(rule.remaining < u64::MAX);
                failure = Some(Failure { errno: rule.errno, short: rule.short });
                break;
            }
        }
        if failure.is_some() {
            *state.failures.entry(call).or_default() += 1;
        }
        failure
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
