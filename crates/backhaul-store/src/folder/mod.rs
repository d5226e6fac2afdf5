//! The folder layout: one JSON file per record, which people read and move.
//! Formats and crash cases: `docs/format.md`.

mod durable;
mod lookup;
pub(crate) mod name;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::durable::Unsure;
use crate::clock::Timestamp;
use crate::context::{Context, create_anew, read_whole, write_whole};
use crate::disk::Open;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::id::{Chain, Lane, Position, Sequence};
use crate::json_text;
use crate::quota::on_disk;
use crate::record::{Facts, Record, Stamp, StoredRecord};
use crate::segment::Read;

/// What a record of this layout is unless its sidecar says otherwise.
const DEFAULT_KIND: &str = "run";
/// The label that stands in the file's name.
const NAME_LABEL: &str = "run_id";
/// Facts that a name cannot hold stand in a file of the same name here.
const META: &str = "meta";

/// Where a record's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Pending,
    Synced,
    Failed,
}

impl Place {
    const ALL: [Place; 3] = [Place::Pending, Place::Synced, Place::Failed];

    pub(crate) fn folder(self) -> &'static str {
        match self {
            Place::Pending => "pending",
            Place::Synced => "synced",
            Place::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct FileEntry {
    pub(crate) name: Box<str>,
    pub(crate) len: u64,
    pub(crate) place: Place,
}

#[derive(Debug, Default)]
struct ChainFiles {
    next: u64,
    files: BTreeMap<u64, FileEntry>,
}

#[derive(Debug)]
pub(crate) struct FolderStore {
    context: Arc<Context>,
    writer: u16,
    catalog: Mutex<BTreeMap<Chain, ChainFiles>>,
    /// Names seen in a second folder: a crash came between the two halves of a move.
    doubles: Mutex<Vec<(Place, String)>>,
    unsure: Unsure,
}

/// The content of a sidecar.
#[derive(Debug, Serialize, Deserialize)]
struct Sidecar {
    at: String,
    boot: String,
    mono_us: u64,
    flush: String,
    facts: Facts,
}

impl FolderStore {
    pub(crate) fn open(context: Arc<Context>, writer: u16) -> Result<Self> {
        let store = Self {
            context,
            writer,
            catalog: Mutex::default(),
            doubles: Mutex::default(),
            unsure: Unsure::at_opening(),
        };
        if !store.context.read_only {
            store.make_folders()?;
        }
        store.refresh()?;
        Ok(store)
    }

    fn make_folders(&self) -> Result<()> {
        let Context { disk, dir: root, .. } = &*self.context;
        for place in Place::ALL {
            let dir = self.context.path(place.folder());
            disk.create_dir_all(&dir).doing("create a folder of the spool", &dir)?;
        }
        disk.sync_dir(root).doing("sync the spool folder", root)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Chain, ChainFiles>> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn temporary(&self, index: usize) -> std::path::PathBuf {
        self.context.state(&format!("incoming-{}-{index}.tmp", self.writer))
    }

    // --- What is there -----------------------------------------------------

    pub(crate) fn chains(&self) -> BTreeMap<Chain, (u64, u64)> {
        self.lock()
            .iter()
            .map(|(chain, files)| {
                (*chain, (files.files.keys().next().copied().unwrap_or(files.next), files.next))
            })
            .collect()
    }

    pub(crate) fn next(&self, chain: Chain) -> u64 {
        self.lock().get(&chain).map_or(1, |files| files.next.max(1))
    }

    /// All files with their places, in order.
    pub(crate) fn files(&self) -> Vec<(Position, FileEntry)> {
        let catalog = self.lock();
        catalog
            .iter()
            .flat_map(|(chain, list)| {
                list.files.iter().map(|(sequence, entry)| {
                    (Position { chain: *chain, sequence: Sequence(*sequence) }, entry.clone())
                })
            })
            .collect()
    }

    /// The stretches between `first` and `end`, the latter left out, without files.
    pub(crate) fn missing_between(&self, chain: Chain, first: u64, end: u64) -> Vec<(u64, u64)> {
        let catalog = self.lock();
        let files = catalog.get(&chain).map(|files| &files.files);
        let present =
            files.into_iter().flat_map(|files| files.range(first..end).map(|(at, _)| *at));
        let mut missing = Vec::new();
        let mut from = first;
        for at in present.chain([end]) {
            if from < at {
                missing.push((from, at));
            }
            from = at + 1;
        }
        missing
    }

    pub(crate) fn file(&self, position: Position) -> Option<FileEntry> {
        self.lock().get(&position.chain)?.files.get(&position.sequence.0).cloned()
    }

    /// Looks at the folders again: other processes and people put files there.
    pub(crate) fn refresh(&self) -> Result<()> {
        let mut foreign = self.look()?;
        if self.context.read_only {
            return Ok(());
        }
        foreign.sort();
        foreign.iter().try_for_each(|name| self.adopt(name))
    }

    /// Looks at the folders again, and tells the names that are none of ours.
    pub(crate) fn look(&self) -> Result<Vec<String>> {
        let mut found: BTreeMap<Chain, BTreeMap<u64, FileEntry>> = BTreeMap::new();
        let mut foreign = Vec::new();
        let mut doubles = Vec::new();
        for place in Place::ALL {
            let dir = self.context.path(place.folder());
            for entry in self.context.disk.list(&dir).doing("list a folder of the spool", &dir)? {
                if entry.is_dir
                    || !entry.name.ends_with(name::SUFFIX)
                    || entry.name.starts_with('.')
                {
                    continue;
                }
                match name::parse(&entry.name) {
                    Some(parsed) => {
                        let position = parsed.position;
                        let mut file = FileEntry { name: entry.name.into(), len: entry.len, place };
                        let files = found.entry(position.chain).or_default();
                        if let Some(before) = files.get_mut(&position.sequence.0)
                            && before.name != file.name
                        {
                            // Another record under the same number: copied here from
                            // another spool. It gets a number of its own.
                            let is_known = self.file(position).map(|known| known.name == file.name);
                            let was_copied =
                                before.place == Place::Pending && file.place != Place::Pending;
                            if is_known.unwrap_or(was_copied) {
                                std::mem::swap(before, &mut file);
                            }
                            if file.place == Place::Pending {
                                foreign.push(file.name.into());
                            }
                            continue;
                        }
                        let before = files.insert(position.sequence.0, file);
                        doubles.extend(before.map(|before| (before.place, before.name.into())));
                    }
                    None if place == Place::Pending => foreign.push(entry.name),
                    None => {}
                }
            }
        }
        {
            let mut catalog = self.lock();
            for (chain, files) in found {
                let known = catalog.entry(chain).or_default();
                let beyond = files.keys().next_back().map_or(1, |last| last + 1);
                known.next = known.next.max(beyond).max(1);
                if chain.writer == self.writer {
                    // Threads of this process may have moved on since the listing.
                    files.into_iter().for_each(|(sequence, file)| {
                        known.files.entry(sequence).or_insert(file);
                    });
                } else {
                    known.files = files;
                }
            }
        }
        *self.doubles.lock().unwrap_or_else(PoisonError::into_inner) = doubles;
        Ok(foreign)
    }

    /// Adds files of other processes that the last listing lacks: a folder that is
    /// listed while files are named in it may show a later one and not an earlier one.
    pub(crate) fn look_again(&self) -> Result<()> {
        for place in Place::ALL {
            let dir = self.context.path(place.folder());
            let entries = self.context.disk.list(&dir).doing("list a folder of the spool", &dir)?;
            let mut catalog = self.lock();
            for entry in entries {
                let Some(parsed) = name::parse(&entry.name) else { continue };
                let Position { chain, sequence } = parsed.position;
                if chain.writer != self.writer {
                    let file = FileEntry { name: entry.name.into(), len: entry.len, place };
                    catalog.entry(chain).or_default().files.entry(sequence.0).or_insert(file);
                }
            }
        }
        Ok(())
    }

    /// Ends moves that a crash cut in half. Only for the process that delivers:
    /// nobody moves files meanwhile.
    pub(crate) fn remove_doubles(&self) -> Result<()> {
        let doubles =
            std::mem::take(&mut *self.doubles.lock().unwrap_or_else(PoisonError::into_inner));
        for (place, name) in doubles {
            let kept = name::parse(&name).and_then(|parsed| self.file(parsed.position));
            if kept.is_some_and(|kept| kept.place != place && *kept.name == *name) {
                let path = self.context.path(place.folder()).join(&name);
                self.context.disk.remove(&path).doing("end a move", &path)?;
            }
        }
        Ok(())
    }

    /// Takes a file that somebody else put into `pending/` into the spool, or puts
    /// it in quarantine where it is no record.
    fn adopt(&self, foreign: &str) -> Result<()> {
        let (disk, pending) = (&self.context.disk, self.context.path(Place::Pending.folder()));
        let path = pending.join(foreign);
        let bytes = match read_whole(&**disk, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            read => read?,
        };
        if let Err(reason) = json_text::check_object(&bytes) {
            return self.set_aside(&path, foreign, &bytes, &reason);
        }
        let (wall, hint) = name::parse_foreign(foreign);
        let wall = wall.unwrap_or_else(|| self.context.clock.now().wall);
        let chain = Chain { lane: Lane::Normal, writer: self.writer };
        let sequence = self.lock().get(&chain).map_or(1, |files| files.next.max(1));
        let position = Position { chain, sequence: Sequence(sequence) };
        let new_name = name::format(position, wall, &hint);
        // Whoever put it there may not have made it durable, or not have been able to.
        self.copy(&path, &path)?;
        disk.rename(&path, &pending.join(&new_name)).doing("adopt a file", &path)?;
        disk.sync_dir(&pending).doing("sync a folder of the spool", &pending)?;
        let mut catalog = self.lock();
        let files = catalog.entry(chain).or_default();
        files.next = sequence + 1;
        let len = bytes.len() as u64;
        files
            .files
            .insert(sequence, FileEntry { name: new_name.into(), len, place: Place::Pending });
        Ok(())
    }

    fn set_aside(
        &self,
        path: &std::path::Path,
        name: &str,
        bytes: &[u8],
        reason: &str,
    ) -> Result<()> {
        self.context.quarantine(name, bytes)?;
        self.context.quarantine(&format!("{name}.reason"), reason.as_bytes())?;
        match self.context.disk.remove(path) {
            // Another process was first.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.doing("move a damaged file to quarantine", path)?,
        }
        tracing::warn!(path = %path.display(), reason, "a file is no record: it is in quarantine");
        Ok(())
    }

    /// Jumps over sequences that were given away before a loss of data.
    pub(crate) fn skip_to(&self, chain: Chain, next: u64) {
        let mut catalog = self.lock();
        let files = catalog.entry(chain).or_default();
        files.next = files.next.max(next);
    }

    // --- Appending ---------------------------------------------------------

    /// Says why a record cannot stand in this layout.
    pub(crate) fn check(record: &Record) -> Result<()> {
        json_text::check_object(&record.body).map_err(|reason| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("a record of the folder layout must be one JSON object: {reason}"),
            )
        })
    }

    /// Writes records as files, all or none of them. The first of `chain` gets the
    /// sequence given with it.
    pub(crate) fn write(&self, items: &[(Position, &Record, &Stamp)], flush: bool) -> Result<()> {
        let bytes: u64 =
            items.iter().map(|(_, record, stamp)| self.size_on_disk(record, stamp)).sum();
        self.context.quota.reserve(&*self.context.disk, &self.context.dir, bytes)?;
        let mut placed = Vec::new();
        // Who delivers may change while this goes on.
        let may_be_seen = self.context.may_be_seen();
        let written = self.write_files(items, flush, &mut placed);
        if let Err(error) = written {
            self.remove_leftovers(items, placed.len());
            if may_be_seen || self.context.may_be_seen() {
                // What got its name may be delivered by now, and stays a record.
                self.note_files(items, placed);
            } else {
                self.take_back(&placed);
                self.context.quota.release(bytes);
            }
            return Err(error);
        }
        self.note_files(items, placed);
        Ok(())
    }

    fn note_files(&self, items: &[(Position, &Record, &Stamp)], names: Vec<String>) {
        let mut catalog = self.lock();
        for ((position, record, _), name) in items.iter().zip(names) {
            let files = catalog.entry(position.chain).or_default();
            files.next = files.next.max(position.sequence.0 + 1);
            let entry = FileEntry {
                name: name.into(),
                len: record.body.len() as u64,
                place: Place::Pending,
            };
            files.files.insert(position.sequence.0, entry);
        }
    }

    fn write_files(
        &self,
        items: &[(Position, &Record, &Stamp)],
        flush: bool,
        placed: &mut Vec<String>,
    ) -> Result<()> {
        let disk = &self.context.disk;
        for (index, (_, record, _)) in items.iter().enumerate() {
            let path = self.temporary(index);
            let file = create_anew(&**disk, &path)?;
            file.write_all_at(&record.body, 0).doing("write a record", &path)?;
            if flush {
                file.flush().doing("flush a record", &path)?;
            }
        }
        self.write_sidecars(items)?;
        let pending = self.context.path(Place::Pending.folder());
        for (index, (position, record, stamp)) in items.iter().enumerate() {
            let name = name::format(*position, stamp.wall, hint_of(record));
            let path = pending.join(&name);
            disk.rename(&self.temporary(index), &path).doing("name a record", &path)?;
            placed.push(name);
        }
        if flush { self.sync_pending() } else { Ok(()) }
    }

    fn write_sidecars(&self, items: &[(Position, &Record, &Stamp)]) -> Result<()> {
        let dir = self.context.path(META);
        let mut wrote = false;
        for (position, record, stamp) in items {
            if !self.needs_sidecar(record, stamp) {
                continue;
            }
            if !wrote {
                self.context
                    .disk
                    .create_dir_all(&dir)
                    .doing("create a folder of the spool", &dir)?;
                wrote = true;
            }
            let path = dir.join(name::format(*position, stamp.wall, hint_of(record)));
            write_whole(&*self.context.disk, &path, &sidecar(record, stamp))?;
        }
        // Whatever the level: a record that a power cut leaves must not lose its stream.
        if wrote {
            self.context.disk.sync_dir(&dir).doing("sync a folder of the spool", &dir)?;
            let root = &self.context.dir;
            self.context.disk.sync_dir(root).doing("sync the spool folder", root)?;
        }
        Ok(())
    }

    /// The durability level stands in the sidecar where it is not the spool's own.
    fn needs_sidecar(&self, record: &Record, stamp: &Stamp) -> bool {
        says_more_than_its_name(&record.facts) || stamp.flush != self.context.options.flush.name()
    }

    fn size_on_disk(&self, record: &Record, stamp: &Stamp) -> u64 {
        let mut bytes = on_disk(record.body.len() as u64);
        if self.needs_sidecar(record, stamp) {
            bytes += on_disk(sidecar(record, stamp).len() as u64);
        }
        bytes
    }

    /// After a commit that failed half way: what stands beside records that got no name.
    fn remove_leftovers(&self, items: &[(Position, &Record, &Stamp)], placed: usize) {
        for (index, (position, record, stamp)) in items.iter().enumerate() {
            let _ = self.context.disk.remove(&self.temporary(index));
            if index >= placed && self.needs_sidecar(record, stamp) {
                let name = name::format(*position, stamp.wall, hint_of(record));
                let _ = self.context.disk.remove(&self.context.path(META).join(name));
            }
        }
    }

    /// After a commit that failed half way: none of it counts.
    fn take_back(&self, placed: &[String]) {
        let pending = self.context.path(Place::Pending.folder());
        for name in placed {
            if self.context.disk.remove(&pending.join(name)).is_ok() {
                let _ = self.context.disk.remove(&self.context.path(META).join(name));
            }
        }
        // A file that could not be removed is a record like any other.
        if let Err(error) = self.refresh() {
            tracing::warn!(%error, "cannot look at the spool after a failed write");
        }
    }

    // --- Reading and moving --------------------------------------------------

    pub(crate) fn read(&self, chain: Chain, from: u64) -> Result<Read> {
        let (sequence, mut entry) = {
            let catalog = self.lock();
            let Some(files) = catalog.get(&chain) else { return Ok(Read::End) };
            match files.files.range(from..).next() {
                Some((sequence, entry)) => (*sequence, entry.clone()),
                None if from < files.next => return Ok(Read::LostUpTo(files.next)),
                None => return Ok(Read::End),
            }
        };
        if sequence > from {
            return Ok(Read::LostUpTo(sequence));
        }
        let position = Position { chain, sequence: Sequence(sequence) };
        let path = |place: Place| self.context.path(place.folder()).join(&*entry.name);
        let mut read = read_whole(&*self.context.disk, &path(entry.place));
        if read.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            // The process that delivers may have moved it since this one looked.
            let Some((place, body)) = Place::ALL.into_iter().find_map(|place| {
                let body = read_whole(&*self.context.disk, &path(place)).ok()?;
                Some((place, body))
            }) else {
                self.forget(position);
                return Ok(Read::LostUpTo(from + 1));
            };
            entry.place = place;
            self.note_place(position, place);
            read = Ok(body);
        }
        let body = read?;
        if json_text::check_object(&body).is_err() {
            return Ok(Read::LostUpTo(from + 1));
        }
        Ok(Read::Record(Box::new(self.stored(position, &entry, body)?)))
    }

    fn stored(&self, position: Position, entry: &FileEntry, body: Vec<u8>) -> Result<StoredRecord> {
        let id = self.context.identity.record_id(position);
        let path = self.context.path(META).join(&*entry.name);
        let sidecar = match read_whole(&*self.context.disk, &path) {
            Ok(bytes) => serde_json::from_slice::<Sidecar>(&bytes).ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(sidecar) = sidecar {
            let stamp = Stamp {
                wall: Timestamp::parse(&sidecar.at).unwrap_or(Timestamp::from_micros(0)),
                boot_id: sidecar.boot,
                since_boot: Duration::from_micros(sidecar.mono_us),
                flush: sidecar.flush,
            };
            return Ok(StoredRecord { id, facts: sidecar.facts, stamp, body });
        }
        let parsed = name::parse(&entry.name);
        let wall = parsed.as_ref().and_then(|parsed| parsed.wall);
        let mut facts = Facts { kind: DEFAULT_KIND.to_owned(), ..Facts::default() };
        if let Some(hint) = parsed.and_then(|parsed| parsed.hint) {
            facts.labels.insert(NAME_LABEL.to_owned(), hint);
        }
        let stamp = Stamp {
            wall: wall.unwrap_or(Timestamp::from_micros(0)),
            boot_id: String::new(),
            since_boot: Duration::ZERO,
            flush: self.context.options.flush.name().to_owned(),
        };
        Ok(StoredRecord { id, facts, stamp, body })
    }

    /// Puts what there is of a damaged record into quarantine. That it is damaged stands in
    /// the ledger: without the file its name looks as if it had never been given.
    pub(crate) fn quarantine(&self, position: Position) -> Result<()> {
        let Some(entry) = self.file(position) else { return Ok(()) };
        let path = self.context.path(entry.place.folder()).join(&*entry.name);
        let body = match read_whole(&*self.context.disk, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let reason = json_text::check_object(&body).err();
        let reason = reason.unwrap_or_else(|| "it could not be read for a day".to_owned());
        self.set_aside(&path, &entry.name, &body, &reason)?;
        self.context.quota.release(on_disk(entry.len));
        self.forget(position);
        Ok(())
    }

    /// The places between `first` and `end`, the latter left out, that have files.
    pub(crate) fn present_between(&self, chain: Chain, first: u64, end: u64) -> Vec<Position> {
        let catalog = self.lock();
        let files = catalog.get(&chain).into_iter();
        let present = files.flat_map(|files| files.files.range(first..end));
        present.map(|(at, _)| Position { chain, sequence: Sequence(*at) }).collect()
    }

    fn forget(&self, position: Position) {
        if let Some(files) = self.lock().get_mut(&position.chain) {
            files.files.remove(&position.sequence.0);
        }
    }

    /// Moves a record's file to where its fate belongs. Redone at every open, so
    /// that a crash on the way costs nothing. `note` is left beside a failed record.
    pub(crate) fn place(&self, position: Position, place: Place, note: Option<&str>) -> Result<()> {
        let Some(entry) = self.file(position) else { return Ok(()) };
        let (disk, name) = (&self.context.disk, &*entry.name);
        if entry.place == Place::Failed && place != Place::Failed {
            let failed = self.context.path(Place::Failed.folder());
            self.remove_beside(&failed.join(format!("{name}.reason")));
        }
        if let (Some(note), Place::Failed) = (note, place) {
            let path = self.context.path(Place::Failed.folder()).join(format!("{name}.reason"));
            match write_whole(&**disk, &path, note.as_bytes()) {
                Ok(()) if entry.place != place => {
                    self.context.quota.add(on_disk(note.len() as u64));
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the reason is in the ledger only");
                }
            }
        }
        if entry.place == place {
            return Ok(());
        }
        let from = self.context.path(entry.place.folder()).join(name);
        let to = self.context.path(place.folder()).join(name);
        let moved = match place {
            Place::Synced => disk.rename(&from, &to).doing("move a record", &from),
            Place::Pending | Place::Failed => self.copy_and_remove(&from, &to),
        };
        match moved {
            // Unless the process that delivered before has moved it there.
            Err(error)
                if error.kind() == ErrorKind::NotFound && disk.open(&to, Open::Read).is_err() =>
            {
                self.forget(position);
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => self.note_place(position, place),
        }
        Ok(())
    }

    /// Moves a file that is still wanted. A rename could lose it: its old name may be
    /// gone for good before its new one is durable.
    fn copy_and_remove(&self, from: &Path, to: &Path) -> Result<()> {
        let disk = &self.context.disk;
        self.copy(from, to)?;
        let dir = to.parent().unwrap_or(&self.context.dir);
        if let Err(error) = disk.sync_dir(dir) {
            let _ = disk.remove(to);
            return Err(error).doing("sync a folder of the spool", dir);
        }
        disk.remove(from).doing("end a move", from)
    }

    fn note_place(&self, position: Position, place: Place) {
        let mut catalog = self.lock();
        let files = catalog.get_mut(&position.chain);
        if let Some(entry) = files.and_then(|files| files.files.get_mut(&position.sequence.0)) {
            entry.place = place;
        }
    }

    /// Removes a record's file. Returns the bytes given back.
    pub(crate) fn remove(&self, position: Position) -> Result<u64> {
        let Some(entry) = self.file(position) else { return Ok(0) };
        let path = self.context.path(entry.place.folder()).join(&*entry.name);
        match self.context.disk.remove(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.doing("remove a record", &path)?,
        }
        self.remove_beside(&self.context.path(META).join(&*entry.name));
        if entry.place == Place::Failed {
            self.remove_beside(&path.with_file_name(format!("{}.reason", entry.name)));
        }
        let bytes = on_disk(entry.len);
        self.context.quota.release(bytes);
        self.forget(position);
        Ok(bytes)
    }

    /// Removes a small file that stands beside a record's, if it is there.
    fn remove_beside(&self, path: &Path) {
        let len = self.context.disk.open(path, Open::Read).and_then(|file| file.len());
        if let (Ok(len), Ok(())) = (len, self.context.disk.remove(path)) {
            self.context.quota.release(on_disk(len));
        }
    }

    /// Makes moves and removals durable.
    pub(crate) fn sync_places(&self) -> Result<()> {
        for place in Place::ALL {
            let dir = self.context.path(place.folder());
            self.context.disk.sync_dir(&dir).doing("sync a folder of the spool", &dir)?;
        }
        Ok(())
    }
}

fn hint_of(record: &Record) -> &str {
    record.facts.labels.get(NAME_LABEL).map_or(record.facts.kind.as_str(), String::as_str)
}

/// Whether the file's name and content say less than the record's facts.
fn says_more_than_its_name(facts: &Facts) -> bool {
    let mut derived = Facts { kind: DEFAULT_KIND.to_owned(), ..Facts::default() };
    if let Some(run_id) = facts.labels.get(NAME_LABEL).filter(|run_id| run_id.len() < 40) {
        derived.labels.insert(NAME_LABEL.to_owned(), run_id.clone());
    }
    *facts != derived
}

fn sidecar(record: &Record, stamp: &Stamp) -> Vec<u8> {
    let sidecar = Sidecar {
        at: stamp.wall.to_string(),
        boot: stamp.boot_id.clone(),
        mono_us: u64::try_from(stamp.since_boot.as_micros()).unwrap_or(u64::MAX),
        flush: stamp.flush.clone(),
        facts: record.facts.clone(),
    };
    serde_json::to_vec(&sidecar).unwrap_or_default()
}
