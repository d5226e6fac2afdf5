//! The segment layout: rotating `.jsonl.gz` files, one chain of them per lane
//! and writer. Formats and crash cases: `docs/format.md`.

mod head;
mod index;
pub(crate) mod member;
pub(crate) mod name;
mod reader;
mod scan;
mod seal;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::head::{Head, Note};
use self::member::{Encoder, Fault, Header, Kind, Level, PAGE};
pub(crate) use self::reader::SegmentReader;
use self::writer::{Active, Growth, Start};
use crate::clock::Timestamp;
use crate::context::Context;
use crate::disk::{DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::id::{Chain, DeviceId, Position, Sequence};
use crate::quota::on_disk;
use crate::record::{PreparedLine, StoredRecord, parse_line};

/// Records per member of an unsealed segment: what one damaged byte can cost.
const MEMBER_RECORDS: usize = 64;
/// Bytes of records per member of an unsealed segment.
const MEMBER_BYTES: usize = 1 << 20;

/// One file of a chain, as the catalog knows it.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) name: String,
    head: Head,
    pub(crate) state: State,
    /// Records stand in the file up to this byte.
    end: u64,
    /// The sequence after the segment's last record.
    pub(crate) next: u64,
    /// The file's length.
    pub(crate) len: u64,
}

impl Segment {
    pub(crate) fn first(&self) -> u64 {
        self.head.first_sequence
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        Timestamp::parse(&self.head.note.created)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// This process appends to it.
    Active,
    /// Another process may append to it.
    Foreign,
    /// Nobody appends to it any more.
    Closed,
    /// Compressed, with an index.
    Sealed,
}

/// The part of a commit that goes to one chain.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) chain: Chain,
    pub(crate) count: u64,
    bytes: Vec<u8>,
}

/// What reading one place of a chain gives.
#[derive(Debug)]
pub(crate) enum Read {
    Record(Box<StoredRecord>),
    /// The records from the place asked for up to this sequence are damaged.
    LostUpTo(u64),
    /// The place was not written yet.
    End,
}

#[derive(Debug)]
pub(crate) struct SegmentStore {
    context: Arc<Context>,
    writer: u16,
    encoder: Mutex<Encoder>,
    actives: Mutex<BTreeMap<Chain, Active>>,
    catalog: Mutex<BTreeMap<Chain, Vec<Segment>>>,
    /// The maintenance thread was told that free pages run short.
    growth_asked: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SegmentStore {
    /// Reads the heads of all segments and takes over the open ones of `writer`.
    pub(crate) fn open(context: Arc<Context>, writer: u16) -> Result<Self> {
        let store = Self {
            context,
            writer,
            encoder: Mutex::new(Encoder::new(Level::Commit)),
            actives: Mutex::default(),
            catalog: Mutex::default(),
            growth_asked: AtomicBool::new(false),
        };
        store.refresh()?;
        store.adopt(writer)?;
        Ok(store)
    }

    /// The device that the segments in a folder were written by, if there is any.
    pub(crate) fn device_of(
        disk: &dyn crate::disk::Disk,
        dir: &std::path::Path,
    ) -> Option<DeviceId> {
        let names = disk.list(dir).ok()?;
        names.iter().filter(|entry| name::parse(&entry.name).is_some()).find_map(|entry| {
            let file = disk.open(&dir.join(&entry.name), Open::Read).ok()?;
            let head = Head::parse(&file.read_exact_at(PAGE, 0).ok()?).ok()??;
            Some(DeviceId(uuid::Uuid::try_parse(&head.note.device).ok()?))
        })
    }

    // --- What is there -----------------------------------------------------

    /// First and next sequence of each chain.
    pub(crate) fn chains(&self) -> BTreeMap<Chain, (u64, u64)> {
        lock(&self.catalog)
            .iter()
            .filter_map(|(chain, segments)| {
                Some((*chain, (segments.first()?.first(), segments.last()?.next)))
            })
            .collect()
    }

    pub(crate) fn next(&self, chain: Chain) -> u64 {
        lock(&self.catalog).get(&chain).and_then(|list| list.last()).map_or(1, |last| last.next)
    }

    /// All segments, oldest first in each chain.
    pub(crate) fn segments(&self) -> Vec<(Chain, Segment)> {
        let catalog = lock(&self.catalog);
        catalog
            .iter()
            .flat_map(|(chain, list)| list.iter().map(|one| (*chain, one.clone())))
            .collect()
    }

    /// Looks for segments that other processes made, grew or removed.
    pub(crate) fn refresh(&self) -> Result<()> {
        // Held from before the listing: segments that this process makes, renames or
        // removes meanwhile would be missing from one of the two.
        let mut catalog = lock(&self.catalog);
        let dir = &self.context.dir;
        let entries = self.context.disk.list(dir).doing("list the spool folder", dir)?;
        let mut present: Vec<(String, u64)> = entries
            .into_iter()
            .filter(|entry| !entry.is_dir && name::parse(&entry.name).is_some())
            .map(|entry| (entry.name, entry.len))
            .collect();
        present.sort();
        for segments in catalog.values_mut() {
            segments.retain(|segment| present.iter().any(|(name, _)| *name == segment.name));
        }
        for (name, len) in present {
            let known = catalog.values().flatten().find(|segment| segment.name == name);
            if known.is_none_or(|segment| segment.state != State::Active && segment.len != len) {
                self.load(&mut catalog, &name, len)?;
            }
        }
        catalog.retain(|_, segments| !segments.is_empty());
        for segments in catalog.values_mut() {
            close_the_gaps(segments);
            if let Some(last) = segments.last_mut().filter(|last| last.state == State::Foreign) {
                self.follow(last)?;
            }
        }
        Ok(())
    }

    /// Finds what another process has committed to its open segment meanwhile, and
    /// makes sure that it is durable before anything is done with it.
    fn follow(&self, segment: &mut Segment) -> Result<()> {
        let path = self.context.path(&segment.name);
        let file = match self.context.disk.open(&path, Open::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened.doing("open a segment", &path)?,
        };
        let found =
            scan::scan(&*file, segment.head.nonce, segment.end).doing("scan a segment", &path)?;
        let before = segment.end;
        for member in found.members {
            if member.records(&*file).doing("read a segment", &path)?.is_none() {
                break;
            }
            segment.end = member.end();
            segment.next = member.next_sequence();
        }
        if segment.end > before && !self.context.read_only {
            file.flush().doing("flush a segment", &path)?;
        }
        Ok(())
    }

    /// Reads what one file is and puts it in its place.
    fn load(
        &self,
        catalog: &mut BTreeMap<Chain, Vec<Segment>>,
        name: &str,
        len: u64,
    ) -> Result<()> {
        let path = self.context.path(name);
        let file = match self.context.disk.open(&path, Open::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened.doing("open a segment", &path)?,
        };
        let Some(head) = self.head_of(&*file, name)? else {
            return if self.context.read_only { Ok(()) } else { self.set_aside(name) };
        };
        let known = catalog
            .get(&head.chain)
            .and_then(|segments| segments.iter().find(|segment| segment.name == name))
            .filter(|segment| segment.head.nonce == head.nonce);
        let mut segment = Segment {
            name: name.to_owned(),
            state: State::Foreign,
            end: known.map_or(PAGE as u64, |segment| segment.end),
            next: known.map_or(head.first_sequence, |segment| segment.next),
            len,
            head,
        };
        if let Some(sealed) = &segment.head.note.sealed {
            segment.state = State::Sealed;
            segment.next = sealed.next_sequence;
            segment.end = len;
        }
        let segments = catalog.entry(segment.head.chain).or_default();
        segments.retain(|other| other.name != segment.name);
        segments.push(segment);
        segments.sort_by_key(|segment| (segment.first(), segment.head.note.ordinal));
        Ok(())
    }

    /// The head of a segment; where its page is damaged, what the members tell.
    /// `Ok(None)`: nothing in the file says that it is a segment.
    fn head_of(&self, file: &dyn DiskFile, segment_name: &str) -> Result<Option<Head>> {
        let path = self.context.path(segment_name);
        let mut page = vec![0; PAGE];
        let read = file.read_at(&mut page, 0).doing("read a segment", &path)?;
        page.truncate(read);
        match Head::parse(&page) {
            Ok(Some(head)) => return Ok(Some(head)),
            Ok(None) => {}
            Err(Fault::Unsupported(version, features)) => {
                return Err(Error::at(
                    ErrorKind::Unsupported,
                    &path,
                    format!(
                        "the segment has format {version} with features {features:#x}, this program \
                         knows format {}: use a newer backhaul",
                        member::FORMAT_VERSION
                    ),
                ));
            }
            Err(Fault::Damaged) => {}
        }
        let len = file.len().doing("measure a segment", &path)?;
        let Some(first) = first_member(file, len).doing("read a segment", &path)? else {
            return Ok(None);
        };
        tracing::error!(path = %path.display(), "a segment's first page is damaged; its members are read without it");
        Ok(Some(Head {
            nonce: first.nonce,
            chain: first.chain,
            first_sequence: first.first_sequence,
            note: Note {
                device: self.context.identity.device().to_string(),
                epoch: self.context.identity.epoch().to_string(),
                created: String::new(),
                ordinal: 0,
                sealed: None,
            },
        }))
    }

    /// Moves a file that is no segment out of the way, whole.
    fn set_aside(&self, name: &str) -> Result<()> {
        let (disk, path) = (&self.context.disk, self.context.path(name));
        let bytes = crate::context::read_whole(&**disk, &path)?;
        if bytes.iter().any(|&byte| byte != 0) {
            self.context.quarantine(&format!("{name}.foreign"), &bytes)?;
        }
        disk.remove(&path).doing("remove a file that is no segment", &path)?;
        disk.sync_dir(&self.context.dir).doing("sync the spool folder", &self.context.dir)
    }

    /// Takes over the unsealed segments of a writer that is this process, or that
    /// no longer lives: finds where each ends, and frees torn pages.
    pub(crate) fn adopt(&self, writer: u16) -> Result<()> {
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        for (chain, segments) in catalog.iter_mut().filter(|(chain, _)| chain.writer == writer) {
            let last = segments.len().saturating_sub(1);
            for (index, segment) in segments.iter_mut().enumerate() {
                if segment.state == State::Foreign {
                    let active = self.take_over(segment, index == last)?;
                    if let Some(active) = active.filter(|_| writer == self.writer) {
                        segment.state = State::Active;
                        actives.insert(*chain, active);
                    }
                }
            }
            close_the_gaps(segments);
        }
        Ok(())
    }

    fn take_over(&self, segment: &mut Segment, is_last: bool) -> Result<Option<Active>> {
        let path = self.context.path(&segment.name);
        segment.state = State::Closed;
        if !is_last {
            segment.end = segment.len;
            return Ok(None);
        }
        let file = self.context.disk.open(&path, Open::Read).doing("open a segment", &path)?;
        let mut found =
            scan::scan(&*file, segment.head.nonce, PAGE as u64).doing("scan a segment", &path)?;
        drop_torn_commit(&mut found, &*file).doing("scan a segment", &path)?;
        segment.end = found.frontier(PAGE as u64);
        segment.next = found.members.last().map_or(segment.first(), scan::Member::next_sequence);
        let active = Active::adopt(&self.context, &segment.name, segment.head.clone(), &found)?;
        if let Some(active) = &active {
            segment.len = active.prepared;
        }
        Ok(active)
    }

    // --- Appending ---------------------------------------------------------

    /// Compresses the records of one chain into whole pages. Touches no file.
    pub(crate) fn build(&self, chain: Chain, first: u64, lines: &[&PreparedLine]) -> Part {
        let mut encoder = lock(&self.encoder);
        let mut part = Part { chain, count: lines.len() as u64, bytes: Vec::new() };
        let id = self.context.identity.record_id(Position { chain, sequence: Sequence(first) });
        let prefix = id.prefix();
        let (mut raw, mut member_first, mut count) = (Vec::new(), first, 0usize);
        for (index, line) in lines.iter().enumerate() {
            let sequence = first + index as u64;
            let full = count >= MEMBER_RECORDS || raw.len() + line.len() > MEMBER_BYTES;
            if count > 0 && full {
                // Each member is padded, so that every member starts on a page.
                encoder.data(&data_header(chain, member_first, count), &raw, true, &mut part.bytes);
                (member_first, count) = (sequence, 0);
                raw.clear();
            }
            line.finish(&prefix, sequence, &mut raw);
            count += 1;
        }
        if count > 0 {
            encoder.data(&data_header(chain, member_first, count), &raw, true, &mut part.bytes);
        }
        part
    }

    /// Writes the parts of one commit, and flushes them where asked. After an
    /// error none of it counts: the segments concerned are closed, and the next
    /// commit goes to new ones.
    pub(crate) fn write(&self, parts: &mut [Part], flush: bool) -> Result<()> {
        let mut actives = lock(&self.actives);
        let written = self.write_parts(&mut actives, parts, flush);
        let mut catalog = lock(&self.catalog);
        let mut wants_growth = false;
        match written {
            Ok(()) => {
                for part in parts {
                    let active = actives.get(&part.chain);
                    let segment = catalog.get_mut(&part.chain).and_then(|list| list.last_mut());
                    if let (Some(active), Some(segment)) = (active, segment) {
                        segment.end = active.frontier;
                        segment.next = active.next;
                        segment.len = active.prepared;
                        wants_growth |= active.wants_growth(&self.context);
                    }
                }
                if wants_growth && !self.growth_asked.swap(true, Ordering::Relaxed) {
                    crate::maintenance::wake();
                }
                Ok(())
            }
            Err(error) => {
                // A refusal for want of room came before anything was written.
                if error.kind() != ErrorKind::Full || error.path() != Some(&self.context.dir) {
                    for part in parts {
                        self.close(&mut actives, &mut catalog, part.chain);
                    }
                }
                Err(error)
            }
        }
    }

    fn write_parts(
        &self,
        actives: &mut BTreeMap<Chain, Active>,
        parts: &mut [Part],
        flush: bool,
    ) -> Result<()> {
        for part in parts.iter() {
            self.make_active(actives, part.chain, part.bytes.len() as u64)?;
        }
        for part in parts.iter_mut() {
            let Some(active) = actives.get_mut(&part.chain) else { continue };
            active.write(&self.context, &mut part.bytes, part.count)?;
        }
        if flush {
            for part in parts {
                if let Some(active) = actives.get_mut(&part.chain) {
                    active.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Sees to it that the chain has an open segment with room, in pages that are
    /// already there or that the quota allows.
    fn make_active(
        &self,
        actives: &mut BTreeMap<Chain, Active>,
        chain: Chain,
        bytes: u64,
    ) -> Result<()> {
        let limit = self.context.options.segment_bytes;
        let mut catalog = lock(&self.catalog);
        let mut extent = self.first_extent();
        if let Some(active) = actives.get_mut(&chain) {
            let is_empty = active.next == active.head.first_sequence;
            if is_empty || active.frontier + bytes <= limit {
                return active.ensure_prepared(&self.context, bytes);
            }
            extent = active.extent.min(limit - PAGE as u64).max(extent);
            // Nobody flushes it later: what was relaxed in it is made durable now.
            active.flush()?;
            self.close(actives, &mut catalog, chain);
        }
        let segments = catalog.entry(chain).or_default();
        let start = Start {
            first: segments.last().map_or(1, |segment| segment.next),
            ordinal: segments.last().map_or(0, |segment| segment.head.note.ordinal + 1),
            prepared: self.first_extent(),
            extent,
        };
        let active = Active::create(&self.context, chain, start, bytes)?;
        segments.push(Segment {
            name: active.name.clone(),
            head: active.head.clone(),
            state: State::Active,
            end: active.frontier,
            next: active.next,
            len: active.prepared,
        });
        actives.insert(chain, active);
        Ok(())
    }

    /// The first stretch of free pages; a small cap makes it smaller.
    fn first_extent(&self) -> u64 {
        let options = &self.context.options;
        let share = options.max_bytes.map_or(u64::MAX, |max| max / 16);
        options.first_extent_bytes.min(options.segment_bytes).min(share).max(PAGE as u64)
    }

    fn close(
        &self,
        actives: &mut BTreeMap<Chain, Active>,
        catalog: &mut BTreeMap<Chain, Vec<Segment>>,
        chain: Chain,
    ) {
        let Some(active) = actives.remove(&chain) else { return };
        let segments = catalog.entry(chain).or_default();
        let Some(segment) = segments.iter_mut().find(|segment| segment.name == active.name) else {
            return;
        };
        segment.state = State::Closed;
        segment.len = active.close(&self.context, segment.end);
    }

    /// Jumps over sequences that were given away before a loss of data, so that
    /// they are never given to other records.
    pub(crate) fn skip_to(&self, chain: Chain, next: u64) -> Result<()> {
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        self.close(&mut actives, &mut catalog, chain);
        let segments = catalog.entry(chain).or_default();
        let ordinal = segments.last().map_or(0, |segment| segment.head.note.ordinal + 1);
        let extent = self.first_extent();
        let start = Start { first: next, ordinal, prepared: extent, extent };
        let active = Active::create(&self.context, chain, start, 0)?;
        segments.push(Segment {
            name: active.name.clone(),
            head: active.head.clone(),
            state: State::Active,
            end: active.frontier,
            next,
            len: active.prepared,
        });
        actives.insert(chain, active);
        Ok(())
    }

    /// Makes what was appended without a flush durable.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut actives = lock(&self.actives);
        let failed: Vec<(Chain, Error)> = actives
            .iter_mut()
            .filter_map(|(chain, active)| Some((*chain, active.flush().err()?)))
            .collect();
        let mut catalog = lock(&self.catalog);
        let mut result = Ok(());
        for (chain, error) in failed {
            self.close(&mut actives, &mut catalog, chain);
            result = Err(error);
        }
        result
    }

    // --- Reading -----------------------------------------------------------

    /// Reads the record at `from`. `reader` is kept by the caller between calls,
    /// so that reading on is cheap.
    pub(crate) fn read(
        &self,
        chain: Chain,
        from: u64,
        reader: &mut Option<SegmentReader>,
    ) -> Result<Read> {
        let segment = {
            let catalog = lock(&self.catalog);
            let segments = catalog.get(&chain).map(Vec::as_slice).unwrap_or_default();
            let Some(segment) = segments.iter().find(|segment| from < segment.next) else {
                return Ok(Read::End);
            };
            if from < segment.first() {
                return Ok(Read::LostUpTo(segment.first()));
            }
            segment.clone()
        };
        let path = self.context.path(&segment.name);
        if reader.as_ref().is_none_or(|reader| !reader.is_of(&segment.name, segment.head.nonce)) {
            let file = match self.context.disk.open(&path, Open::Read) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Read::LostUpTo(segment.next));
                }
                opened => opened.doing("open a segment", &path)?,
            };
            let mut opened =
                SegmentReader::new(&segment.name, Arc::from(file), &segment.head, segment.end);
            opened.skip_checksums = self.context.options.sabotage_skip_checksums;
            opened.seek(from).doing("read a segment", &path)?;
            *reader = Some(opened);
        }
        let Some(reader) = reader else { return Ok(Read::End) };
        reader.extend_to(segment.end);
        self.read_with(reader, &segment, from).doing("read a segment", &path)
    }

    fn read_with(
        &self,
        reader: &mut SegmentReader,
        segment: &Segment,
        from: u64,
    ) -> std::io::Result<Read> {
        if reader.position() > from {
            reader.seek(from)?;
        }
        loop {
            match reader.peek()? {
                None => return Ok(Read::LostUpTo(segment.next)),
                Some((sequence, _)) if sequence < from => reader.step(),
                Some((sequence, _)) if sequence > from => {
                    return Ok(Read::LostUpTo(sequence.min(segment.next)));
                }
                Some((_, line)) => {
                    let record = parse_line(line);
                    reader.step();
                    return Ok(match record {
                        Ok(record) => Read::Record(Box::new(record)),
                        Err(_) => Read::LostUpTo(from + 1),
                    });
                }
            }
        }
    }

    // --- Maintenance -------------------------------------------------------

    /// Writes free pages ahead of the writers, so that commits need one flush.
    pub(crate) fn grow(&self) -> Result<()> {
        self.growth_asked.store(false, Ordering::Relaxed);
        let due: Vec<(Chain, Growth)> = {
            let mut actives = lock(&self.actives);
            let mut due = Vec::new();
            for (chain, active) in actives.iter_mut() {
                due.extend(active.growth(&self.context)?.map(|growth| (*chain, growth)));
            }
            due
        };
        for (chain, growth) in due {
            growth.run(&self.context)?;
            let mut actives = lock(&self.actives);
            if let Some(active) = actives.get_mut(&chain) {
                active.grown(&growth);
                let mut catalog = lock(&self.catalog);
                if let Some(segment) = catalog.get_mut(&chain).and_then(|list| list.last_mut()) {
                    segment.len = active.prepared;
                }
            }
        }
        Ok(())
    }

    /// Seals one closed segment. `Ok(false)`: there is none.
    pub(crate) fn seal_one(&self) -> Result<bool> {
        let due = {
            let catalog = lock(&self.catalog);
            // Only what this process wrote or adopted is closed; others seal their own.
            catalog.values().flatten().find(|segment| segment.state == State::Closed).cloned()
        };
        let Some(segment) = due else { return Ok(false) };
        if segment.next == segment.first() {
            self.remove(&segment.name)?;
            return Ok(true);
        }
        let sealed =
            seal::seal(&self.context, &segment.name, &segment.head, segment.end, segment.next)?;
        self.context.quota.release(on_disk(segment.len));
        self.context.quota.add(on_disk(sealed.len));
        let mut catalog = lock(&self.catalog);
        let entry = catalog.values_mut().flatten().find(|entry| entry.name == segment.name);
        if let Some(entry) = entry {
            entry.state = State::Sealed;
            entry.len = sealed.len;
            entry.end = sealed.len;
            entry.head = sealed.head;
        }
        Ok(true)
    }

    /// Closes an open segment, so that it can be removed or sealed.
    pub(crate) fn rotate(&self, chain: Chain) {
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        self.close(&mut actives, &mut catalog, chain);
    }

    /// Removes a segment that nobody appends to. The chain's last segment leaves an
    /// empty successor, so that its sequences are not given away again.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let found = {
            let catalog = lock(&self.catalog);
            catalog.iter().find_map(|(chain, segments)| {
                let index = segments.iter().position(|segment| segment.name == name)?;
                let segment = segments.get(index)?.clone();
                Some((*chain, segment, index + 1 == segments.len()))
            })
        };
        let Some((chain, segment, is_last)) = found else { return Ok(()) };
        if is_last && chain.writer == self.writer {
            self.skip_to(chain, segment.next)?;
        } else if is_last {
            return Ok(());
        }
        let path = self.context.path(name);
        let mut catalog = lock(&self.catalog);
        self.context.disk.remove(&path).doing("remove a segment", &path)?;
        self.context
            .disk
            .sync_dir(&self.context.dir)
            .doing("sync the spool folder", &self.context.dir)?;
        self.context.quota.release(on_disk(segment.len));
        if let Some(segments) = catalog.get_mut(&chain) {
            segments.retain(|other| other.name != name);
        }
        Ok(())
    }

    /// Gives a segment the name that says that all of it is delivered.
    pub(crate) fn mark_synced(&self, name: &str) -> Result<()> {
        let new_name = name::synced(name);
        if new_name == name {
            return Ok(());
        }
        let (from, to) = (self.context.path(name), self.context.path(&new_name));
        let mut catalog = lock(&self.catalog);
        self.context.disk.rename(&from, &to).doing("rename a segment", &from)?;
        for segment in catalog.values_mut().flatten().filter(|segment| segment.name == name) {
            segment.name.clone_from(&new_name);
        }
        Ok(())
    }
}

fn data_header(chain: Chain, first: u64, count: usize) -> Header {
    Header {
        kind: Kind::Data,
        nonce: 0,
        commit: 0,
        commit_offset: 0,
        chain,
        first_sequence: first,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        content_len: 0,
        total_len: 0,
        content_crc: 0,
    }
}

/// A segment ends where the next of its chain begins: what stands behind was
/// written by a commit that failed.
fn close_the_gaps(segments: &mut [Segment]) {
    for index in 1..segments.len() {
        let Some([before, after]) = segments.get_mut(index - 1..=index) else { continue };
        before.next = after.first();
        if before.state == State::Foreign {
            before.end = before.len;
        }
    }
}

/// Of the last commit only what is whole from its start counts: the rest was never
/// acknowledged, or is damaged past telling. Its pages become foreign ones, which are
/// put in quarantine.
fn drop_torn_commit(found: &mut scan::Scan, file: &dyn DiskFile) -> std::io::Result<()> {
    let Some(last) = found.members.last().map(|member| member.header.commit) else { return Ok(()) };
    let start = found.members.partition_point(|member| member.header.commit != last);
    let mut of_commit = found.members.split_off(start).into_iter();
    let mut expected_offset = 0;
    for member in of_commit.by_ref() {
        if member.header.commit_offset != expected_offset || member.records(file)?.is_none() {
            found.foreign_pages.extend((member.offset..member.end()).step_by(PAGE));
            break;
        }
        expected_offset += member.header.total_len;
        found.members.push(member);
    }
    for member in of_commit {
        found.foreign_pages.extend((member.offset..member.end()).step_by(PAGE));
    }
    found.foreign_pages.sort_unstable();
    Ok(())
}

/// The first sound data member on a page of a file whose head cannot be read.
fn first_member(file: &dyn DiskFile, len: u64) -> std::io::Result<Option<Header>> {
    let mut offset = PAGE as u64;
    while offset < len {
        let mut bytes = vec![0; member::HEADER_LEN];
        let read = file.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        if let Ok(header) = member::read_header(&bytes)
            && header.kind == Kind::Data
        {
            return Ok(Some(header));
        }
        offset += PAGE as u64;
    }
    Ok(None)
}
