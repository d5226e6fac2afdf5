//! Reading records of a chain, wherever they stand.

use std::sync::Arc;

use super::catalog::Segment;
use super::head::Head;
use super::member::PAGE;
use super::{SegmentReader, SegmentStore, lock};
use crate::disk::Open;
use crate::error::{IoContext, Result};
use crate::id::Chain;
use crate::record::{StoredRecord, parse_line};

/// What reading one place of a chain gives.
#[derive(Debug)]
pub(crate) enum Read {
    Record(Box<StoredRecord>),
    /// The records from the place asked for up to this sequence are damaged.
    LostUpTo(u64),
    /// The place was not written yet.
    End,
}

/// Where a sequence is to be found.
enum Found {
    /// In the segment that the reader has open, which reaches to this byte and sequence.
    Here(u64, u64),
    /// In this one.
    Elsewhere(Box<Segment>),
    /// Nowhere: the next record that there is has this sequence.
    Before(u64),
    /// Not written yet.
    Nowhere,
}

impl SegmentStore {
    /// Reads the record at `from`. `reader` is kept by the caller between calls,
    /// so that reading on is cheap.
    pub(crate) fn read(
        &self,
        chain: Chain,
        from: u64,
        reader: &mut Option<SegmentReader>,
    ) -> Result<Read> {
        let mut missing = None;
        loop {
            let (end, next) = match self.find(chain, from, reader.as_ref()) {
                Found::Nowhere => return Ok(Read::End),
                Found::Before(sequence) => return Ok(Read::LostUpTo(sequence)),
                Found::Here(end, next) => (end, next),
                Found::Elsewhere(segment) => match self.open_reader(&segment, from)? {
                    Some(opened) => {
                        let end = opened.end();
                        *reader = Some(opened);
                        (end, segment.next)
                    }
                    // It may just have got the name that says that it is delivered.
                    None if missing.as_ref() == Some(&segment.name) => {
                        return Ok(Read::LostUpTo(segment.next));
                    }
                    None => {
                        missing = Some(segment.name);
                        continue;
                    }
                },
            };
            let Some(reader) = reader else { return Ok(Read::End) };
            reader.extend_to(end);
            return read_with(reader, from, next)
                .doing("read a segment", &self.context.path(&reader.name));
        }
    }

    fn find(&self, chain: Chain, from: u64, reader: Option<&SegmentReader>) -> Found {
        let catalog = lock(&self.catalog);
        let segments = catalog.get(&chain).map(Vec::as_slice).unwrap_or_default();
        let Some(segment) = segments.iter().find(|segment| from < segment.next) else {
            return Found::Nowhere;
        };
        if from < segment.first() {
            return Found::Before(segment.first());
        }
        match reader {
            Some(reader) if reader.is_of(&segment.name, segment.head.nonce) => {
                Found::Here(segment.end, segment.next)
            }
            _ => Found::Elsewhere(Box::new(segment.clone())),
        }
    }

    /// Opens a segment at a sequence. The file tells what it is: it may have been
    /// sealed since the catalog was looked at. `Ok(None)`: there is no such file.
    pub(super) fn open_reader(
        &self,
        segment: &Segment,
        from: u64,
    ) -> Result<Option<SegmentReader>> {
        let path = self.context.path(&segment.name);
        let file = match self.context.disk.open(&path, Open::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.doing("open a segment", &path)?,
        };
        let mut page = vec![0; PAGE];
        let read = file.read_at(&mut page, 0).doing("read a segment", &path)?;
        page.truncate(read);
        let head = Head::parse(&page).ok().flatten();
        let end = match &head {
            Some(head) if head.note.sealed.is_some() => {
                file.len().doing("measure a segment", &path)?
            }
            _ => segment.end,
        };
        let head = head.as_ref().unwrap_or(&segment.head);
        let mut reader = SegmentReader::new(&segment.name, Arc::from(file), head, end);
        reader.skip_checksums = self.context.options.sabotage_skip_checksums;
        reader.seek(from).doing("read a segment", &path)?;
        Ok(Some(reader))
    }
}

/// Reads the record at `from` in a segment that ends before the sequence `next`.
fn read_with(reader: &mut SegmentReader, from: u64, next: u64) -> std::io::Result<Read> {
    if reader.position() > from {
        reader.seek(from)?;
    }
    loop {
        match reader.peek()? {
            None => return Ok(Read::LostUpTo(next)),
            Some((sequence, _)) if sequence < from => reader.step(),
            Some((sequence, _)) if sequence > from => {
                return Ok(Read::LostUpTo(sequence.min(next)));
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
