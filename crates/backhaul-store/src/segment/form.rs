//! The two forms of a segment, which differ in how a member is wrapped.

use super::{gzip, plain};

/// How the members of a segment are wrapped. Each member says it, as its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Form {
    /// Gzip members: `.jsonl.gz`.
    Gzip = 0,
    /// Lines as they are, everything else in blanks: `.jsonl`.
    Plain = 1,
}

impl Form {
    pub(crate) const ALL: [Form; 2] = [Form::Gzip, Form::Plain];

    /// Bytes from a member's start to the end of our header.
    pub(crate) fn header_len(self) -> usize {
        match self {
            Form::Gzip => gzip::HEADER_LEN,
            Form::Plain => plain::HEADER_LEN,
        }
    }

    /// Bytes of a member that holds a note of this length, without padding.
    pub(crate) fn note_member_len(self, note: usize) -> usize {
        match self {
            Form::Gzip => gzip::HEADER_LEN + note + gzip::AFTER_NOTE,
            Form::Plain => plain::HEADER_LEN + note * plain::BLANKS + plain::AFTER_NOTE,
        }
    }
}
