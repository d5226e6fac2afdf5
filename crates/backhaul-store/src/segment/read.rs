//! Reading records of a chain, wherever they stand.

use std::sync::Arc;

use super::catalog::Segment;
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

impl SegmentStore {
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
}
