//! Comparing: books, lists and bodies are what the model says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use backhaul_store::{Books, Lane, QueueEntry, Standing, WhenFull};

use super::item::{Fate, Place, place, position};
use super::outcome::{Outcome, ensure};
use super::run::Run;
use super::seen::Seen;

impl Run<'_> {
    pub(super) fn list(&self, standing: Standing) -> Outcome<BTreeMap<Place, QueueEntry>> {
        let mut entries = BTreeMap::new();
        let mut order = Vec::new();
        self.spool()
            .each(Some(standing), &mut |entry| {
                order.push(place(entry.id.position));
                entries.insert(place(entry.id.position), entry);
                ControlFlow::Continue(())
            })
            .map_err(|error| format!("list: {error}"))?;
        ensure!(order.is_sorted(), "listed out of order: {order:?}");
        ensure!(order.len() == entries.len(), "listed twice: {order:?}");
        Ok(entries)
    }

    pub(super) fn check(&mut self, appended: Option<Lane>) -> Outcome {
        let status = self.spool().status().map_err(|error| format!("status: {error}"))?;
        let waiting = self.list(Standing::Pending)?;
        self.take_over_evictions(&status.books, &waiting, appended)?;
        self.compare(Fate::Waiting, &waiting)?;
        self.compare(Fate::Rejected, &self.list(Standing::Failed)?)?;
        self.check_books(&status.books, waiting.len() as u64)?;
        for path in self.disk.paths() {
            if crate::support::is_segment(&path) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.segments.insert(name.replace(".synced", ""));
            }
        }
        Ok(())
    }

    fn take_over_evictions(
        &mut self,
        books: &Books,
        waiting: &BTreeMap<Place, QueueEntry>,
        appended: Option<Lane>,
    ) -> Outcome {
        let known = self.count(Fate::Evicted);
        let new = books.evicted.checked_sub(known).ok_or("evictions were forgotten")?;
        if new == 0 {
            return Ok(());
        }
        let missing: Vec<Place> = self
            .items
            .iter()
            .filter(|(place, item)| item.fate == Fate::Waiting && !waiting.contains_key(place))
            .map(|(place, _)| *place)
            .collect();
        ensure!(missing.len() as u64 == new, "{new} evicted, {missing:?} are missing");
        let (Some(lane), Some((_, policy))) = (appended, self.setup.cap) else {
            return Err(format!("{missing:?} were evicted, and nothing asked for room"));
        };
        ensure!(policy != WhenFull::Reject, "{missing:?} were evicted from a spool that rejects");
        // A failed record keeps its whole file from being evicted.
        let nothing_failed = self.count(Fate::Rejected) == 0;
        for (evicted_lane, sequence) in &missing {
            let oldest = waiting.keys().find(|(of, _)| of == evicted_lane);
            ensure!(
                !nothing_failed || oldest.is_none_or(|(_, oldest)| oldest > sequence),
                "{evicted_lane}/{sequence} was evicted, {oldest:?} is older"
            );
            ensure!(
                policy != WhenFull::DropLowestPriority || *evicted_lane >= lane,
                "{evicted_lane}/{sequence} was evicted for a record in {lane}"
            );
        }
        let critical = missing.iter().any(|(lane, _)| *lane == Lane::Critical);
        let others = waiting.keys().any(|(lane, sequence)| {
            // What was appended just now came after.
            *lane != Lane::Critical && self.next.get(lane).is_some_and(|next| sequence + 12 < *next)
        });
        ensure!(
            !critical || !others || !nothing_failed,
            "critical records were evicted before others: {missing:?}"
        );
        for place in &missing {
            self.in_flight.remove(place);
            let item = self.items.get_mut(place).unwrap();
            (item.fate, item.held) = (Fate::Evicted, false);
        }
        Seen::add(&self.seen.evicted, missing.len());
        self.ledger_is_durable();
        Ok(())
    }

    fn compare(&self, fate: Fate, found: &BTreeMap<Place, QueueEntry>) -> Outcome {
        let expected: Vec<Place> = self
            .items
            .iter()
            .filter(|(_, item)| item.fate == fate)
            .map(|(place, _)| *place)
            .collect();
        let places: Vec<Place> = found.keys().copied().collect();
        ensure!(places == expected, "{fate:?}: found {places:?}, the model has {expected:?}");
        for (place, entry) in found {
            let item = &self.items[place];
            let record = item.record(place.0);
            let attempts = match &item.failure {
                Some((_, attempts)) => *attempts,
                None => u32::try_from(item.tries.len()).unwrap(),
            };
            let found = (
                entry.facts.labels.get("run_id").map(String::as_str),
                entry.facts.stream.as_deref(),
                entry.facts.expires_after_ms,
                entry.size_bytes,
                entry.attempts,
                entry.last_error.as_deref(),
            );
            let (run_id, stream) =
                (format!("run_{}", item.number), item.stream.map(|stream| format!("s{stream}")));
            let expected = (
                Some(run_id.as_str()),
                stream.as_deref(),
                item.expires_s.map(|seconds| seconds * 1000),
                record.body().len(),
                attempts,
                item.last_error(),
            );
            ensure!(found == expected, "{place:?}: found {found:?}, the model has {expected:?}");
        }
        Ok(())
    }

    pub(super) fn count(&self, fate: Fate) -> u64 {
        self.items.values().filter(|item| item.fate == fate).count() as u64
    }

    fn check_books(&self, books: &Books, waiting: u64) -> Outcome {
        ensure!(books.balance(), "the books do not balance: {books:?}");
        let duplicates = self.count(Fate::Duplicate);
        // Relaxed records that a power cut took may be known by their places.
        let missing = books.accepted.checked_sub(self.items.len() as u64);
        let missing = missing.ok_or_else(|| format!("accepted too few: {books:?}"))?;
        ensure!(missing <= self.lost, "{missing} too many accepted: {books:?}");
        let expected = Books {
            accepted: self.items.len() as u64 + missing,
            delivered: self.count(Fate::Delivered) + duplicates,
            duplicates,
            expired: self.count(Fate::Expired),
            evicted: self.count(Fate::Evicted),
            rejected: self.count(Fate::Rejected),
            dropped: self.count(Fate::Dropped),
            superseded: 0,
            damaged: books.damaged,
            pending: waiting + missing - books.damaged.min(missing),
            void: books.void,
        };
        ensure!(*books == expected, "the books say {books:?}, the model {expected:?}");
        ensure!(books.void <= self.lost, "{} places are void: {books:?}", books.void);
        Ok(())
    }

    pub(super) fn check_bodies(&self) -> Outcome {
        for (at, item) in self.items.iter().filter(|(_, item)| item.fate == Fate::Waiting) {
            let (_, record) =
                self.spool().get(position(*at)).map_err(|error| format!("get {at:?}: {error}"))?;
            ensure!(
                record.body == item.record(at.0).body(),
                "the body of {at:?} is not what was appended"
            );
            if let Some(name) = self.name {
                ensure!(
                    (record.id.device, record.id.epoch) == (name.device, name.epoch),
                    "{} was named {name} before",
                    record.id
                );
            }
        }
        Ok(())
    }
}
