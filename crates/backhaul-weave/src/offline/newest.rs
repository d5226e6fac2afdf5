//! Which version of each object was stored last.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use backhaul_store::{Chain, Sequence, Spool, StoredRecord, Timestamp};

use crate::entry::{DIGEST_LABEL, EntryType, OBJECT_LABEL};
use crate::kind::Kind;

/// The kinds that hold versions. Ops and other objects share their names.
pub(super) const KINDS: [Kind; 2] = [Kind::Ops, Kind::Objects];
/// No version has this digest.
const NONE: &str = "";
/// Names that are known are let go by so many.
const NAMES: usize = 8_192;

/// By the object's name, the version that was stored last.
///
/// # What it is good for
/// A version is not stored again while it is its object's newest. That it is stored once
/// more than needed does no harm: a server makes no new version of it, and has it as the
/// newest, as it is. So what is not known counts as not stored:
/// - Of two processes that store a version at the same moment, both may store it.
/// - Of more than 16,384 names those that were used longest ago may be forgotten, which
///   bounds the memory at a few megabytes.
///
/// What must not be is that a version is taken for the newest and another one is. Within a
/// chain the last one is the newest. Between chains, that is processes at work at the same
/// time or kinds, the later one is, by the wall clock; and what others stored since is read
/// before a version is taken for the newest.
#[derive(Debug, Default)]
pub(super) struct Newest {
    recent: HashMap<String, Version>,
    /// Used before the first of the recent ones.
    older: HashMap<String, Version>,
    /// By kind, up to where its records were read.
    read: HashMap<Kind, BTreeMap<Chain, Sequence>>,
}

#[derive(Debug, Clone)]
struct Version {
    digest: String,
    at: Timestamp,
    place: (Kind, Chain),
}

impl Newest {
    /// Takes over what was stored since the last time, by whomever.
    pub(super) fn read(&mut self, kind: Kind, spool: &Spool) -> backhaul_store::Result<()> {
        let mut places = self.read.remove(&kind).unwrap_or_default();
        let from = places.clone();
        let read = spool.each_from(&from, &mut |record| {
            let position = record.id.position;
            places.insert(position.chain, Sequence(position.sequence.0 + 1));
            self.note_record(kind, &record);
            ControlFlow::Continue(())
        });
        self.read.insert(kind, places);
        read
    }

    fn note_record(&mut self, kind: Kind, record: &StoredRecord) {
        let facts = &record.facts;
        // After a deletion none is the newest, and any is stored again.
        let versions = match EntryType::of_name(&facts.kind) {
            Some(EntryType::ObjDelete) => (facts.stream.as_ref(), Some(NONE)),
            _ => {
                let digest = facts.labels.get(DIGEST_LABEL).map(String::as_str);
                (facts.labels.get(OBJECT_LABEL), digest)
            }
        };
        if let (Some(name), Some(digest)) = versions {
            self.note(name, digest, (kind, record.id.position.chain), record.stamp.wall);
        }
    }

    pub(super) fn is(&self, name: &str, digest: &str) -> bool {
        let known = self.recent.get(name).or_else(|| self.older.get(name));
        known.is_some_and(|newest| newest.digest == digest)
    }

    /// Notes that a version was stored, where and when.
    pub(super) fn note(&mut self, name: &str, digest: &str, place: (Kind, Chain), at: Timestamp) {
        let known = self.recent.remove(name).or_else(|| self.older.remove(name));
        let newest = match known {
            Some(known) if known.place != place && known.at > at => known,
            _ => Version { digest: digest.to_owned(), at, place },
        };
        if self.recent.len() >= NAMES {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(name.to_owned(), newest);
    }
}

#[cfg(test)]
mod tests {
    use backhaul_store::Lane;

    use super::*;

    fn place(kind: Kind, writer: u16) -> (Kind, Chain) {
        (kind, Chain { lane: Lane::Normal, writer })
    }

    #[test]
    fn within_a_chain_the_last_is_the_newest_whatever_the_clock_says() {
        let mut newest = Newest::default();
        let ops = place(Kind::Ops, 0);
        newest.note("f", "A", ops, Timestamp::from_micros(9));
        newest.note("f", "B", ops, Timestamp::from_micros(1));
        assert!(newest.is("f", "B") && !newest.is("f", "A"));
    }

    #[test]
    fn between_chains_and_kinds_the_later_is_in_whatever_order_they_are_read() {
        let versions = [
            ("A", place(Kind::Ops, 0), 1),
            ("B", place(Kind::Objects, 0), 3),
            ("C", place(Kind::Ops, 1), 2),
        ];
        for first in 0..3 {
            let mut newest = Newest::default();
            for at in 0..3 {
                let (digest, place, micros) = versions[(first + at) % 3];
                newest.note("f", digest, place, Timestamp::from_micros(micros));
            }
            assert!(newest.is("f", "B"), "{newest:?}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_is_not_forgotten() {
        let mut newest = Newest::default();
        for number in 0..50_000 {
            let at = Timestamp::from_micros(number);
            newest.note(&format!("object_{number}"), "A", place(Kind::Objects, 0), at);
            newest.note("in_use", "A", place(Kind::Objects, 0), at);
        }
        assert!(newest.recent.len() + newest.older.len() <= 2 * NAMES);
        assert!(newest.is("in_use", "A") && newest.is("object_49999", "A"));
        assert!(!newest.is("object_0", "A"));
    }
}
