//! The members of a segment file, as a stranger who has read `docs/format.md`
//! finds them. The product's own reader is not asked.

use std::path::{Path, PathBuf};

use crate::support::is_segment;

pub(crate) const PAGE: usize = 4096;
/// Bytes of a header, as the table in `docs/format.md` numbers them.
pub(crate) const HEADER_LEN: usize = 72;
/// Bytes of the blank line that holds a plain member's header.
pub(crate) const PLAIN_HEADER_LEN: usize = 465;

const MAGIC: usize = 12;
const FIELDS: usize = 16;
const KIND: usize = 17;
const TOTAL_LEN: usize = 60;
const HEADER_CRC: usize = 68;

/// What a member is for, by its number in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Filler,
    Head,
    Index,
}

/// One member of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    /// Of a member in plain form the first twelve bytes, which are gzip's, are zero.
    pub(crate) header: [u8; HEADER_LEN],
}

/// All members from the start of the file on, up to the first that is none of ours.
pub(crate) fn members(file: &[u8]) -> Vec<Member> {
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(member) = member_at(file, offset) {
        offset += member.len;
        found.push(member);
    }
    found
}

fn is_gzip(member: &[u8]) -> bool {
    member.starts_with(&[0x1f, 0x8b])
}

fn crc_of(header: &[u8; HEADER_LEN]) -> u32 {
    if is_gzip(header) {
        return crc32fast::hash(&header[..HEADER_CRC]);
    }
    crc32fast::hash(&[&header[MAGIC..MAGIC + 2], &header[FIELDS..HEADER_CRC]].concat())
}

fn member_at(file: &[u8], offset: usize) -> Option<Member> {
    let header = header_at(file, offset)?;
    let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    if &header[MAGIC..MAGIC + 2] != b"BH" || field(HEADER_CRC) != crc_of(&header) {
        return None;
    }
    let kind = match header[KIND] {
        1 => Kind::Data,
        2 => Kind::Filler,
        3 => Kind::Head,
        _ => Kind::Index,
    };
    Some(Member { kind, offset, len: usize::try_from(field(TOTAL_LEN)).unwrap(), header })
}

fn header_at(file: &[u8], offset: usize) -> Option<[u8; HEADER_LEN]> {
    let member = file.get(offset..)?;
    if is_gzip(member) {
        return member.get(..HEADER_LEN)?.try_into().ok();
    }
    let (newline, blanks) = member.get(..PLAIN_HEADER_LEN)?.split_last()?;
    let bytes = from_blanks(blanks).filter(|_| *newline == b'\n')?;
    let mut header = [0; HEADER_LEN];
    header[MAGIC..MAGIC + 2].copy_from_slice(&bytes[..2]);
    header[FIELDS..].copy_from_slice(&bytes[2..]);
    Some(header)
}

/// Eight blanks are a byte, the highest bit first: a space is 0, a tab 1.
pub(crate) fn from_blanks(blanks: &[u8]) -> Option<Vec<u8>> {
    let is_blank = |blank: &u8| matches!(blank, b' ' | b'\t');
    let byte = |blanks: &[u8]| blanks.iter().fold(0, |byte, blank| byte << 1 | (blank & 1));
    // A tab is an odd number, a space an even one.
    blanks.iter().all(is_blank).then(|| blanks.chunks(8).map(byte).collect())
}

pub(crate) fn to_blanks(bytes: &[u8]) -> Vec<u8> {
    let bits = |byte: &u8| format!("{byte:08b}").into_bytes();
    let blank = |bit: u8| if bit == b'1' { b'\t' } else { b' ' };
    bytes.iter().flat_map(bits).map(blank).collect()
}

/// Changes the header of the member at `offset`, from the table's byte `at` on, and its CRC.
pub(crate) fn bend_header(file: &mut [u8], offset: usize, at: usize, bytes: &[u8]) {
    let mut header = header_at(file, offset).expect("a member");
    header[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc_of(&header);
    header[HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
    let member = &mut file[offset..];
    if is_gzip(member) {
        member[..HEADER_LEN].copy_from_slice(&header);
    } else {
        let blanks = to_blanks(&[&header[MAGIC..MAGIC + 2], &header[FIELDS..]].concat());
        member[..blanks.len()].copy_from_slice(&blanks);
    }
}

/// The segment files in a real folder, in the order of their names.
pub(crate) fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_segment(path))
        .collect();
    files.sort();
    files
}
