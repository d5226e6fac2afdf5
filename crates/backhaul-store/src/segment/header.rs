//! What a member says of itself: the fields of its header, the same in each form.

use super::form::Form;
use crate::id::{Chain, Lane};

/// The newest format this program writes and reads.
pub(crate) const FORMAT_VERSION: u8 = 1;

/// Feature bits that a reader has to know to read a member; others are refused by name.
const KNOWN_FEATURES: u16 = 0;

/// A header with a sequence beyond this is damaged, whatever its checksum says.
const MAX_SEQUENCE: u64 = 1 << 60;

// Each offset is the previous plus its size.
const VERSION: usize = 0;
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

/// Bytes of all fields.
pub(super) const FIELDS_LEN: usize = CONTENT_CRC + 4;

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
    pub(crate) form: Form,
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
    /// Bytes of records as they were given; of a note: its bytes.
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

pub(super) fn put<const N: usize>(target: &mut [u8], offset: usize, bytes: [u8; N]) {
    if let Some(target) = target.get_mut(offset..offset + N) {
        target.copy_from_slice(&bytes);
    }
}

pub(super) fn get<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

impl Header {
    /// A header that has no place in a segment and no content yet.
    pub(crate) fn new(form: Form, kind: Kind, chain: Chain) -> Self {
        Self {
            form,
            kind,
            nonce: 0,
            commit: 0,
            commit_offset: 0,
            chain,
            first_sequence: 0,
            count: 0,
            content_len: 0,
            total_len: 0,
            content_crc: 0,
        }
    }

    /// The same header for this content, in a member of `total_len` bytes.
    pub(super) fn of(&self, content: &[u8], total_len: usize) -> Self {
        Self {
            content_len: to_u32(content.len()),
            content_crc: crc32fast::hash(content),
            total_len: to_u32(total_len),
            ..*self
        }
    }

    /// The fields, as they stand in the file.
    pub(super) fn fields(&self) -> [u8; FIELDS_LEN] {
        let mut fields = [0; FIELDS_LEN];
        put(&mut fields, VERSION, [FORMAT_VERSION]);
        put(&mut fields, KIND, [self.kind as u8]);
        put(&mut fields, FEATURES, KNOWN_FEATURES.to_le_bytes());
        put(&mut fields, NONCE, self.nonce.to_le_bytes());
        put(&mut fields, COMMIT, self.commit.to_le_bytes());
        put(&mut fields, COMMIT_OFFSET, self.commit_offset.to_le_bytes());
        put(&mut fields, LANE, [self.chain.lane as u8]);
        put(&mut fields, CODEC, [self.form as u8]);
        put(&mut fields, WRITER, self.chain.writer.to_le_bytes());
        put(&mut fields, KEY_ID, 0u32.to_le_bytes());
        put(&mut fields, FIRST_SEQUENCE, self.first_sequence.to_le_bytes());
        put(&mut fields, COUNT, self.count.to_le_bytes());
        put(&mut fields, CONTENT_LEN, self.content_len.to_le_bytes());
        put(&mut fields, TOTAL_LEN, self.total_len.to_le_bytes());
        put(&mut fields, CONTENT_CRC, self.content_crc.to_le_bytes());
        fields
    }

    /// Reads fields whose checksum was right, found in a member of this form.
    pub(super) fn parse(form: Form, fields: &[u8]) -> Result<Self, Fault> {
        Self::try_parse(form, fields).unwrap_or(Err(Fault::Damaged))
    }

    fn try_parse(form: Form, fields: &[u8]) -> Option<Result<Self, Fault>> {
        let [version] = get(fields, VERSION)?;
        let features = u16::from_le_bytes(get(fields, FEATURES)?);
        let [codec] = get(fields, CODEC)?;
        if version != FORMAT_VERSION || features & !KNOWN_FEATURES != 0 || codec != form as u8 {
            return Some(Err(Fault::Unsupported(version, features)));
        }
        let kind = match get(fields, KIND)? {
            [1] => Kind::Data,
            [2] => Kind::Filler,
            [3] => Kind::Head,
            [4] => Kind::Index,
            _ => return None,
        };
        // No spool counts so far; numbers below it add up without care.
        let first_sequence = u64::from_le_bytes(get(fields, FIRST_SEQUENCE)?);
        if first_sequence > MAX_SEQUENCE {
            return None;
        }
        let [lane] = get(fields, LANE)?;
        Some(Ok(Self {
            form,
            kind,
            nonce: u64::from_le_bytes(get(fields, NONCE)?),
            commit: u32::from_le_bytes(get(fields, COMMIT)?),
            commit_offset: u32::from_le_bytes(get(fields, COMMIT_OFFSET)?),
            chain: Chain {
                lane: Lane::from_index(lane)?,
                writer: u16::from_le_bytes(get(fields, WRITER)?),
            },
            first_sequence,
            count: u32::from_le_bytes(get(fields, COUNT)?),
            content_len: u32::from_le_bytes(get(fields, CONTENT_LEN)?),
            total_len: u32::from_le_bytes(get(fields, TOTAL_LEN)?),
            content_crc: u32::from_le_bytes(get(fields, CONTENT_CRC)?),
        }))
    }
}

fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
