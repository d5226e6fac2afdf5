//! A member as gzip: a complete gzip stream, so any number of them one after another is
//! a gzip file to every reader. Ours carries a header of its own in gzip's extra field,
//! which other readers skip. Bytes are described in `docs/format.md`.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::form::Form;
use super::header::{FIELDS_LEN, Fault, Header, get, put};
use super::member::{Level, PAGE};

const GZIP_HEAD: usize = 12; // RFC 1952: ten bytes and the length of the extra field.
const SUBFIELD_HEAD: usize = 4;
const TRAILER: usize = 8;
const EMPTY_DEFLATE: [u8; 2] = [0x03, 0x00];

const FIELDS: usize = GZIP_HEAD + SUBFIELD_HEAD;
const HEADER_CRC: usize = FIELDS + FIELDS_LEN;

/// Bytes from a member's start to the end of our header.
pub(super) const HEADER_LEN: usize = HEADER_CRC + 4;

/// What follows the note in the file: an empty deflate stream and gzip's trailer.
pub(super) const AFTER_NOTE: usize = EMPTY_DEFLATE.len() + TRAILER;

/// The extra field's length is 16 bits wide, and so bounds what it can carry.
const MAX_EXTRA: usize = u16::MAX as usize;
/// Most bytes that [`encode_note`] takes.
pub(super) const MAX_NOTE: usize = MAX_EXTRA - (HEADER_LEN - GZIP_HEAD) - PAGE;

/// Whether a member may start here, as far as its first bytes tell.
pub(super) fn may_start(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Writes gzip's fixed head and our header over the start of `member`.
fn write_header(member: &mut [u8], header: &Header, extra_len: usize) {
    let extra_len = u16::try_from(extra_len).unwrap_or(u16::MAX);
    put(member, 0, [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
    put(member, 10, extra_len.to_le_bytes());
    put(member, GZIP_HEAD, *b"BH");
    put(member, GZIP_HEAD + 2, extra_len.saturating_sub(4).to_le_bytes());
    put(member, FIELDS, header.fields());
    let crc = crc32fast::hash(member.get(..HEADER_CRC).unwrap_or_default());
    put(member, HEADER_CRC, crc.to_le_bytes());
}

/// Rewrites a member's header in place; its lengths stay.
pub(super) fn restamp(member: &mut [u8], header: &Header) {
    let extra_len = get(member, 10).map_or(0, u16::from_le_bytes);
    write_header(member, header, usize::from(extra_len));
}

/// The header at the start of `bytes`.
pub(super) fn read_header(bytes: &[u8]) -> Result<Header, Fault> {
    let (Some(checked), Some(crc)) = (bytes.get(..HEADER_CRC), get(bytes, HEADER_CRC)) else {
        return Err(Fault::Damaged);
    };
    let is_ours = get(checked, GZIP_HEAD) == Some(*b"BH");
    if !is_ours || crc32fast::hash(checked) != u32::from_le_bytes(crc) {
        return Err(Fault::Damaged);
    }
    Header::parse(Form::Gzip, checked.get(FIELDS..).unwrap_or_default())
}

/// Keeps the compressor's memory from one member to the next.
#[derive(Debug)]
pub(super) struct Deflater {
    level: Level,
    deflate: Compress,
}

impl Deflater {
    pub(super) fn new(level: Level) -> Self {
        let compression = match level {
            Level::Commit => Compression::new(1),
            Level::Seal => Compression::new(6),
        };
        Self { level, deflate: Compress::new(compression, false) }
    }

    /// Appends a member that holds `records`.
    pub(super) fn data(
        &mut self,
        header: &Header,
        records: &[u8],
        padded: bool,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let deflated = self.deflate(records);
        let unpadded = HEADER_LEN + deflated.len() + TRAILER;
        let padding = if padded { (PAGE - (start + unpadded) % PAGE) % PAGE } else { 0 };
        let header = header.of(records, unpadded + padding);
        out.resize(start + HEADER_LEN + padding, 0);
        out.extend_from_slice(&deflated);
        out.extend_from_slice(&header.content_crc.to_le_bytes());
        out.extend_from_slice(&header.content_len.to_le_bytes());
        let extra_len = HEADER_LEN - GZIP_HEAD + padding;
        write_header(out.get_mut(start..).unwrap_or_default(), &header, extra_len);
    }

    fn deflate(&mut self, records: &[u8]) -> Vec<u8> {
        if self.level == Level::Commit && records.len() + HEADER_LEN + TRAILER + 5 <= PAGE {
            return stored_block(records);
        }
        self.deflate.reset();
        let mut out = Vec::with_capacity(records.len() / 3 + 256);
        loop {
            let done = usize::try_from(self.deflate.total_in()).unwrap_or(usize::MAX);
            let rest = records.get(done..).unwrap_or_default();
            match self.deflate.compress_vec(rest, &mut out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return out,
                Ok(_) => out.reserve(records.len() / 4 + 1024),
                // The compressor has no input it can refuse; stored blocks are always right.
                Err(_) => return stored_blocks(records),
            }
        }
    }
}

/// A single final stored block (RFC 1951, 3.2.4).
fn stored_block(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(bytes.len() + 5);
    out.push(1);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(bytes);
    out
}

fn stored_blocks(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1000 + 16);
    let mut chunks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(chunk) = chunks.next() {
        let mut block = stored_block(chunk);
        if let Some(first) = block.first_mut().filter(|_| chunks.peek().is_some()) {
            *first = 0;
        }
        out.append(&mut block);
    }
    out
}

/// An empty member whose extra field carries `note`, padded to whole pages where asked.
pub(super) fn encode_note(header: &Header, note: &[u8], padded: bool) -> Vec<u8> {
    let unpadded = Form::Gzip.note_member_len(note.len());
    let total = if padded { unpadded.next_multiple_of(PAGE) } else { unpadded };
    let mut member = vec![0; total];
    if let Some(target) = member.get_mut(HEADER_LEN..HEADER_LEN + note.len()) {
        target.copy_from_slice(note);
    }
    let deflate_at = total - AFTER_NOTE;
    put(&mut member, deflate_at, EMPTY_DEFLATE);
    write_header(&mut member, &header.of(note, total), deflate_at - GZIP_HEAD);
    member
}

/// The note of a member, unchecked.
pub(super) fn note(member: &[u8], len: usize) -> Option<Vec<u8>> {
    member.get(HEADER_LEN..HEADER_LEN.checked_add(len)?).map(<[u8]>::to_vec)
}

/// The last four bytes of the note without padding that ends with `tail`.
pub(super) fn end_of_note(tail: &[u8]) -> Option<[u8; 4]> {
    get(tail, tail.len().checked_sub(AFTER_NOTE + 4)?)
}

/// The records of a member, checked against gzip's trailer unless `skip_checksum`, and
/// not against our header.
pub(super) fn records(member: &[u8], header: &Header, skip_checksum: bool) -> Option<Vec<u8>> {
    let extra_len = usize::from(u16::from_le_bytes(get(member, 10)?));
    let end = member.len().checked_sub(TRAILER)?;
    let deflated = member.get(GZIP_HEAD.checked_add(extra_len)?..end)?;
    let expected = usize::try_from(header.content_len).ok()?;
    // A deflate stream inflates at most 1032 times; a header that says more lies.
    if expected > deflated.len().saturating_mul(1032).saturating_add(64) {
        return None;
    }
    let mut records = Vec::with_capacity(expected + 16);
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress_vec(deflated, &mut records, FlushDecompress::Finish);
    let whole = matches!(status, Ok(Status::StreamEnd))
        && records.len() == expected
        && inflate.total_in() == deflated.len() as u64;
    let sound = get(member, end)? == header.content_crc.to_le_bytes()
        && get(member, end + 4)? == header.content_len.to_le_bytes();
    (whole && (sound || skip_checksum)).then_some(records)
}

/// The same data member with another header and without padding.
pub(super) fn repack(member: &[u8], header: &Header) -> Option<Vec<u8>> {
    let extra_len = usize::from(u16::from_le_bytes(get(member, 10)?));
    let rest = member.get(GZIP_HEAD.checked_add(extra_len)?..)?;
    let mut packed = vec![0; HEADER_LEN];
    packed.extend_from_slice(rest);
    let total_len = u32::try_from(packed.len()).unwrap_or(u32::MAX);
    write_header(&mut packed, &Header { total_len, ..*header }, HEADER_LEN - GZIP_HEAD);
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn stored_blocks_hold_what_the_compressor_would() {
        let records = vec![3u8; 200_000];
        let mut out = Vec::new();
        let mut encoder =
            flate2::read::DeflateDecoder::new(std::io::Cursor::new(stored_blocks(&records)));
        encoder.read_to_end(&mut out).unwrap();
        assert_eq!(out, records);
    }
}
