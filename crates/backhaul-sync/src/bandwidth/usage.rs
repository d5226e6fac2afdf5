//! What stands in the usage file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::limits::Limits;
use super::moment::Now;
use super::refill::Refill;
use super::spending::Spending;
use super::timeline::Timeline;

/// The version of the format that this program writes.
const FORMAT: u32 = 1;
/// Files are filled up with blanks to whole pages of this size.
const PAGE: usize = 4096;
const CHECKSUM: &str = ",\"crc\":\"";

/// The number under which a process takes its piece of the allowance.
pub(crate) type SlotNumber = u32;

/// What the device has counted, and what its processes have taken ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    format: u32,
    /// Grows with each write.
    pub(crate) generation: u64,
    pub(crate) time: Timeline,
    pub(crate) counted: Spending,
    pub(crate) leases: BTreeMap<SlotNumber, Amount>,
}

/// What a copy of the file holds.
#[derive(Debug)]
pub(crate) enum Parsed {
    Usage(Usage),
    Damaged,
    /// Whole, and of a format that this program does not know.
    Newer,
}

impl Usage {
    /// Nothing was ever counted.
    pub(crate) fn new() -> Self {
        Self {
            format: FORMAT,
            generation: 0,
            time: Timeline::default(),
            counted: Spending::default(),
            leases: BTreeMap::new(),
        }
    }

    /// Counts the whole allowance, because nobody knows how much of it was used.
    pub(crate) fn exhaust(&mut self, limits: Limits, now: &Now, refill: Refill) {
        let bytes = Amount { normal: limits.limit, critical: 0 };
        self.counted.count(bytes, now, refill);
    }

    /// What is counted or taken ahead, by any process.
    pub(crate) fn taken(&self) -> Amount {
        self.leases.values().fold(self.counted.total(), |sum, lease| sum + *lease)
    }

    /// Writes down what a process has taken.
    pub(crate) fn set_lease(&mut self, slot: SlotNumber, lease: Amount) {
        if lease.is_zero() {
            self.leases.remove(&slot);
        } else {
            self.leases.insert(slot, lease);
        }
    }

    /// Counts the whole lease of a process that is gone: nobody knows how much of it was used.
    pub(crate) fn close_lease(&mut self, slot: SlotNumber, now: &Now, refill: Refill) {
        if let Some(lease) = self.leases.remove(&slot) {
            self.counted.count(lease, now, refill);
        }
    }

    /// One JSON object with its checksum, filled up with blanks to whole pages and to at
    /// least `len` bytes.
    pub(crate) fn encode(&self, len: usize) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.pop();
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(format!("{CHECKSUM}{crc:08x}\"}}").as_bytes());
        let len = (bytes.len() + 1).max(len).next_multiple_of(PAGE);
        bytes.resize(len - 1, b' ');
        bytes.push(b'\n');
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Parsed {
        let Some(content) = checked(bytes) else { return Parsed::Damaged };
        match serde_json::from_str::<Usage>(&format!("{content}}}")) {
            Ok(usage) if usage.format == FORMAT => Parsed::Usage(usage),
            _ => Parsed::Newer,
        }
    }
}

/// The object up to its checksum, if that is right.
fn checked(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim_ascii_end();
    let (content, checksum) = text.rsplit_once(CHECKSUM)?;
    let crc = u32::from_str_radix(checksum.strip_suffix("\"}")?, 16).ok()?;
    (crc32fast::hash(content.as_bytes()) == crc).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bandwidth::moment::{Proven, TrueTime};

    fn usage() -> Usage {
        let mut usage = Usage::new();
        usage.generation = 7;
        usage.time.advance("boot", std::time::Duration::from_secs(5));
        let now =
            Now { proven: Proven(3), not_before: Some(TrueTime(4)), not_after: Some(TrueTime(5)) };
        usage.counted.count(Amount { normal: 10, critical: 2 }, &now, Refill::default());
        usage.set_lease(3, Amount { normal: 64_000, critical: 0 });
        usage
    }

    #[test]
    fn it_reads_back_as_one_json_object_of_whole_pages() {
        let bytes = usage().encode(0);
        assert_eq!(bytes.len(), PAGE);
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["leases"]["3"]["normal"], 64_000);
        assert!(matches!(Usage::parse(&bytes), Parsed::Usage(read) if read == usage()));
        assert_eq!(usage().encode(PAGE + 1).len(), 2 * PAGE);
    }

    #[test]
    fn any_flipped_bit_is_noticed_or_changes_nothing() {
        let bytes = usage().encode(0);
        for offset in 0..600 {
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[offset] ^= 1 << bit;
                match Usage::parse(&bent) {
                    Parsed::Damaged => {}
                    Parsed::Usage(read) => assert_eq!(read, usage(), "offset {offset}"),
                    Parsed::Newer => panic!("offset {offset}, bit {bit}"),
                }
            }
        }
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let newer = Usage { format: 2, ..usage() };
        assert!(matches!(Usage::parse(&newer.encode(0)), Parsed::Newer));
        assert!(matches!(Usage::parse(b""), Parsed::Damaged));
        assert!(matches!(Usage::parse(&[0; PAGE]), Parsed::Damaged));
    }

    #[test]
    fn what_a_dead_process_had_taken_counts_as_used() {
        let mut usage = usage();
        assert_eq!(usage.taken(), Amount { normal: 64_010, critical: 2 });
        usage.close_lease(3, &Now::default(), Refill::default());
        assert_eq!(usage.counted.total(), Amount { normal: 64_010, critical: 2 });
        assert!(usage.leases.is_empty());
    }
}
