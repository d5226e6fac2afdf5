//! What the store knows of its files, and how it finds that out.

use std::collections::BTreeMap;
use std::path::Path;

use super::head::{Head, Note};
use super::header::{FORMAT_VERSION, Fault, Header, Kind};
use super::member::{self, PAGE};
use super::{SegmentStore, index, lock, name, scan};
use crate::clock::Timestamp;
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::id::Chain;

/// One file of a chain, as the catalog knows it.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(super) head: Head,
    pub(crate) state: State,
    /// Records stand in the file up to this byte.
    pub(super) end: u64,
    /// The sequence after the segment's last record.
    pub(crate) next: u64,
    /// The file's length.
    pub(crate) len: u64,
    /// The head was made up from the members: its page is damaged. The segment is
    /// written anew as soon as nobody appends to it.
    pub(super) lost_head: bool,
    /// A dead writer left it without records, for whoever gets its number next.
    pub(super) is_left: bool,
    /// A flush of it has failed: its records can be read, but a power cut may take those
    /// back that were not durable before. It is written anew, and that has to be durable.
    pub(super) is_doubtful: bool,
}

impl Segment {
    pub(crate) fn first(&self) -> u64 {
        self.head.first_sequence
    }

    /// Whether it is to be taken over, should its writer be dead.
    pub(super) fn wants_adoption(&self) -> bool {
        match self.state {
            State::Foreign => !self.is_left || self.next > self.first(),
            State::Sealed => self.lost_head,
            State::Active | State::Closed => false,
        }
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

impl SegmentStore {
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
        self.next_in(&lock(&self.catalog), chain)
    }

    /// The sequence that the chain's next record gets.
    pub(super) fn next_in(&self, catalog: &BTreeMap<Chain, Vec<Segment>>, chain: Chain) -> u64 {
        let last = catalog.get(&chain).and_then(|list| list.last()).map_or(1, |last| last.next);
        lock(&self.reached).get(&chain).copied().unwrap_or(1).max(last)
    }

    /// Up to where the places of a chain are to be noted in the ledger before its records
    /// from `first` to `last` are offered. A flush that succeeds proves something to those
    /// alone who had the file open before it was written: what others wrote, or this
    /// process could not flush, may be readable, and gone after a power cut.
    pub(crate) fn to_be_noted(&self, chain: Chain, first: u64, last: u64) -> Option<u64> {
        if chain.writer != self.writer {
            return Some(self.next(chain));
        }
        let found = self.found.get(&chain).copied().unwrap_or(1);
        let is_doubtful = || {
            let catalog = lock(&self.catalog);
            catalog.get(&chain).is_some_and(|list| list.iter().any(|one| one.is_doubtful))
        };
        (first < found || is_doubtful()).then(|| found.max(last + 1))
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
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        let dir = &self.context.dir;
        let entries = self.context.disk.list(dir).doing("list the spool folder", dir)?;
        let mut present: Vec<(String, u64)> = entries
            .into_iter()
            .filter(|entry| !entry.is_dir && name::parse(&entry.name).is_some())
            .map(|entry| (entry.name, entry.len))
            .collect();
        present.sort();
        let is_present = |name: &str| present.iter().any(|(present, _)| present == name);
        // The newest segment of a chain of this process says where the chain goes on.
        let removed: Vec<(Chain, u64)> = catalog
            .iter()
            .filter(|(chain, _)| chain.writer == self.writer)
            .filter_map(|(chain, segments)| Some((*chain, segments.last()?)))
            .filter(|(_, newest)| !is_present(&newest.name))
            .map(|(chain, newest)| (chain, newest.next))
            .collect();
        for segments in catalog.values_mut() {
            segments.retain(|segment| is_present(&segment.name));
        }
        for (name, len) in present {
            let known = catalog.values().flatten().find(|segment| segment.name == name);
            if known.is_none_or(|segment| segment.state != State::Active && segment.len != len) {
                self.load(&mut catalog, &name, len)?;
            }
        }
        lock(&self.reached).extend(removed.iter().copied());
        for (chain, next) in removed {
            self.replace_removed(&mut actives, &mut catalog, chain, next)?;
        }
        catalog.retain(|_, segments| !segments.is_empty());
        for (chain, segments) in catalog.iter_mut() {
            close_the_gaps(segments);
            // Its own open segments are adopted when the spool is opened.
            let open = segments.last_mut().filter(|last| last.state == State::Foreign);
            if let Some(open) = open.filter(|_| chain.writer != self.writer) {
                self.follow(open)?;
            }
        }
        Ok(())
    }

    /// Adds segments of other processes that the last listing lacks: a folder that is
    /// listed while files are named in it may show a later one and not an earlier one.
    pub(crate) fn look_again(&self) -> Result<()> {
        let mut catalog = lock(&self.catalog);
        let dir = &self.context.dir;
        for entry in self.context.disk.list(dir).doing("list the spool folder", dir)? {
            let is_known = catalog.values().flatten().any(|segment| segment.name == entry.name);
            if !is_known && !entry.is_dir && name::parse(&entry.name).is_some() {
                self.load(&mut catalog, &entry.name, entry.len)?;
            }
        }
        catalog.values_mut().for_each(|segments| close_the_gaps(segments));
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
        let (mut end, mut next) = (segment.end, segment.next);
        let newest = found.members.last().map(|member| member.header.commit);
        for member in found.members {
            // A later page of a commit may be seen before an earlier one.
            if member.header.first_sequence != next {
                break;
            }
            // An earlier commit was whole before the newest began. Who only reads steps over
            // what was damaged since; to read all of a large file first would take a second.
            let counts_unread = self.context.read_only && Some(member.header.commit) != newest;
            if !counts_unread && member.records(&*file).doing("read a segment", &path)?.is_none() {
                break;
            }
            (end, next) = (member.end(), member.next_sequence());
        }
        if end > segment.end && !self.context.read_only {
            file.flush().doing("flush a segment", &path)?;
        }
        (segment.end, segment.next) = (end, next);
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
        let Some(mut segment) = self.read_segment(&*file, name, len)? else {
            let stays = self.context.read_only || self.context.options.leave_foreign_files;
            return if stays { Ok(()) } else { self.set_aside(name) };
        };
        let known = catalog
            .get(&segment.head.chain)
            .and_then(|segments| segments.iter().find(|known| known.name == name))
            .filter(|known| known.head.nonce == segment.head.nonce);
        if let Some(known) = known.filter(|_| segment.state == State::Foreign) {
            (segment.end, segment.next) = (known.end, known.next);
        }
        let segments = catalog.entry(segment.head.chain).or_default();
        segments.retain(|other| other.name != segment.name);
        segments.push(segment);
        segments.sort_by_key(|segment| (segment.first(), segment.head.note.ordinal));
        Ok(())
    }

    /// What a file says of itself. `Ok(None)`: it is no segment.
    pub(super) fn read_segment(
        &self,
        file: &dyn DiskFile,
        name: &str,
        len: u64,
    ) -> Result<Option<Segment>> {
        let Some((head, lost_head)) = self.head_of(file, name)? else { return Ok(None) };
        let mut segment = Segment {
            name: name.to_owned(),
            state: State::Foreign,
            end: PAGE as u64,
            next: head.first_sequence,
            len,
            head,
            lost_head,
            is_left: false,
            is_doubtful: false,
        };
        if let Some(sealed) = &segment.head.note.sealed {
            segment.state = State::Sealed;
            segment.next = sealed.next_sequence;
            segment.end = len;
        }
        Ok(Some(segment))
    }

    /// The head of a segment; where its page is damaged, what the members tell, and
    /// `true`. `Ok(None)`: nothing in the file says that it is a segment.
    fn head_of(&self, file: &dyn DiskFile, segment_name: &str) -> Result<Option<(Head, bool)>> {
        let path = self.context.path(segment_name);
        let mut page = vec![0; PAGE];
        let read = file.read_at(&mut page, 0).doing("read a segment", &path)?;
        page.truncate(read);
        match Head::parse(&page) {
            Ok(Some(head)) => return Ok(Some((head, false))),
            Ok(None) => {}
            Err(Fault::Unsupported(version, features)) => {
                return Err(Error::at(
                    ErrorKind::Unsupported,
                    &path,
                    format!(
                        "the segment has format {version} with features {features:#x}, this program \
                         knows format {}: use a newer backhaul",
                        FORMAT_VERSION
                    ),
                ));
            }
            Err(Fault::Damaged) => {}
        }
        let len = file.len().doing("measure a segment", &path)?;
        let Some(first) = first_member(file, len).doing("read a segment", &path)? else {
            return Ok(None);
        };
        tracing::warn!(path = %path.display(), "a segment's first page is damaged; its members are read without it");
        let sealed = index::sealed(file, first.nonce).doing("read a segment", &path)?;
        let head = Head {
            form: first.form,
            nonce: first.nonce,
            chain: first.chain,
            first_sequence: first.first_sequence,
            note: Note {
                device: self.context.identity.device().to_string(),
                epoch: self.context.identity.epoch().to_string(),
                created: String::new(),
                ordinal: 0,
                sealed,
            },
        };
        Ok(Some((head, true)))
    }

    /// Moves a file that is no segment out of the way, whole.
    fn set_aside(&self, name: &str) -> Result<()> {
        let (disk, path) = (&self.context.disk, self.context.path(name));
        let bytes = crate::context::read_whole(&**disk, &path)?;
        if bytes.iter().any(|&byte| byte != 0) {
            self.context.quarantine(&format!("{name}.foreign"), &bytes)?;
        }
        match disk.remove(&path) {
            // Another process was first.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.doing("remove a file that is no segment", &path)?,
        }
        disk.sync_dir(&self.context.dir).doing("sync the spool folder", &self.context.dir)
    }
}

/// Whether a file is a segment of a spool, by what is in it and whatever it is called: of
/// this format or a newer one, damaged or whole.
///
/// ```
/// use backhaul_store::{Options, OsDisk, Record, Spool, is_segment};
/// # let dir = tempfile::tempdir()?;
/// Spool::open(dir.path(), Options::default())?.append(Record::new("text", b"{}".to_vec()))?;
/// let name = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.path());
/// let files: Vec<_> = std::fs::read_dir(dir.path())?.map(name).collect::<Result<_, _>>()?;
/// let segment = files.iter().find(|path| path.is_file()).unwrap();
/// assert!(is_segment(&OsDisk, segment)?);
/// let other = dir.path().join("20260101_0000.jsonl.gz");
/// std::fs::write(&other, "another's")?;
/// assert!(!is_segment(&OsDisk, &other)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where it cannot be read.
pub fn is_segment(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let file = disk.open(path, Open::Read).doing("open a file", path)?;
    let mut page = vec![0; PAGE];
    let read = file.read_at(&mut page, 0).doing("read a file", path)?;
    page.truncate(read);
    match Head::parse(&page) {
        Ok(Some(_)) | Err(Fault::Unsupported(..)) => return Ok(true),
        Ok(None) | Err(Fault::Damaged) => {}
    }
    let len = file.len().doing("measure a file", path)?;
    Ok(first_member(&*file, len).doing("read a file", path)?.is_some())
}

/// A segment ends where the next of its chain begins: what stands behind was
/// written by a commit that failed.
pub(super) fn close_the_gaps(segments: &mut [Segment]) {
    for index in 1..segments.len() {
        let Some([before, after]) = segments.get_mut(index - 1..=index) else { continue };
        before.next = after.first();
        if before.state == State::Foreign {
            before.end = before.len;
        }
    }
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
