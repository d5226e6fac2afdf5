//! One gzip member: the unit that segment files are made of.
//!
//! Bytes are described in `docs/format.md`; this file is the only one that
//! reads or writes them. A member is a complete gzip stream, so any number of
//! them one after another is a gzip file to every reader. Ours carries a header
//! of its own in gzip's extra field, which other readers skip.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::id::{Chain, Lane};

/// Commits are whole pages, so that no page that holds acknowledged bytes is
/// ever written again. 4 KiB is the page of the kernel and the usual logical
/// block of flash.
pub(crate) const PAGE: usize = 4096;

/// The newest format this program writes and reads.
pub(crate) const FORMAT_VERSION: u8 = 1;

const GZIP_HEAD: usize = 12; // RFC 1952: ten bytes and the length of the extra field.
const SUBFIELD_HEAD: usize = 4;
const TRAILER: usize = 8;
const EMPTY_DEFLATE: [u8; 2] = [0x03, 0x00];

// Our header within the extra subfield: each offset is the previous plus its size.
const VERSION: usize = GZIP_HEAD + SUBFIELD_HEAD;
const KIND: usize = VERSION + 1;
const FEATURES: usize = KIND + 1;
const NONCE: usize = FEATURES + 2;
const COMMIT: usize = NONCE + 8;
const COMMIT_OFFSET: usize = COMMIT + 4;
const LANE: usize = COMMIT_OFFSET + 4;
const CODEC: usize = LANE + 1;
const WRITER: usize = CODEC + 1;
const KEY_ID: usize = WRITER + 2;
const FIRST_SEQUENCE: usize = KEY_ID + 4;
const COUNT: usize = FIRST_SEQUENCE + 8;
const CONTENT_LEN: usize = COUNT + 4;
const TOTAL_LEN: usize = CONTENT_LEN + 4;
const CONTENT_CRC: usize = TOTAL_LEN + 4;
const HEADER_CRC: usize = CONTENT_CRC + 4;

/// Bytes from a member's start to the end of our header.
pub(crate) const HEADER_LEN: usize = HEADER_CRC + 4;

/// The extra field's length is 16 bits wide, and so bounds what it can carry.
const MAX_EXTRA: usize = u16::MAX as usize;
/// Most bytes that [`encode_note`] takes.
pub(crate) const MAX_NOTE: usize = MAX_EXTRA - (HEADER_LEN - GZIP_HEAD) - PAGE;

/// A header with a sequence beyond this is damaged, whatever its checksum says.
const MAX_SEQUENCE: u64 = 1 << 60;

/// Feature bits that a reader has to know to read a member; others are refused by name.
const KNOWN_FEATURES: u16 = 0;

/// What a member is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Records.
    Data = 1,
    /// A page that is free: no content.
    Filler = 2,
    /// The first page of a segment: a note that says what the segment is.
    Head = 3,
    /// The end of a sealed segment: a note that holds the index.
    Index = 4,
}

/// Our header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Random, one per segment: a page of another segment is never taken for one of this.
    pub(crate) nonce: u64,
    /// Counts the commits of the segment; members of one commit share it.
    pub(crate) commit: u32,
    /// Bytes from the start of the member's commit to the member.
    pub(crate) commit_offset: u32,
    pub(crate) chain: Chain,
    pub(crate) first_sequence: u64,
    pub(crate) count: u32,
    /// Bytes of records when inflated; of a note: its bytes in the extra field.
    pub(crate) content_len: u32,
    /// Bytes from the member's start to the next member's.
    pub(crate) total_len: u32,
    /// CRC-32 of the content.
    pub(crate) content_crc: u32,
}

/// Why bytes are not a member of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not a member, or a damaged one.
    Damaged,
    /// A member of a newer format: version and feature bits.
    Unsupported(u8, u16),
}

fn put<const N: usize>(page: &mut [u8], offset: usize, bytes: [u8; N]) {
    if let Some(target) = page.get_mut(offset..offset + N) {
        target.copy_from_slice(&bytes);
    }
}

fn get<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Writes gzip's fixed head and our header over the start of `member`.
pub(crate) fn write_header(member: &mut [u8], header: &Header, extra_len: usize) {
    let extra_len = u16::try_from(extra_len).unwrap_or(u16::MAX);
    put(member, 0, [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
    put(member, 10, extra_len.to_le_bytes());
    put(member, GZIP_HEAD, *b"BH");
    put(member, GZIP_HEAD + 2, extra_len.saturating_sub(4).to_le_bytes());
    put(member, VERSION, [FORMAT_VERSION]);
    put(member, KIND, [header.kind as u8]);
    put(member, FEATURES, KNOWN_FEATURES.to_le_bytes());
    put(member, NONCE, header.nonce.to_le_bytes());
    put(member, COMMIT, header.commit.to_le_bytes());
    put(member, COMMIT_OFFSET, header.commit_offset.to_le_bytes());
    put(member, LANE, [header.chain.lane as u8]);
    put(member, CODEC, [0]);
    put(member, WRITER, header.chain.writer.to_le_bytes());
    put(member, KEY_ID, 0u32.to_le_bytes());
    put(member, FIRST_SEQUENCE, header.first_sequence.to_le_bytes());
    put(member, COUNT, header.count.to_le_bytes());
    put(member, CONTENT_LEN, header.content_len.to_le_bytes());
    put(member, TOTAL_LEN, header.total_len.to_le_bytes());
    put(member, CONTENT_CRC, header.content_crc.to_le_bytes());
    let crc = crc32fast::hash(member.get(..HEADER_CRC).unwrap_or_default());
    put(member, HEADER_CRC, crc.to_le_bytes());
}

/// Rewrites a member's header in place; its lengths stay.
pub(crate) fn restamp(member: &mut [u8], header: &Header) {
    let extra_len = get(member, 10).map_or(0, u16::from_le_bytes);
    write_header(member, header, usize::from(extra_len));
}

/// The header at the start of `bytes`; `None`: there is no sound one.
///
/// # Errors
/// `Unsupported` for a sound member of a newer format: nobody may take its page for
/// a damaged or a free one.
pub(crate) fn known_header(bytes: &[u8]) -> std::io::Result<Option<Header>> {
    match read_header(bytes) {
        Ok(header) => Ok(Some(header)),
        Err(Fault::Damaged) => Ok(None),
        Err(Fault::Unsupported(version, features)) => Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!(
                "it has a member of format {version} with features {features:#x}, this program \
                 knows format {FORMAT_VERSION}: use a newer backhaul"
            ),
        )),
    }
}

/// Reads a header; `bytes` starts at a member and holds at least [`HEADER_LEN`] bytes.
pub(crate) fn read_header(bytes: &[u8]) -> Result<Header, Fault> {
    parse_header(bytes).unwrap_or(Err(Fault::Damaged))
}

fn parse_header(bytes: &[u8]) -> Option<Result<Header, Fault>> {
    let crc = u32::from_le_bytes(get(bytes, HEADER_CRC)?);
    if get(bytes, GZIP_HEAD)? != *b"BH" || crc32fast::hash(bytes.get(..HEADER_CRC)?) != crc {
        return None;
    }
    let [version] = get(bytes, VERSION)?;
    let features = u16::from_le_bytes(get(bytes, FEATURES)?);
    let [codec] = get(bytes, CODEC)?;
    if version != FORMAT_VERSION || features & !KNOWN_FEATURES != 0 || codec != 0 {
        return Some(Err(Fault::Unsupported(version, features)));
    }
    let kind = match get(bytes, KIND)? {
        [1] => Kind::Data,
        [2] => Kind::Filler,
        [3] => Kind::Head,
        [4] => Kind::Index,
        _ => return None,
    };
    // No spool counts so far; numbers below it add up without care.
    let first_sequence = u64::from_le_bytes(get(bytes, FIRST_SEQUENCE)?);
    if first_sequence > MAX_SEQUENCE {
        return None;
    }
    let [lane] = get(bytes, LANE)?;
    Some(Ok(Header {
        kind,
        nonce: u64::from_le_bytes(get(bytes, NONCE)?),
        commit: u32::from_le_bytes(get(bytes, COMMIT)?),
        commit_offset: u32::from_le_bytes(get(bytes, COMMIT_OFFSET)?),
        chain: Chain {
            lane: Lane::from_index(lane)?,
            writer: u16::from_le_bytes(get(bytes, WRITER)?),
        },
        first_sequence,
        count: u32::from_le_bytes(get(bytes, COUNT)?),
        content_len: u32::from_le_bytes(get(bytes, CONTENT_LEN)?),
        total_len: u32::from_le_bytes(get(bytes, TOTAL_LEN)?),
        content_crc: u32::from_le_bytes(get(bytes, CONTENT_CRC)?),
    }))
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// At commit: nothing below about a page, zlib's level 1 above, where the
    /// flush costs more than the bytes.
    Commit,
    /// At sealing: zlib's level 6, in the background.
    Seal,
}

/// Keeps the compressor's memory from one member to the next.
#[derive(Debug)]
pub(crate) struct Encoder {
    level: Level,
    deflate: Compress,
}

impl Encoder {
    pub(crate) fn new(level: Level) -> Self {
        let compression = match level {
            Level::Commit => Compression::new(1),
            Level::Seal => Compression::new(6),
        };
        Self { level, deflate: Compress::new(compression, false) }
    }

    /// Appends a data member that holds `records` to `out`. `padded`: it ends on
    /// a page boundary of `out`. The header's lengths and CRC are filled in here.
    pub(crate) fn data(
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
        let header = Header {
            kind: Kind::Data,
            content_len: to_u32(records.len()),
            content_crc: crc32fast::hash(records),
            total_len: to_u32(unpadded + padding),
            ..*header
        };
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
pub(crate) fn encode_note(header: &Header, note: &[u8], padded: bool) -> Vec<u8> {
    let unpadded = HEADER_LEN + note.len() + EMPTY_DEFLATE.len() + TRAILER;
    let total = if padded { unpadded.next_multiple_of(PAGE) } else { unpadded };
    let header = Header {
        content_len: to_u32(note.len()),
        content_crc: crc32fast::hash(note),
        total_len: to_u32(total),
        ..*header
    };
    let mut member = vec![0; total];
    if let Some(target) = member.get_mut(HEADER_LEN..HEADER_LEN + note.len()) {
        target.copy_from_slice(note);
    }
    let deflate_at = total - TRAILER - EMPTY_DEFLATE.len();
    put(&mut member, deflate_at, EMPTY_DEFLATE);
    write_header(&mut member, &header, deflate_at - GZIP_HEAD);
    member
}

/// The note of a member made by [`encode_note`], if it is whole.
pub(crate) fn read_note<'a>(member: &'a [u8], header: &Header) -> Option<&'a [u8]> {
    let len = usize::try_from(header.content_len).ok()?;
    let note = member.get(HEADER_LEN..HEADER_LEN.checked_add(len)?)?;
    (crc32fast::hash(note) == header.content_crc).then_some(note)
}

/// A free page of a segment.
pub(crate) fn filler_page(nonce: u64, chain: Chain) -> Vec<u8> {
    let header = Header {
        kind: Kind::Filler,
        nonce,
        commit: 0,
        commit_offset: 0,
        chain,
        first_sequence: 0,
        count: 0,
        content_len: 0,
        total_len: 0,
        content_crc: 0,
    };
    encode_note(&header, b"", true)
}

/// The same data member with another header and without padding. `None`: it is
/// not long enough to be a member.
pub(crate) fn repack(member: &[u8], header: &Header) -> Option<Vec<u8>> {
    let extra_len = usize::from(u16::from_le_bytes(get(member, 10)?));
    let rest = member.get(GZIP_HEAD.checked_add(extra_len)?..)?;
    let total_len = to_u32(HEADER_LEN + rest.len());
    let mut packed = vec![0; HEADER_LEN];
    packed.extend_from_slice(rest);
    write_header(&mut packed, &Header { total_len, ..*header }, HEADER_LEN - GZIP_HEAD);
    Some(packed)
}

/// Inflates a data member and checks it. `None`: it is damaged. `skip_checksum`
/// is a test-only seam.
pub(crate) fn read_records(member: &[u8], header: &Header, skip_checksum: bool) -> Option<Vec<u8>> {
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
    let sound = crc32fast::hash(&records) == header.content_crc
        && get(member, end)? == header.content_crc.to_le_bytes()
        && get(member, end + 4)? == header.content_len.to_le_bytes();
    (whole && (sound || skip_checksum)).then_some(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn header() -> Header {
        Header {
            kind: Kind::Data,
            nonce: 7,
            commit: 3,
            commit_offset: 0,
            chain: Chain { lane: Lane::High, writer: 2 },
            first_sequence: 42,
            count: 2,
            content_len: 0,
            total_len: 0,
            content_crc: 0,
        }
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn members_of_every_size_are_whole_pages_and_read_back() {
        for len in [0usize, 1, 100, 3900, 4000, 4010, 4011, 4012, 4096, 10_000, 200_000] {
            let records: Vec<u8> = (0..len).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
            let mut out = Vec::new();
            Encoder::new(Level::Commit).data(&header(), &records, true, &mut out);
            assert_eq!(out.len() % PAGE, 0);
            let parsed = read_header(&out).unwrap();
            assert_eq!(parsed.total_len as usize, out.len());
            assert_eq!((parsed.first_sequence, parsed.commit), (42, 3));
            assert_eq!(read_records(&out, &parsed, false).unwrap(), records);
            assert_eq!(gunzip(&out), records);
        }
    }

    #[test]
    fn a_member_that_starts_inside_a_page_is_padded_to_the_next_boundary() {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(Level::Commit);
        encoder.data(&header(), &[b'a'; 5000], false, &mut out);
        encoder.data(&header(), &[b'b'; 5000], true, &mut out);
        assert_eq!(out.len() % PAGE, 0);
        assert_eq!(gunzip(&out).len(), 10_000);
    }

    #[test]
    fn a_free_page_is_an_empty_gzip_member() {
        let page = filler_page(9, header().chain);
        assert_eq!(page.len(), PAGE);
        assert_eq!(read_header(&page).unwrap().kind, Kind::Filler);
        assert_eq!(gunzip(&page), b"");
    }

    #[test]
    fn stored_blocks_hold_what_the_compressor_would() {
        let records = vec![3u8; 200_000];
        let mut out = Vec::new();
        let mut encoder =
            flate2::read::DeflateDecoder::new(std::io::Cursor::new(stored_blocks(&records)));
        encoder.read_to_end(&mut out).unwrap();
        assert_eq!(out, records);
    }

    #[test]
    fn any_flipped_bit_of_header_or_content_is_noticed() {
        let mut out = Vec::new();
        Encoder::new(Level::Commit).data(&header(), b"{\"a\":1}\n", true, &mut out);
        let whole = read_header(&out).unwrap();
        for offset in (0..HEADER_LEN).chain(PAGE - 30..PAGE - 8) {
            let mut bent = out.clone();
            bent[offset] ^= 0x10;
            let read =
                read_header(&bent).ok().and_then(|header| read_records(&bent, &header, false));
            let same = read.as_deref() == Some(b"{\"a\":1}\n".as_slice());
            assert!(read.is_none() || same, "offset {offset}");
            assert!(offset >= HEADER_LEN || read_header(&bent) != Ok(whole), "offset {offset}");
        }
    }

    #[test]
    fn a_newer_format_is_named_and_not_guessed() {
        let mut page = filler_page(9, header().chain);
        page[VERSION] = 9;
        let crc = crc32fast::hash(&page[..HEADER_CRC]);
        put(&mut page, HEADER_CRC, crc.to_le_bytes());
        assert_eq!(read_header(&page), Err(Fault::Unsupported(9, 0)));
    }
}
