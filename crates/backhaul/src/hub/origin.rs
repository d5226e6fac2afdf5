//! Where the records of another backhaul come from, as its request headers say.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;
use backhaul_store::{Chain, DeviceId, Epoch, Position, RecordId, Sequence};

use super::limits::MAX_RECORDS;
use super::window::Window;
use crate::intake::Refusal;

const SOURCE: &str = "backhaul-source";
const FLOOR: &str = "backhaul-floor";
const SEQUENCES: &str = "backhaul-sequences";
const NEXT: &str = "backhaul-next";

/// One chain of one device in one epoch, written `<device>/<epoch>/<chain>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) device: DeviceId,
    pub(crate) epoch: Epoch,
    pub(crate) chain: Chain,
}

impl Source {
    /// Bytes of [`Source::to_bytes`].
    pub(crate) const LEN: usize = 23;

    /// The source as a key of fixed size.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts = (self.device.0.into_bytes().into_iter())
            .chain(self.epoch.0.to_be_bytes())
            .chain([self.chain.lane as u8])
            .chain(self.chain.writer.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    /// The name of one of its records.
    pub(crate) fn record_id(self, sequence: u64) -> RecordId {
        let position = Position { chain: self.chain, sequence: Sequence(sequence) };
        RecordId { device: self.device, epoch: self.epoch, position }
    }
}

impl From<RecordId> for Source {
    fn from(id: RecordId) -> Self {
        Self { device: id.device, epoch: id.epoch, chain: id.position.chain }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.device, self.epoch, self.chain)
    }
}

impl FromStr for Source {
    type Err = backhaul_store::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A record's name has one part more, which says nothing here.
        let parts = text.matches('/').count();
        let whole = if parts == 2 { format!("{text}/1") } else { String::new() };
        Ok(Source::from(whole.parse::<RecordId>()?))
    }
}

/// Where one record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: Source,
    /// The floor of the source, as the hub knows it once the record is stored.
    pub(crate) floor: u64,
    pub(crate) sequence: u64,
}

/// What a backhaul says of the records that it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: Source,
    /// Everything before is settled at the sender.
    pub(crate) floor: u64,
    /// The sequence of each record, in order.
    pub(crate) sequences: Vec<u64>,
    /// How many records its next request is to have; 0: none, or unknown.
    pub(crate) next: usize,
}

impl Origin {
    /// `Ok(None)`: the request comes from another client.
    ///
    /// # Errors
    /// A refusal that names the header, what was found and what was expected.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(source) = text_of(headers, SOURCE)? else {
            let stray =
                [FLOOR, SEQUENCES, NEXT].into_iter().find(|name| headers.contains_key(*name));
            return match stray {
                Some(name) => Err(Refusal::bad_request(format!(
                    "the header {name} means nothing without Backhaul-Source"
                ))),
                None => Ok(None),
            };
        };
        let source: Source = source.parse().map_err(|_| {
            Refusal::bad_request(format!(
                "Backhaul-Source is {source:?}: expected DEVICE/EPOCH/CHAIN such as \
                 6ba7b8109dad11d180b400c04fd430c8/0000beef/normal"
            ))
        })?;
        let floor_text = required(headers, FLOOR, "Backhaul-Floor")?;
        let floor =
            floor_text.parse::<u64>().ok().filter(|floor| *floor >= 1).ok_or_else(|| {
                Refusal::bad_request(format!(
                    "Backhaul-Floor is {floor_text:?}: expected a sequence from 1 on"
                ))
            })?;
        let sequences = parse_sequences(required(headers, SEQUENCES, "Backhaul-Sequences")?)?;
        // A hint: what makes no sense is none.
        let next = text_of(headers, NEXT)?.and_then(|next| next.parse().ok()).unwrap_or(0);
        Ok(Some(Self { source, floor, sequences, next: MAX_RECORDS.min(next) }))
    }

    /// Checks the sequences against the number of records and the window.
    pub(crate) fn check(&self, records: usize, floor: u64) -> Result<(), Refusal> {
        let sequences = self.sequences.len();
        if sequences != records {
            return Err(Refusal::bad_request(format!(
                "Backhaul-Sequences names {sequences} records, the body holds {records}"
            )));
        }
        let beyond = self.sequences.iter().position(|sequence| *sequence >= Window::end(floor));
        match beyond.and_then(|index| Some((index, self.sequences.get(index)?))) {
            None => Ok(()),
            Some((index, sequence)) => Err(Refusal::bad_request(format!(
                "sequence {sequence} of {} is {} from its floor {floor}: the window has {} places",
                self.source,
                sequence - floor,
                backhaul_store::WINDOW
            ))
            .at(index)),
        }
    }
}

fn required<'a>(headers: &'a HeaderMap, name: &str, spelled: &str) -> Result<&'a str, Refusal> {
    text_of(headers, name)?.ok_or_else(|| {
        Refusal::bad_request(format!("Backhaul-Source is given, but {spelled} is missing"))
    })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    match text {
        Some(text) => Ok(Some(text.trim())),
        None => Err(Refusal::bad_request(format!("the header {name} is not one line of text"))),
    }
}

/// Reads `5-9,12`: ascending, without overlaps.
fn parse_sequences(text: &str) -> Result<Vec<u64>, Refusal> {
    let bad = |part: &str, why: &str| {
        Refusal::bad_request(format!(
            "Backhaul-Sequences: {why} at {part:?}, expected ascending ranges such as 5-9,12"
        ))
    };
    let mut sequences = Vec::new();
    let mut last = 0;
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u64>(), to.trim().parse::<u64>()) else {
            return Err(bad(part, "no sequence"));
        };
        if from <= last || to < from {
            return Err(bad(part, "no ascending order from 1 on"));
        }
        if to - from >= (MAX_RECORDS - sequences.len()) as u64 {
            return Err(Refusal::too_large(format!(
                "Backhaul-Sequences names more than {MAX_RECORDS} records: send fewer at a time"
            )));
        }
        sequences.extend(from..=to);
        last = to;
    }
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_in_order_and_bounded() {
        assert_eq!(parse_sequences("5-9,12").unwrap(), [5, 6, 7, 8, 9, 12]);
        assert_eq!(parse_sequences("").unwrap(), [0_u64; 0]);
        for bad in ["0", "5-4", "5,5", "9-12,10", "x", "1-", "-1", "1-2-3"] {
            assert_eq!(parse_sequences(bad).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        assert_eq!(parse_sequences("1-10000").unwrap().len(), 10_000);
        assert_eq!(parse_sequences("1-18446744073709551615").unwrap_err().status.as_u16(), 413);
        assert_eq!(parse_sequences("1-9999,20000-20001").unwrap_err().status.as_u16(), 413);
    }

    #[test]
    fn a_source_is_the_first_three_parts_of_a_record_id() {
        let text = "6ba7b8109dad11d180b400c04fd430c8/0000beef/critical.2";
        let source: Source = text.parse().unwrap();
        assert_eq!(source.to_string(), text);
        assert_eq!(source.record_id(9).to_string(), format!("{text}/9"));
        assert!("6ba7b8109dad11d180b400c04fd430c8/0000beef".parse::<Source>().is_err());
        assert!(format!("{text}/3").parse::<Source>().is_err());
        assert!(format!("{}/x/normal", &text[..41]).parse::<Source>().is_err());
    }
}
