//! The index at the end of a sealed segment: which member holds which sequence.

use std::io;

use super::head::{Head, Sealed};
use super::header::{Header, Kind};
use super::member::{self, HEADER_LEN, NOTE_TAIL};
use super::scan::Member;
use crate::disk::DiskFile;

/// First sequence and offset, little-endian.
const ENTRY: usize = 16;
/// The last bytes of the note: the member's length, so that it is found from the end of the file.
const LEN_FIELD: usize = 4;

/// Most members that one index can name. Of more, every second (third, …) is named.
const MAX_ENTRIES: usize = (member::MAX_NOTE - LEN_FIELD) / ENTRY;

/// Where the index stands. `Ok(None)`: there is no whole one.
pub(crate) fn offset(file: &dyn DiskFile, nonce: u64) -> io::Result<Option<u64>> {
    let found = find(file, nonce)?;
    Ok(found.filter(|(_, header, bytes)| member::read_note(bytes, header).is_some()).map(|it| it.0))
}

/// Where the index stands, its header, and its bytes, if the header is sound.
fn find(file: &dyn DiskFile, nonce: u64) -> io::Result<Option<(u64, Header, Vec<u8>)>> {
    let len = file.len()?;
    let Some(tail_at) = len.checked_sub(NOTE_TAIL as u64) else { return Ok(None) };
    let tail = file.read_exact_at(NOTE_TAIL, tail_at)?;
    let total = member::end_of_note(&tail).map_or(0, u32::from_le_bytes);
    let Some(start) = len.checked_sub(u64::from(total)).filter(|_| total > 0) else {
        return Ok(None);
    };
    let bytes = file.read_exact_at(usize::try_from(total).unwrap_or(0), start)?;
    let header = match member::read_header(&bytes) {
        Ok(header) if header.kind == Kind::Index && header.nonce == nonce => header,
        _ => return Ok(None),
    };
    Ok(Some((start, header, bytes)))
}

pub(crate) fn encode(head: &Head, members: &[Member]) -> Vec<u8> {
    let mut note = Vec::with_capacity(members.len() * ENTRY + LEN_FIELD);
    let step = members.len().div_ceil(MAX_ENTRIES).max(1);
    for member in members.iter().step_by(step) {
        note.extend_from_slice(&member.header.first_sequence.to_le_bytes());
        note.extend_from_slice(&member.offset.to_le_bytes());
    }
    let total = head.form.note_member_len(note.len() + LEN_FIELD);
    note.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_le_bytes());
    let header = Header {
        nonce: head.nonce,
        first_sequence: members.first().map_or(0, |member| member.header.first_sequence),
        count: u32::try_from(members.len()).unwrap_or(u32::MAX),
        ..Header::new(head.form, Kind::Index, head.chain)
    };
    member::encode_note(&header, &note, false)
}

/// Offsets of the members by first sequence, ascending. `Ok(None)`: the index is
/// not there or damaged, and the members have to be looked for.
pub(crate) fn read(file: &dyn DiskFile, nonce: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
    let Some((_, header, bytes)) = find(file, nonce)? else { return Ok(None) };
    Ok(member::read_note(&bytes, &header).map(|note| {
        note.get(..note.len().saturating_sub(LEN_FIELD))
            .unwrap_or_default()
            .chunks_exact(ENTRY)
            .map(|entry| (number(entry, 0), number(entry, 8)))
            .collect()
    }))
}

/// What the head of a sealed segment says, told by its members. `Ok(None)`: it has
/// no index, and was not sealed.
pub(crate) fn sealed(file: &dyn DiskFile, nonce: u64) -> io::Result<Option<Sealed>> {
    let Some(entries) = read(file, nonce)? else { return Ok(None) };
    let len = file.len()?;
    let mut sealed = Sealed { records: 0, next_sequence: 0 };
    let mut at = member::PAGE as u64;
    while at < len {
        let mut bytes = vec![0; HEADER_LEN];
        let read = file.read_at(&mut bytes, at)?;
        bytes.truncate(read);
        at = match member::known_header(&bytes)?.filter(|header| header.nonce == nonce) {
            Some(header) => {
                if header.kind == Kind::Data {
                    sealed.records += u64::from(header.count);
                    sealed.next_sequence = header.first_sequence + u64::from(header.count);
                }
                at + u64::from(header.total_len).max(1)
            }
            None => entries.iter().map(|(_, offset)| *offset).find(|to| *to > at).unwrap_or(len),
        };
    }
    Ok(Some(sealed))
}

fn number(entry: &[u8], at: usize) -> u64 {
    entry.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}
