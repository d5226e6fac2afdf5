//! The file of a chain that records are appended to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::form::Form;
use super::head::{Head, Note};
use super::header::Header;
use super::member::{self, PAGE};
use super::name;
use super::scan::{self, Scan};
use crate::context::{Context, create_anew};
use crate::disk::{DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::id::Chain;

/// An open segment. Committed pages are never written again.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) name: String,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// A second handle, for the free pages that are written apart from the writer. That
    /// a flush has failed is told once through each handle, and commits have to hear it
    /// too: the flush of free pages may have had pages of a commit to save.
    beside: Arc<dyn DiskFile>,
    pub(crate) head: Head,
    /// Where the next commit goes.
    pub(crate) frontier: u64,
    /// Pages from the frontier to here are written as free pages.
    pub(crate) prepared: u64,
    /// How far the next stretch of free pages reaches.
    pub(crate) extent: u64,
    commit: u32,
    /// The next record's sequence.
    pub(crate) next: u64,
    /// Records before this sequence are durable.
    flushed: u64,
    /// A flush has failed: what it should have saved, no later one does.
    has_failed: bool,
    /// Held while free pages are being written, by whoever does it.
    growing: Arc<Mutex<()>>,
}

/// A segment's handle for commits, and the one for free pages beside them.
type Handles = [Arc<dyn DiskFile>; 2];

/// How a new segment begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// The sequence of its first record.
    pub(crate) first: u64,
    /// Its place among the segments of its chain.
    pub(crate) ordinal: u64,
    /// Bytes of free pages to write at once.
    pub(crate) prepared: u64,
    /// Bytes of free pages to write ahead later.
    pub(crate) extent: u64,
}

/// Work for the maintenance thread: free pages to write ahead of the writer.
#[derive(Debug)]
pub(crate) struct Growth {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    filler: Vec<u8>,
    pub(crate) nonce: u64,
    from: u64,
    pub(crate) to: u64,
    growing: Arc<Mutex<()>>,
}

impl Active {
    /// Makes a new segment whose first record will have the sequence `first`, with
    /// room for `wanted` bytes. Its name is durable when this returns.
    pub(crate) fn create(
        context: &Context,
        form: Form,
        chain: Chain,
        start: Start,
        wanted: u64,
    ) -> Result<Self> {
        let Start { first, ordinal, prepared, extent } = start;
        let moment = context.clock.now();
        let head = Head {
            form,
            nonce: draw_nonce(),
            chain,
            first_sequence: first,
            note: Note {
                device: context.identity.device().to_string(),
                epoch: context.identity.epoch().to_string(),
                created: moment.wall.to_string(),
                ordinal,
                sealed: None,
            },
        };
        let frontier = head.encode().len() as u64;
        let len = frontier + prepared.max(wanted).next_multiple_of(PAGE as u64);
        context.quota.reserve(&*context.disk, &context.dir, len)?;
        let made = Self::write_new(context, &head, len, &moment.wall.day());
        let (name, path, [file, beside]) = made.inspect_err(|_| context.quota.release(len))?;
        Ok(Self {
            name,
            path,
            file,
            beside,
            head,
            frontier,
            prepared: len,
            extent,
            commit: 0,
            next: first,
            flushed: first,
            has_failed: false,
            growing: Arc::default(),
        })
    }

    /// Writes under a temporary name, so that no reader ever sees half a segment.
    fn write_new(
        context: &Context,
        head: &Head,
        len: u64,
        day: &str,
    ) -> Result<(String, PathBuf, Handles)> {
        let temporary = context.state(&format!("new-{}.tmp", head.chain));
        let file = create_anew(&*context.disk, &temporary)?;
        let beside = open_beside(context, &temporary)?;
        let page = head.encode();
        file.write_all_at(&page, 0).doing("write a segment", &temporary)?;
        let filler = head.free_page();
        write_free_pages(&*file, &filler, page.len() as u64, len)
            .map_err(|(_, error)| Error::io("write a segment", &temporary, error))?;
        file.flush().doing("flush a segment", &temporary)?;
        let _names = context.lock_names()?;
        let name = next_name(context, day, head.form)?;
        let path = context.path(&name);
        context.disk.rename(&temporary, &path).doing("name a segment", &path)?;
        if let Err(error) = context.disk.sync_dir(&context.dir) {
            // Nobody will write to it: it must not stand beside the one that is made next.
            let _ = context.disk.remove(&path);
            return Err(error).doing("sync the spool folder", &context.dir);
        }
        Ok((name, path, [Arc::from(file), beside]))
    }

    /// Takes over a segment that nobody writes to any more. Torn pages after its
    /// last commit are put in quarantine and made free again. `Ok(None)`: the
    /// segment has damage before its end and stays closed.
    pub(crate) fn adopt(
        context: &Context,
        segment_name: &str,
        head: Head,
        found: &Scan,
    ) -> Result<Option<Self>> {
        let path = context.path(segment_name);
        let file = context.disk.open(&path, Open::Write).doing("open a segment", &path)?;
        let beside = open_beside(context, &path)?;
        let frontier = found.frontier(PAGE as u64);
        if found.foreign_pages.iter().any(|&offset| offset < frontier) {
            return Ok(None);
        }
        let before = file.len().doing("measure a segment", &path)?;
        free_pages(context, &*file, segment_name, &head, &found.foreign_pages)?;
        let len = before.next_multiple_of(PAGE as u64);
        file.set_len(len).doing("round a segment to whole pages", &path)?;
        file.flush().doing("flush a segment", &path)?;
        let last = found.members.last();
        let next = last.map_or(head.first_sequence, scan::Member::next_sequence);
        Ok(Some(Self {
            name: segment_name.to_owned(),
            path,
            file: Arc::from(file),
            beside,
            frontier,
            prepared: len,
            extent: context.options.first_extent_bytes,
            commit: last.map_or(0, |member| member.header.commit),
            next,
            flushed: next,
            head,
            has_failed: false,
            growing: Arc::default(),
        }))
    }

    /// Writes one commit: whole pages of members whose nonce and commit number
    /// are set here. Does not flush. After an error the segment must be closed.
    pub(crate) fn write(
        &mut self,
        context: &Context,
        commit: &mut [u8],
        records: u64,
    ) -> Result<()> {
        self.ensure_prepared(context, commit.len() as u64)?;
        let end = self.frontier + commit.len() as u64;
        self.commit += 1;
        stamp_members(commit, self.head.nonce, self.commit);
        self.file.write_all_at(commit, self.frontier).doing("write to a segment", &self.path)?;
        self.frontier = end;
        self.next += records;
        Ok(())
    }

    /// Makes everything written so far durable. After an error the segment must be closed.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.flushed < self.next {
            let flushed = self.file.flush();
            self.has_failed |= flushed.is_err();
            flushed.doing("flush a segment", &self.path)?;
            self.flushed = self.next;
        }
        Ok(())
    }

    /// Sees to it that `bytes` more fit into prepared pages, extending them where
    /// the quota allows. Nothing of a commit is written yet.
    pub(crate) fn ensure_prepared(&mut self, context: &Context, bytes: u64) -> Result<()> {
        let end = self.frontier + bytes;
        if end > self.prepared { self.extend(context, end) } else { Ok(()) }
    }

    fn extend(&mut self, context: &Context, end: u64) -> Result<()> {
        let growing = Arc::clone(&self.growing);
        let _exclusive = growing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have grown the file while this one waited for it.
        self.prepared = self.file.len().doing("measure a segment", &self.path)?;
        if end > self.prepared {
            let ahead = (self.prepared + self.extent).max(end);
            // Where there is no room to write ahead there may be enough to go on.
            let growth = |to| self.growth_to(context, &self.file, to);
            let growth = growth(ahead).or_else(|_| growth(end))?;
            growth.write(context)?;
            self.prepared = growth.to;
        }
        Ok(())
    }

    fn growth_to(&self, context: &Context, file: &Arc<dyn DiskFile>, to: u64) -> Result<Growth> {
        let bytes = to - self.prepared;
        context.quota.reserve(&*context.disk, &context.dir, bytes)?;
        Ok(Growth {
            file: Arc::clone(file),
            path: self.path.clone(),
            filler: self.head.free_page(),
            nonce: self.head.nonce,
            from: self.prepared,
            to,
            growing: Arc::clone(&self.growing),
        })
    }

    /// Whether free pages are worth writing ahead: less than half an extent is left.
    pub(crate) fn wants_growth(&self, context: &Context) -> bool {
        let left = self.prepared - self.frontier;
        left < self.extent / 2 && self.prepared < context.options.segment_bytes
    }

    /// The free pages worth writing ahead.
    pub(crate) fn growth(&mut self, context: &Context) -> Result<Option<Growth>> {
        if !self.wants_growth(context) {
            return Ok(None);
        }
        let limit = context.options.segment_bytes;
        self.extent = (self.extent * 2).min(context.options.largest_extent());
        let to = (self.prepared + self.extent).min(limit).next_multiple_of(PAGE as u64);
        self.growth_to(context, &self.beside, to).map(Some)
    }

    /// Takes over what the maintenance thread wrote ahead.
    pub(crate) fn grown(&mut self, growth: &Growth) {
        if self.head.nonce == growth.nonce {
            self.prepared = self.prepared.max(growth.to);
        }
    }

    /// The members from `end` on that can be read, from the sequence `next` on without
    /// a gap. Where the disk gives none, nobody else got one.
    pub(crate) fn readable_from(&self, end: u64, next: u64) -> Vec<scan::Member> {
        let found = scan::scan(&*self.file, self.head.nonce, end).unwrap_or_default();
        let mut expected = next;
        let is_sound = move |member: &scan::Member| {
            let is_next = member.header.first_sequence == expected;
            expected = member.next_sequence();
            is_next && member.records(&*self.file).is_ok_and(|records| records.is_some())
        };
        found.members.into_iter().take_while(is_sound).collect()
    }

    /// Cuts off what stands after `end`, where the records before `next` end. Called when
    /// nothing more will be appended.
    pub(crate) fn close(mut self, context: &Context, end: u64, next: u64) -> Closed {
        let growing = Arc::clone(&self.growing);
        let _exclusive = growing.lock().unwrap_or_else(PoisonError::into_inner);
        // Part of a commit that failed may count.
        self.next = next;
        let is_durable = self.flushed >= next || (!self.has_failed && self.flush().is_ok());
        let len = self.file.len().unwrap_or(self.prepared);
        if let Err(error) = self.file.set_len(end) {
            tracing::warn!(path = %self.path.display(), %error, "a closed segment keeps its free pages");
            return Closed { len, is_durable };
        }
        context.quota.release(len.saturating_sub(end));
        Closed { len: end, is_durable }
    }
}

/// What is left of a segment that nothing is appended to any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    /// The file's length.
    pub(crate) len: u64,
    /// Whether a power cut leaves all its records.
    pub(crate) is_durable: bool,
}

impl Growth {
    fn write(&self, context: &Context) -> Result<()> {
        write_free_pages(&*self.file, &self.filler, self.from, self.to).map_err(|(at, error)| {
            context.quota.release(self.to - at);
            Error::io("extend a segment", &self.path, error)
        })
    }

    /// Writes and flushes the pages, apart from the writer.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        let _exclusive = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let len = self.file.len().doing("measure a segment", &self.path)?;
        if len != self.from {
            context.quota.release(self.to - self.from);
            return Err(Error::at(ErrorKind::Busy, &self.path, "the segment grew meanwhile"));
        }
        let mut at = self.from;
        while at < self.to {
            let end = (at + GROWTH_STEP).min(self.to);
            let written = write_free_pages(&*self.file, &self.filler, at, end)
                .map_err(|(_, error)| error)
                .and_then(|()| self.file.flush());
            if let Err(error) = written {
                context.quota.release(self.to - at);
                return Err(Error::io("extend a segment", &self.path, error));
            }
            at = end;
        }
        Ok(())
    }
}

fn open_beside(context: &Context, path: &Path) -> Result<Arc<dyn DiskFile>> {
    context.disk.open(path, Open::Write).doing("open a segment", path).map(Arc::from)
}

/// Free pages flushed at a time while a writer is at work: its own flush waits for
/// whatever is dirty in the file.
const GROWTH_STEP: u64 = 256 << 10;

/// Fills a file with free pages. An error comes with the place that was reached.
fn write_free_pages(
    file: &dyn DiskFile,
    filler: &[u8],
    from: u64,
    to: u64,
) -> std::result::Result<(), (u64, std::io::Error)> {
    /// Pages per system call: 256 KiB are enough to keep a disk busy.
    const AT_ONCE: usize = 64;
    let pages = filler.repeat(AT_ONCE);
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(pages.len());
        file.write_all_at(pages.get(..len).unwrap_or_default(), at).map_err(|error| (at, error))?;
        at += len as u64;
    }
    Ok(())
}

/// Saves torn pages and makes them free.
fn free_pages(
    context: &Context,
    file: &dyn DiskFile,
    segment_name: &str,
    head: &Head,
    offsets: &[u64],
) -> Result<()> {
    let path = context.path(segment_name);
    let filler = head.free_page();
    let mut torn = Vec::new();
    for &offset in offsets {
        let mut page = vec![0; PAGE];
        let read = file.read_at(&mut page, offset).doing("read a segment", &path)?;
        page.truncate(read);
        torn.extend_from_slice(&page);
    }
    if let (Some(first), true) = (offsets.first(), torn.iter().any(|&byte| byte != 0)) {
        context.quarantine(&format!("{segment_name}@{first}.torn"), &torn)?;
    }
    for &offset in offsets {
        file.write_all_at(&filler, offset).doing("free a torn page", &path)?;
    }
    Ok(())
}

/// Sets nonce and commit number in the headers of the members in `commit`.
fn stamp_members(commit: &mut [u8], nonce: u64, number: u32) {
    let mut at = 0;
    while let Some(member) = commit.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let Ok(header) = member::read_header(member) else { return };
        let commit_offset = u32::try_from(at).unwrap_or(u32::MAX);
        member::restamp(member, &Header { nonce, commit: number, commit_offset, ..header });
        at += usize::try_from(header.total_len).unwrap_or(usize::MAX).max(1);
    }
}

pub(super) fn next_name(context: &Context, day: &str, form: Form) -> Result<String> {
    let entries = context.disk.list(&context.dir).doing("list the spool folder", &context.dir)?;
    let number = entries
        .iter()
        .filter_map(|entry| name::parse(&entry.name))
        .filter(|(entry_day, _)| *entry_day == day)
        .map(|(_, number)| number + 1)
        .max()
        .unwrap_or(0);
    Ok(name::format(day, number, form))
}

pub(crate) fn draw_nonce() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}
