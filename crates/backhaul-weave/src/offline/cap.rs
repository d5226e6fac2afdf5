//! One cap on all that lies in the folder.
//!
//! Each open spool counts what is in its own folder, and reserves room before it grows
//! ([`SharedCap`]). What lies beside them, such as spools of projects that nobody uses at the
//! moment, is measured from time to time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backhaul_store::{Disk, SharedCap};

use super::OfflineTraceServer;
use super::{Cleaned, names};
use crate::error::TraceError;
use crate::kind::Kind;

/// How often what no open spool counts is measured.
const MEASURE: Duration = Duration::from_secs(10);
/// How soon after room was looked for in vain it is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of the cap: what is kept free of delivered data, so that it is not looked for each time.
const FREE_SHARE: u64 = 8;
/// What goes first, by age. Files go whole, so that finer steps would gain little.
const AGES: [Duration; 7] = [
    Duration::from_secs(30 * 86_400),
    Duration::from_secs(7 * 86_400),
    Duration::from_secs(86_400),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(3_600),
    Duration::from_secs(600),
    Duration::ZERO,
];

/// When this process looked last, in time since boot.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    measured: Option<Duration>,
    in_vain: Option<Duration>,
}

impl OfflineTraceServer {
    /// Makes room for `bytes` more, if there is a cap, by removing delivered data, that of
    /// longest ago first, whichever project's it is. What cannot be removed, because another
    /// process delivers it, stays.
    pub(super) fn make_room(&self, bytes: u64) -> Result<Cleaned, TraceError> {
        let Some(cap) = &self.inner.shared.cap else { return Ok(Cleaned::default()) };
        let now = self.inner.shared.clock.now().since_boot;
        let is_due = |last: Option<Duration>, period: Duration| {
            last.is_none_or(|last| now.saturating_sub(last) >= period)
        };
        let mut times = self.inner.looks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_due(times.measured, MEASURE) {
            self.measure(cap)?;
            times.measured = Some(now);
        }
        if has_room(cap, bytes) || !is_due(times.in_vain, LOOK_AGAIN) {
            return Ok(Cleaned::default());
        }
        let cleaned = self.clean_until(&|| has_room(cap, bytes))?;
        times.in_vain = (!has_room(cap, bytes)).then_some(now);
        Ok(cleaned)
    }

    fn clean_until(&self, is_enough: &dyn Fn() -> bool) -> Result<Cleaned, TraceError> {
        let mut cleaned = Cleaned::default();
        let projects = self.projects()?;
        for age in AGES {
            for project in &projects {
                for kind in Kind::ALL {
                    if is_enough() {
                        return Ok(cleaned);
                    }
                    let store = self.project_for_a_moment(project);
                    if let Err(error) = store.clean(kind, age, &mut cleaned) {
                        tracing::debug!(%project, %kind, %error, "delivered data stays");
                    }
                }
            }
        }
        Ok(cleaned)
    }

    /// Counts what no spool of this process counts: each folder by itself that one may open.
    fn measure(&self, cap: &SharedCap) -> Result<(), TraceError> {
        let shared = &self.inner.shared;
        let mut counted = BTreeSet::new();
        for project in self.projects()? {
            let store = self.project_for_a_moment(&project);
            for kind in Kind::ALL {
                let folder = store.folder.join(kind.name());
                if !store.has_open(kind) {
                    cap.set(&folder, bytes_below(&*shared.disk, &folder, &BTreeSet::new())?);
                }
                counted.insert(folder);
            }
        }
        cap.set(&shared.dir, bytes_below(&*shared.disk, &shared.dir, &counted)?);
        Ok(())
    }
}

fn has_room(cap: &SharedCap, bytes: u64) -> bool {
    let wanted = bytes.saturating_add(cap.max_bytes() / FREE_SHARE);
    cap.used_bytes().saturating_add(wanted) <= cap.max_bytes()
}

fn bytes_below(
    disk: &dyn Disk,
    dir: &Path,
    left_out: &BTreeSet<PathBuf>,
) -> Result<u64, TraceError> {
    /// Files take whole blocks.
    const BLOCK: u64 = 4096;
    let mut bytes = 0;
    for entry in names::list(disk, dir)? {
        let path = dir.join(&entry.name);
        bytes += match entry.is_dir {
            true if left_out.contains(&path) => 0,
            true => bytes_below(disk, &path, left_out)?,
            false => entry.len.next_multiple_of(BLOCK),
        };
    }
    Ok(bytes)
}
