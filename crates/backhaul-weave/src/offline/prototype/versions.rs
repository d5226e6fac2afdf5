//! What the digests stand for that the prototype answered.
//!
//! It drew a UUIDv7 for each version right after it had written the record, and wrote it down
//! for files alone. A UUIDv7 begins with the millisecond in which it was drawn, and records
//! have times; so a digest in a reference stands for the last record of that name before it.

use std::collections::{BTreeMap, HashMap};

use backhaul_store::Timestamp;
use uuid::Uuid;

/// Records that are older than a digest by more are not what it was drawn for: a slow card
/// may take seconds to write one.
const LONGEST_WRITE_MS: i64 = 10_000;

/// The versions that the prototype made, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    files: HashMap<String, String>,
    /// By name, by the millisecond of the record. `None`: several that differ.
    made: HashMap<String, BTreeMap<i64, Option<String>>>,
}

impl Versions {
    /// The name under which tables are, which have none.
    pub(super) const TABLES: &str = "";

    pub(super) fn add_file(&mut self, file_id: &str, digest: &str) {
        self.files.insert(file_id.to_owned(), digest.to_owned());
    }

    /// What the prototype called files.
    pub(super) fn file_ids(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The digest of a file that the prototype called so.
    pub(super) fn file(&self, file_id: &str) -> Option<&str> {
        self.files.get(file_id).map(String::as_str)
    }

    pub(super) fn add(&mut self, name: &str, at: Timestamp, digest: &str) {
        let versions = self.made.entry(name.to_owned()).or_default();
        versions
            .entry(millis(at))
            .and_modify(|known| {
                if known.as_deref() != Some(digest) {
                    *known = None;
                }
            })
            .or_insert_with(|| Some(digest.to_owned()));
    }

    /// The digest of what the prototype answered `drawn` for. `None`: that cannot be told.
    pub(super) fn of(&self, name: &str, drawn: &str) -> Option<&str> {
        let drawn = drawn_at(drawn)?;
        let mut before = self
            .made
            .get(name)?
            .range(drawn - LONGEST_WRITE_MS..=drawn)
            .rev()
            .map(|(at, version)| (*at, version.as_deref()));
        let (at, last) = before.next()?;
        // In one millisecond a version may be written after the digest of the one before was
        // drawn.
        let is_sure = at < drawn || before.next().is_none_or(|(_, other)| other == last);
        last.filter(|_| is_sure)
    }
}

fn millis(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000)
}

/// The millisecond in which the prototype drew a digest. `None`: it is none of the prototype's.
pub(super) fn drawn_at(digest: &str) -> Option<i64> {
    let uuid = Uuid::try_parse(digest).ok().filter(|uuid| uuid.get_version_num() == 7)?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    i64::try_from(seconds * 1_000 + u64::from(nanos) / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + millis * 1_000 + 700)
    }

    fn drawn(millis: u64) -> String {
        let since = 1_767_225_600_000 + millis;
        let time = uuid::Timestamp::from_unix_time(
            since / 1_000,
            (since % 1_000) as u32 * 1_000_000,
            0,
            0,
        );
        Uuid::new_v7(time).to_string()
    }

    #[test]
    fn a_digest_stands_for_the_last_record_of_that_name_before_it() {
        let mut versions = Versions::default();
        for (millis, digest) in [(0, "A"), (5, "B"), (50, "C")] {
            versions.add("f", at(millis), digest);
        }
        versions.add("g", at(6), "other");
        let of = |millis| versions.of("f", &drawn(millis));
        assert_eq!(
            [of(1), of(4), of(6), of(49), of(60)],
            [Some("A"), Some("A"), Some("B"), Some("B"), Some("C")]
        );
        assert_eq!(versions.of("h", &drawn(6)), None);
    }

    #[test]
    fn what_cannot_be_told_is_left() {
        let mut versions = Versions::default();
        for (millis, digest) in [(0, "A"), (0, "B"), (20, "C"), (25, "D"), (25, "D")] {
            versions.add("f", at(millis), digest);
        }
        // Two at one moment; one while another may have been drawn; none for long before; no UUIDv7.
        assert_eq!(versions.of("f", &drawn(3)), None);
        assert_eq!(versions.of("f", &drawn(25)), None);
        assert_eq!(versions.of("f", &drawn(26)), Some("D"));
        assert_eq!(versions.of("f", &drawn(11_000)), None);
        assert_eq!(versions.of("f", "latest"), None);
        assert_eq!(versions.of("f", &Uuid::new_v4().to_string()), None);
    }
}
