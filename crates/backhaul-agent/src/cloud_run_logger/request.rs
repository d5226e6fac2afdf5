//! What is posted: records as an array, and where they come from.

use std::io::Write as _;
use std::sync::Arc;

use backhaul_store::{Batch, Lane};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Below this many bytes the gzip header and a packet's overhead eat what is saved.
const WORTH_COMPRESSING: usize = 1024;
/// Compressing this many bytes takes about a millisecond on a small device.
pub(super) const LONG: usize = 64 << 10;

/// The records of one request.
#[derive(Debug)]
pub(super) struct Part {
    array: Arc<Vec<u8>>,
    len: usize,
    origin: Option<Origin>,
    lane: Option<Lane>,
}

/// Where the records of a request come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// `<device>/<epoch>/<chain>`
    pub(super) source: String,
    /// Everything of the chain before this is settled here.
    pub(super) floor: u64,
    /// Ascending ranges such as `5-9,12`, in the order of the records.
    pub(super) sequences: String,
    /// How many records are to follow in the next request; 0: none, or unknown.
    pub(super) next: usize,
}

impl Part {
    /// A record that comes from no spool.
    pub(super) fn of_record(body: &[u8]) -> Self {
        Self { array: Arc::new(array_of([body])), len: 1, origin: None, lane: None }
    }

    /// A batch, cut where the epoch changes: the headers name one.
    pub(super) fn of_batch(batch: &Batch) -> Vec<Self> {
        let cuts = batch.records.chunk_by(|left, right| {
            let (left, right) = (left.record.id, right.record.id);
            left.epoch == right.epoch && left.position.sequence < right.position.sequence
        });
        cuts.filter_map(|offers| {
            let id = offers.first()?.record.id;
            let sequences: Vec<u64> =
                offers.iter().map(|offer| offer.record.id.position.sequence.0).collect();
            Some(Self {
                array: Arc::new(array_of(offers.iter().map(|offer| &*offer.record.body))),
                len: offers.len(),
                lane: Some(id.position.chain.lane),
                origin: Some(Origin {
                    source: format!("{}/{}/{}", id.device, id.epoch, id.position.chain),
                    floor: batch.floor.0,
                    sequences: ranges(&sequences),
                    next: batch.next,
                }),
            })
        })
        .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// How urgent its records are; `None`: they come from no spool.
    pub(super) fn lane(&self) -> Option<Lane> {
        self.lane
    }

    pub(super) fn array(&self) -> &Arc<Vec<u8>> {
        &self.array
    }
}

/// The bodies, exactly as they are stored, as a JSON array.
fn array_of<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut array = vec![b'['];
    for body in bodies {
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(body);
    }
    array.push(b']');
    array
}

/// `5-9,12` for 5, 6, 7, 8, 9, 12.
fn ranges(sequences: &[u64]) -> String {
    let runs = sequences.chunk_by(|left, right| left + 1 == *right);
    let texts: Vec<String> = runs
        .filter_map(|run| match run {
            [] => None,
            [only] => Some(only.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
        })
        .collect();
    texts.join(",")
}

/// A body as it goes over the wire.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) is_gzip: bool,
}

/// Compresses a body where that pays.
pub(super) fn encode(body: &[u8], gzip: bool) -> Encoded {
    if gzip && body.len() >= WORTH_COMPRESSING {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let compressed = encoder.write_all(body).and_then(|()| encoder.finish());
        if let Ok(bytes) = compressed
            && bytes.len() < body.len()
        {
            return Encoded { bytes, is_gzip: true };
        }
    }
    Encoded { bytes: body.to_vec(), is_gzip: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_written_as_ascending_ranges() {
        assert_eq!(ranges(&[5, 6, 7, 8, 9, 12]), "5-9,12");
        assert_eq!(ranges(&[1]), "1");
        assert_eq!(ranges(&[1, 2]), "1-2");
        assert_eq!(ranges(&[1, 3, 5]), "1,3,5");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn bodies_stand_in_the_array_byte_for_byte() {
        assert_eq!(array_of([&b"{\"a\": NaN}"[..], b"{ }"]), b"[{\"a\": NaN},{ }]");
        assert_eq!(**Part::of_record(b"{}").array(), b"[{}]");
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        assert!(!encode(&[b'a'; 100], true).is_gzip);
        assert!(!encode(&[b'a'; 10_000], false).is_gzip);
        let encoded = encode(&[b'a'; 10_000], true);
        assert!(encoded.is_gzip && encoded.bytes.len() < 200);
        let noise: Vec<u8> = (0..4000_u64)
            .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        let encoded = encode(&noise, true);
        assert!(encoded.is_gzip || encoded.bytes == noise);
    }
}
