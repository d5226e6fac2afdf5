//! A segment's first page: what the segment is.

use serde::{Deserialize, Serialize};

use super::form::Form;
use super::header::{Fault, Header, Kind};
use super::member;
use crate::id::Chain;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) form: Form,
    pub(crate) nonce: u64,
    pub(crate) chain: Chain,
    pub(crate) first_sequence: u64,
    pub(crate) note: Note,
}

/// The part of the head that people may read too: JSON in the note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) device: String,
    pub(crate) epoch: String,
    pub(crate) created: String,
    /// Counts the segments of the chain, so that their order is known even where
    /// two start at one sequence.
    #[serde(default)]
    pub(crate) ordinal: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<Sealed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) records: u64,
    pub(crate) next_sequence: u64,
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let note = serde_json::to_vec(&self.note).unwrap_or_default();
        member::encode_note(&self.header(), &note, true)
    }

    /// A free page of the segment.
    pub(crate) fn free_page(&self) -> Vec<u8> {
        member::filler_page(self.form, self.nonce, self.chain)
    }

    fn header(&self) -> Header {
        Header {
            nonce: self.nonce,
            first_sequence: self.first_sequence,
            ..Header::new(self.form, Kind::Head, self.chain)
        }
    }

    /// Reads the first page of a file. `Ok(None)`: it is not a whole head page.
    pub(crate) fn parse(page: &[u8]) -> Result<Option<Self>, Fault> {
        let header = match member::read_header(page) {
            Ok(header) if header.kind == Kind::Head => header,
            Err(fault @ Fault::Unsupported(..)) => return Err(fault),
            _ => return Ok(None),
        };
        let note =
            member::read_note(page, &header).and_then(|note| serde_json::from_slice(&note).ok());
        Ok(note.map(|note| Self {
            form: header.form,
            nonce: header.nonce,
            chain: header.chain,
            first_sequence: header.first_sequence,
            note,
        }))
    }
}
