//! The members of a segment file, as a stranger who has read `docs/format.md`
//! finds them. The product's own reader is not asked.

use std::path::{Path, PathBuf};

pub(crate) const PAGE: usize = 4096;
pub(crate) const HEADER_LEN: usize = 72;

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

fn member_at(file: &[u8], offset: usize) -> Option<Member> {
    let header = file.get(offset..offset + HEADER_LEN)?;
    let field = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let is_ours = header.starts_with(&[0x1f, 0x8b]) && &header[12..14] == b"BH";
    if !is_ours || field(HEADER_CRC)? != crc32fast::hash(&header[..HEADER_CRC]) {
        return None;
    }
    let kind = match header[KIND] {
        1 => Kind::Data,
        2 => Kind::Filler,
        3 => Kind::Head,
        _ => Kind::Index,
    };
    Some(Member { kind, offset, len: usize::try_from(field(TOTAL_LEN)?).ok()? })
}

/// Writes the header's CRC anew, after something in the header was changed.
pub(crate) fn fix_header_crc(file: &mut [u8], offset: usize) {
    let Some(header) = file.get_mut(offset..offset + HEADER_LEN) else { return };
    let crc = crc32fast::hash(&header[..HEADER_CRC]);
    header[HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
}

/// The segment files in a real folder, in the order of their names.
pub(crate) fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".jsonl.gz"))
        .collect();
    files.sort();
    files
}
