//! Sealing: a closed segment is written once more, in larger and better compressed
//! members without padding, with an index at its end, and takes the old one's name.

use std::sync::Arc;

use super::head::{Head, Sealed};
use super::header::{Header, Kind};
use super::index;
use super::member::{self, Encoder, Level};
use super::reader::{SegmentReader, WholeMember, split};
use super::scan::Member;
use super::writer::draw_nonce;
use crate::context::{Context, create_anew};
use crate::disk::{DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Records per sealed member: most of what compression gains is gained by then
/// (243 bytes a record where single records take 630), and what one damaged byte
/// can cost stays small.
pub(crate) const MEMBER_RECORDS: u32 = 256;
/// Bytes of records per sealed member, so that a reader's memory stays small.
const MEMBER_BYTES: usize = 1 << 20;

/// A member with this many records, or this many bytes of them, is taken over as it
/// was compressed at commit: doing it again would gain a seventh of its size for most
/// of the time that sealing takes.
const WELL_FILLED_RECORDS: u32 = 32;
const WELL_FILLED_BYTES: u32 = 32 << 10;

/// The result of sealing.
#[derive(Debug)]
pub(crate) struct SealedFile {
    pub(crate) head: Head,
    pub(crate) len: u64,
}

/// Seals the segment `name`, which holds the sequences from its head's first up
/// to `next`: a durable file takes that name, which is not durable yet. Members that
/// cannot be read are saved in quarantine and left out: the gap in the sequences
/// says what is missing.
pub(crate) fn seal(
    context: &Context,
    name: &str,
    head: &Head,
    end: u64,
    next: u64,
) -> Result<SealedFile> {
    let path = context.path(name);
    let source: Arc<dyn DiskFile> =
        Arc::from(context.disk.open(&path, Open::Read).doing("open a segment", &path)?);
    // Room for the worst case, incompressible records, is reserved and given back below.
    context.quota.reserve(&*context.disk, &context.dir, end)?;
    let sealed = write_sealed(context, name, head, &source, end, next);
    context.quota.release(end);
    sealed
}

fn write_sealed(
    context: &Context,
    name: &str,
    head: &Head,
    source: &Arc<dyn DiskFile>,
    end: u64,
    next: u64,
) -> Result<SealedFile> {
    let path = context.path(name);
    let temporary = context.state(&format!("seal-{}.tmp", head.chain));
    let mut writer = Writer::new(head, create_anew(&*context.disk, &temporary)?);
    let mut reader = SegmentReader::new(name, Arc::clone(source), head, end);
    while let Some(WholeMember { member, bytes, records }) =
        reader.next_whole().doing("read a segment", &path)?
    {
        // A commit that failed half way may have left records that a later
        // segment holds under the same sequences.
        let header = &member.header;
        let well_filled =
            header.count >= WELL_FILLED_RECORDS || header.content_len >= WELL_FILLED_BYTES;
        let written = if well_filled && member.next_sequence() <= next {
            writer.copy(&member, &bytes)
        } else {
            split(&records, header)
                .into_iter()
                .filter(|(sequence, _)| *sequence < next)
                .try_for_each(|(sequence, line)| {
                    writer.push(sequence, records.get(line).unwrap_or_default())
                })
        };
        written.doing("write a sealed segment", &temporary)?;
    }
    if writer.records < next.saturating_sub(head.first_sequence) {
        keep_damaged(context, name, source, writer.records)?;
    }
    let sealed = writer.finish(next).doing("write a sealed segment", &temporary)?;
    let _names = context.lock_names()?;
    if !context
        .disk
        .list(&context.dir)
        .doing("list the spool folder", &context.dir)?
        .iter()
        .any(|entry| entry.name == name)
    {
        let _ = context.disk.remove(&temporary);
        return Err(Error::at(
            ErrorKind::NotFound,
            &path,
            "the segment was removed while it was sealed",
        ));
    }
    context.disk.rename(&temporary, &path).doing("name a sealed segment", &path)?;
    Ok(sealed)
}

/// Before a segment with damage is replaced, its bytes are put aside whole.
fn keep_damaged(
    context: &Context,
    name: &str,
    source: &Arc<dyn DiskFile>,
    found: u64,
) -> Result<()> {
    let path = context.path(name);
    tracing::error!(path = %path.display(), readable = found, "a segment is damaged: its readable records are kept, its bytes are put in quarantine");
    let bytes = crate::context::read_all(&**source).doing("read a segment", &path)?;
    context.quarantine(&format!("{name}.damaged"), &bytes)
}

/// Writes a sealed segment.
#[derive(Debug)]
pub(super) struct Writer {
    head: Head,
    file: Box<dyn DiskFile>,
    at: u64,
    encoder: Encoder,
    first: u64,
    count: u32,
    buffer: Vec<u8>,
    members: Vec<Member>,
    records: u64,
}

impl Writer {
    pub(super) fn new(head: &Head, file: Box<dyn DiskFile>) -> Self {
        let mut head = head.clone();
        head.nonce = draw_nonce();
        // What is not known yet is written at the end: the page has the same length whatever
        // the numbers.
        head.note.sealed = Some(Sealed { records: 0, next_sequence: 0 });
        Self {
            at: head.encode().len() as u64,
            head,
            file,
            encoder: Encoder::new(Level::Seal),
            first: 0,
            count: 0,
            buffer: Vec::new(),
            members: Vec::new(),
            records: 0,
        }
    }

    pub(super) fn push(&mut self, sequence: u64, line: &[u8]) -> std::io::Result<()> {
        let contiguous = sequence == self.first + u64::from(self.count);
        let full = self.count >= MEMBER_RECORDS || self.buffer.len() + line.len() > MEMBER_BYTES;
        if self.count > 0 && (full || !contiguous) {
            self.write_member()?;
        }
        if self.count == 0 {
            self.first = sequence;
        }
        self.buffer.extend_from_slice(line);
        self.count += 1;
        self.records += 1;
        Ok(())
    }

    /// Takes over a member as it is.
    fn copy(&mut self, member: &Member, bytes: &[u8]) -> std::io::Result<()> {
        if self.count > 0 {
            self.write_member()?;
        }
        let header = Header {
            nonce: self.head.nonce,
            commit: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            commit_offset: 0,
            ..member.header
        };
        self.records += u64::from(header.count);
        match member::repack(bytes, &header) {
            Some(packed) => self.append(&packed, header),
            None => Ok(()),
        }
    }

    fn append(&mut self, bytes: &[u8], header: Header) -> std::io::Result<()> {
        self.file.write_all_at(bytes, self.at)?;
        let written = member::read_header(bytes).unwrap_or(header);
        self.members.push(Member { offset: self.at, header: written });
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn write_member(&mut self) -> std::io::Result<()> {
        let header = Header {
            nonce: self.head.nonce,
            commit: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            first_sequence: self.first,
            count: self.count,
            ..Header::new(self.head.form, Kind::Data, self.head.chain)
        };
        let mut bytes = Vec::new();
        self.encoder.data(&header, &self.buffer, false, &mut bytes);
        self.append(&bytes, header)?;
        self.buffer.clear();
        self.count = 0;
        Ok(())
    }

    /// `next`: the sequence after the last of its records, whether that could be read or not.
    pub(super) fn finish(mut self, next: u64) -> std::io::Result<SealedFile> {
        if self.count > 0 {
            self.write_member()?;
        }
        let index = index::encode(&self.head, &self.members);
        self.file.write_all_at(&index, self.at)?;
        if let Some(sealed) = &mut self.head.note.sealed {
            *sealed = Sealed { records: self.records, next_sequence: next };
        }
        self.file.write_all_at(&self.head.encode(), 0)?;
        self.file.flush()?;
        Ok(SealedFile { head: self.head, len: self.at + index.len() as u64 })
    }
}
