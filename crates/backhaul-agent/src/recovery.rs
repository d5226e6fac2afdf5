//! Runs that a crash cut short: from their journals into the queue, exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use backhaul_store::{Disk, DiskFile, FileRoom, Lane, Open};

use crate::journal::{self, RUNNING, SUFFIX, Told, UNFINISHED, Unreadable};
use crate::queue::{ABRIDGED, OfflineQueue, RUN_ID};
use crate::queue_error::QueueError;
use crate::run_record::RunRecord;

const QUARANTINE: &str = "quarantine";

/// A journal whose owner is gone, locked by us.
struct Orphan {
    path: PathBuf,
    /// Keeps others from taking it over.
    _lock: Box<dyn DiskFile>,
    bytes: Vec<u8>,
    /// What it takes of the queue's cap.
    room: FileRoom,
}

/// A file that is to become an [`Orphan`].
struct Found {
    path: PathBuf,
    lock: Box<dyn DiskFile>,
    bytes: Vec<u8>,
}

/// Makes the folder of the journals, durably, so that each of them need not.
pub(crate) fn make_folder(queue: &OfflineQueue) {
    let (disk, root) = (queue.spool().disk(), queue.spool().dir());
    let made = disk.create_dir_all(&root.join(RUNNING)).and_then(|()| disk.sync_dir(root));
    if let Err(error) = made {
        // Each journal tries again.
        tracing::error!(%error, path = %root.display(), "cannot make the folder of the journals");
    }
}

/// Takes over every journal whose owner is gone. What the disk does not allow now is
/// left for the next time. How many runs went into the queue as interrupted.
pub(crate) fn recover(queue: &OfflineQueue) -> u64 {
    let mut told = Vec::new();
    let orphans = match orphans(queue) {
        Ok(orphans) => orphans,
        Err(error) => {
            put_off(queue.spool().dir(), &error);
            return 0;
        }
    };
    for orphan in orphans {
        match journal::read(&orphan.bytes) {
            Ok(run) => told.push((orphan, run)),
            Err(Unreadable::Newer) => {
                tracing::warn!(path = %orphan.path.display(), "a newer version wrote this journal");
            }
            Err(Unreadable::Damaged(reason)) => set_aside(queue, orphan, &reason),
        }
    }
    if told.is_empty() {
        return 0;
    }
    let stored = match stored_runs(queue, &told) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%error, "interrupted runs are left for the next time");
            return 0;
        }
    };
    let mut interrupted = 0;
    for (orphan, run) in told {
        let path = orphan.path.clone();
        match take_over(queue, orphan, &run, &stored) {
            Ok(is_queued) => interrupted += u64::from(is_queued && !run.has_ended),
            Err(error) => put_off(&path, &error),
        }
    }
    interrupted
}

fn put_off(path: &Path, error: &dyn std::fmt::Display) {
    tracing::warn!(path = %path.display(), %error, "an interrupted run is left for the next time");
}

/// Whether the run went into the queue: it was not there yet.
fn take_over(
    queue: &OfflineQueue,
    orphan: Orphan,
    run: &Told,
    stored: &BTreeMap<String, Vec<Fingerprint>>,
) -> Result<bool, QueueError> {
    let of_journal = Fingerprint::of(&run.record);
    let candidates = stored.get(&run.record.run_id);
    let is_stored = candidates
        .is_some_and(|candidates| candidates.iter().any(|stored| stored.covers(&of_journal)));
    if !is_stored {
        queue.store(&run.record)?;
        let run_id = &run.record.run_id;
        tracing::warn!(run_id, has_ended = run.has_ended, "a run that a crash cut short is queued");
    }
    if run.damaged_lines > 0 {
        set_aside(queue, orphan, &format!("{} lines cannot be read", run.damaged_lines));
    } else {
        // One that stays is known as stored the next time.
        remove(&**queue.spool().disk(), orphan);
    }
    Ok(!is_stored)
}

fn remove(disk: &dyn Disk, orphan: Orphan) {
    match disk.remove(&orphan.path) {
        Ok(()) => orphan.room.give_back(),
        Err(error) => put_off(&orphan.path, &error),
    }
}

/// The journals of the queue that nobody holds, counted in its cap as they are.
fn orphans(queue: &OfflineQueue) -> Result<Vec<Orphan>, QueueError> {
    let found = find_orphans(queue);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let files: Vec<(&Path, u64)> =
        found.iter().map(|found| (found.path.as_path(), found.bytes.len() as u64)).collect();
    let rooms = queue.spool().take_over_files(&files)?;
    let of = |(Found { path, lock, bytes }, room)| Orphan { path, _lock: lock, bytes, room };
    Ok(found.into_iter().zip(rooms).map(of).collect())
}

fn find_orphans(queue: &OfflineQueue) -> Vec<Found> {
    let disk = queue.spool().disk();
    let dir = queue.spool().dir().join(RUNNING);
    let mut entries = match disk.list(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            put_off(&dir, &error);
            return Vec::new();
        }
    };
    entries.retain(|entry| !entry.is_dir);
    // By name, which is by the time of the start.
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    let mut found = Vec::new();
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.name.ends_with(UNFINISHED) {
            remove_unfinished(&**disk, &path);
        } else if entry.name.ends_with(SUFFIX) {
            match open_orphan(&**disk, path.clone()) {
                Ok(orphan) => found.extend(orphan),
                Err(error) => put_off(&path, &error),
            }
        }
    }
    found
}

/// Removes a journal that was never begun: its run goes on without, or is gone.
fn remove_unfinished(disk: &dyn Disk, path: &Path) {
    let removed = disk
        .open(path, Open::Write)
        .and_then(|file| if file.try_lock()? { disk.remove(path) } else { Ok(()) });
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        put_off(path, &error);
    }
}

/// `None`: its owner lives, or it was dealt with meanwhile.
fn open_orphan(disk: &dyn Disk, path: PathBuf) -> io::Result<Option<Found>> {
    let file = match disk.open(&path, Open::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.try_lock()? {
        return Ok(None);
    }
    // Its owner may have removed it, and ended, while it was being opened here.
    match disk.open(&path, Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => drop(opened?),
    }
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(Found { path, lock: file, bytes }))
}

/// Puts a journal into `quarantine/`, with the reason beside it.
fn set_aside(queue: &OfflineQueue, orphan: Orphan, reason: &str) {
    match quarantine(queue, &orphan, reason) {
        Ok(()) => {
            tracing::error!(path = %orphan.path.display(), reason, "a journal is in quarantine");
            remove(&**queue.spool().disk(), orphan);
        }
        Err(error) => put_off(&orphan.path, &error),
    }
}

fn quarantine(queue: &OfflineQueue, orphan: &Orphan, reason: &str) -> io::Result<()> {
    let disk = queue.spool().disk();
    let dir = queue.spool().dir().join(QUARANTINE);
    let Some(name) = orphan.path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Ok(());
    };
    disk.create_dir_all(&dir)?;
    for (name, bytes) in [(name.clone(), &*orphan.bytes), (name + ".reason", reason.as_bytes())] {
        let path = dir.join(name);
        // Dropped at once: the file stays, and counts.
        let mut room = queue.spool().room_for_file(&path, Lane::Bulk);
        room.reserve(bytes.len() as u64).map_err(io::Error::other)?;
        let file = disk.open(&path, Open::Create)?;
        file.set_len(0)?;
        file.write_all_at(bytes, 0)?;
        file.flush()?;
    }
    disk.sync_dir(&dir)?;
    disk.sync_dir(queue.spool().dir())
}

/// What tells whether a record holds what a journal holds.
struct Fingerprint {
    started_at: i64,
    event_ids: BTreeSet<String>,
    is_abridged: bool,
}

impl Fingerprint {
    fn of(record: &RunRecord) -> Self {
        let links = record.provenance_chain.iter().flat_map(|chain| &chain.links);
        let event_ids = (record.tool_calls.iter().map(|call| &call.id))
            .chain(record.llm_calls.iter().map(|call| &call.id))
            .chain(record.patches.iter().map(|patch| &patch.id))
            .chain(links.map(|link| &link.id))
            .cloned()
            .collect();
        let is_abridged = record.metadata.contains_key(ABRIDGED);
        Self { started_at: record.started_at.as_micros(), event_ids, is_abridged }
    }

    fn covers(&self, journal: &Self) -> bool {
        self.started_at == journal.started_at
            && (self.is_abridged || self.event_ids.is_superset(&journal.event_ids))
    }
}

/// The records in the queue, waiting or not, of the runs that the journals tell of.
fn stored_runs(
    queue: &OfflineQueue,
    told: &[(Orphan, Told)],
) -> Result<BTreeMap<String, Vec<Fingerprint>>, QueueError> {
    let wanted: BTreeSet<&str> = told.iter().map(|(_, run)| &*run.record.run_id).collect();
    let mut stored: BTreeMap<String, Vec<Fingerprint>> = BTreeMap::new();
    queue.spool().each_labelled(RUN_ID, &wanted, &mut |found| {
        // One that cannot be read is no proof that the run is stored.
        if let Ok(record) = RunRecord::from_json_at(&found.body, found.stamp.wall) {
            let fingerprint = Fingerprint::of(&record);
            stored.entry(record.run_id).or_default().push(fingerprint);
        }
        ControlFlow::Continue(())
    })?;
    Ok(stored)
}
