//! A member as plain text: its records stand as they are, and all else in blank lines,
//! which readers of JSON Lines step over. A byte of ours is eight blanks, the highest bit
//! first: a space is 0, a tab is 1. Bytes are described in `docs/format.md`.

use super::form::Form;
use super::header::{FIELDS_LEN, Fault, Header, get, put};
use super::member::PAGE;

/// Blanks for each byte of ours.
pub(super) const BLANKS: usize = 8;

const MAGIC: [u8; 2] = *b"BH";
const CRC: usize = MAGIC.len() + FIELDS_LEN;
const RAW_LEN: usize = CRC + 4;

/// Bytes from a member's start to the end of our header, which is a line of its own. No
/// record holds the newline that ends it: a record cannot look like a member.
pub(super) const HEADER_LEN: usize = RAW_LEN * BLANKS + 1;

/// What follows the note in the file: the end of its line.
pub(super) const AFTER_NOTE: usize = 1;

/// Padding of so many bytes: a line of spaces.
fn blank_line(len: usize) -> impl Iterator<Item = u8> {
    let spaces = std::iter::repeat_n(b' ', len.saturating_sub(1));
    spaces.chain((len > 0).then_some(b'\n'))
}

fn to_blanks(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let blank = |is_set: bool| if is_set { b'\t' } else { b' ' };
    bytes.iter().flat_map(move |byte| (0..8).rev().map(move |bit| blank(byte >> bit & 1 == 1)))
}

/// `None`: other bytes than blanks are among them.
fn from_blanks(blanks: &[u8]) -> Option<Vec<u8>> {
    let byte = |blanks: &[u8]| {
        blanks.iter().try_fold(0, |byte: u8, blank| match blank {
            b' ' => Some(byte << 1),
            b'\t' => Some(byte << 1 | 1),
            _ => None,
        })
    };
    blanks.chunks_exact(BLANKS).map(byte).collect()
}

/// Whether a member may start here, as far as its first bytes tell.
pub(super) fn may_start(bytes: &[u8]) -> bool {
    let magic = bytes.get(..MAGIC.len() * BLANKS).and_then(from_blanks);
    magic.is_some_and(|magic| magic == MAGIC)
}

/// Writes the header over the start of `member`.
pub(super) fn write_header(member: &mut [u8], header: &Header) {
    let mut raw = [0; RAW_LEN];
    put(&mut raw, 0, MAGIC);
    put(&mut raw, MAGIC.len(), header.fields());
    let crc = crc32fast::hash(raw.get(..CRC).unwrap_or_default());
    put(&mut raw, CRC, crc.to_le_bytes());
    let line = to_blanks(&raw).chain([b'\n']);
    member.iter_mut().zip(line).for_each(|(target, byte)| *target = byte);
}

/// The header at the start of `bytes`.
pub(super) fn read_header(bytes: &[u8]) -> Result<Header, Fault> {
    let (Some(blanks), Some(b'\n')) = (bytes.get(..HEADER_LEN - 1), bytes.get(HEADER_LEN - 1))
    else {
        return Err(Fault::Damaged);
    };
    let raw = from_blanks(blanks).unwrap_or_default();
    let (Some(checked), Some(crc)) = (raw.get(..CRC), get(&raw, CRC)) else {
        return Err(Fault::Damaged);
    };
    if !checked.starts_with(&MAGIC) || crc32fast::hash(checked) != u32::from_le_bytes(crc) {
        return Err(Fault::Damaged);
    }
    Header::parse(Form::Plain, checked.get(MAGIC.len()..).unwrap_or_default())
}

/// Appends a member that holds `records`. The padding stands before them: the page that a
/// power cut garbles holds a part of what has a checksum, whichever it is.
pub(super) fn data(header: &Header, records: &[u8], padded: bool, out: &mut Vec<u8>) {
    let start = out.len();
    let unpadded = HEADER_LEN + records.len();
    let padding = if padded { (PAGE - (start + unpadded) % PAGE) % PAGE } else { 0 };
    out.resize(start + HEADER_LEN, 0);
    let header = header.of(records, unpadded + padding);
    write_header(out.get_mut(start..).unwrap_or_default(), &header);
    out.extend(blank_line(padding));
    out.extend_from_slice(records);
}

/// A member that holds a note, padded to whole pages where asked.
pub(super) fn encode_note(header: &Header, note: &[u8], padded: bool) -> Vec<u8> {
    let unpadded = Form::Plain.note_member_len(note.len());
    let total = if padded { unpadded.next_multiple_of(PAGE) } else { unpadded };
    let mut member = vec![0; HEADER_LEN];
    write_header(&mut member, &header.of(note, total));
    member.extend(to_blanks(note));
    member.extend(blank_line(total - member.len()));
    member
}

/// The note of a member, unchecked.
pub(super) fn note(member: &[u8], len: usize) -> Option<Vec<u8>> {
    let end = len.checked_mul(BLANKS)?.checked_add(HEADER_LEN)?;
    from_blanks(member.get(HEADER_LEN..end)?)
}

/// The last four bytes of the note without padding that ends with `tail`.
pub(super) fn end_of_note(tail: &[u8]) -> Option<[u8; 4]> {
    let (_, blanks) = tail.split_last()?;
    let from = blanks.len().checked_sub(4 * BLANKS)?;
    from_blanks(blanks.get(from..)?)?.try_into().ok()
}

/// The padding and the records of a data member.
fn split<'a>(member: &'a [u8], header: &Header) -> Option<(&'a [u8], &'a [u8])> {
    let len = usize::try_from(header.content_len).ok()?;
    let behind_header = member.get(HEADER_LEN..)?;
    behind_header.split_at_checked(behind_header.len().checked_sub(len)?)
}

/// The records of a member, unchecked.
pub(super) fn records(member: &[u8], header: &Header) -> Option<Vec<u8>> {
    split(member, header).map(|(_, records)| records.to_vec())
}

/// Whether the padding is a blank line, or there is none.
pub(super) fn is_padding_whole(member: &[u8], header: &Header) -> bool {
    split(member, header)
        .is_some_and(|(padding, _)| padding.iter().copied().eq(blank_line(padding.len())))
}

/// The same data member with another header and without padding.
pub(super) fn repack(member: &[u8], header: &Header) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    data(header, &records(member, header)?, false, &mut packed);
    Some(packed)
}
