//! Appending, and what a spool may refuse.

use std::collections::BTreeMap;
use std::time::Duration;

use backhaul_store::{Clock, ErrorKind, Flush, Lane, RecordId, Ticket};

use super::item::{Fate, Item, LANES, LENGTHS, Place, place};
use super::outcome::{Outcome, ensure};
use super::run::Run;
use super::seen::Seen;
use super::step::{End, New};

impl Run<'_> {
    fn item(&mut self, new: &New, flush: Flush) -> Item {
        self.number += 1;
        let now = self.clock.now();
        Item {
            number: self.number,
            len: LENGTHS[new.len],
            stream: new.stream,
            expires_s: new.expires_s,
            boot: self.clock.boot_id().to_owned(),
            since_boot: now.since_boot,
            wall: now.wall,
            carried: Duration::ZERO,
            fate: Fate::Waiting,
            tries: Vec::new(),
            held: false,
            failure: None,
            durable: flush == Flush::Always,
            orphaned: false,
            settled: true,
        }
    }

    /// The lane of the record, if an eviction was allowed for its sake.
    pub(super) fn append(&mut self, new: &New, flush: Flush) -> Outcome<Option<Lane>> {
        let lane = LANES[new.lane];
        let item = self.item(new, flush);
        let result = self.spool().submit_with(item.record(lane), flush).and_then(Ticket::wait);
        match result {
            Ok(id) => self.accept(id, lane, item)?,
            Err(error) => self.refused(error.kind(), &error.to_string(), item.room(lane))?,
        }
        Ok(Some(lane))
    }

    fn accept(&mut self, id: RecordId, lane: Lane, item: Item) -> Outcome {
        let expected = self.take_place(lane);
        ensure!(place(id.position) == expected, "{id} was given, {expected:?} was next");
        let name = *self.name.get_or_insert(id);
        ensure!(
            (name.device, name.epoch) == (id.device, id.epoch),
            "the spool's name changed from {name} to {id}"
        );
        self.items.insert(expected, item);
        Ok(())
    }

    pub(super) fn take_place(&mut self, lane: Lane) -> Place {
        let next = self.next.entry(lane).or_insert(1);
        *next += 1;
        (lane, *next - 1)
    }

    /// `asked`: bytes of the bodies, each in blocks of its own, with a sidecar.
    fn refused(&self, kind: ErrorKind, error: &str, asked: u64) -> Outcome {
        ensure!(kind == ErrorKind::Full && self.setup.cap.is_some(), "append: {error}");
        Seen::add(&self.seen.refused, 1);
        let (cap, _) = self.setup.cap.unwrap_or_default();
        let used = self.measured();
        // Beside the records a segment for each lane, and the ledger's lines.
        ensure!(used + asked + (48 << 10) > cap, "{used} of {cap} bytes are used, and: {error}");
        Ok(())
    }

    /// Bytes that the spool's files take on disk.
    fn measured(&self) -> u64 {
        let files = self.disk.paths().into_iter().map(|path| self.disk.read_file(path).unwrap());
        files.map(|bytes| bytes.len().next_multiple_of(4096) as u64).sum()
    }

    pub(super) fn burst(&mut self, new: &[New], end: End) -> Outcome<Option<Lane>> {
        let mut items = Vec::new();
        let mut tickets = Vec::new();
        for new in new {
            let lane = LANES[new.lane];
            let item = self.item(new, Flush::Always);
            let ticket = self.spool().submit(item.record(lane));
            tickets.push(ticket.map_err(|error| format!("submit: {error}"))?);
            items.push((lane, item));
        }
        let most_urgent = items.iter().map(|(lane, _)| *lane).min();
        if end == End::Wait {
            let results: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
            let stored = results.iter().filter(|result| result.is_ok()).count();
            ensure!(stored == 0 || stored == items.len(), "{stored} of {} stored", items.len());
            let asked = items.iter().map(|(lane, item)| item.room(*lane)).sum();
            for (result, (lane, item)) in results.into_iter().zip(items) {
                match result {
                    Ok(id) => self.accept(id, lane, item)?,
                    Err(error) => self.refused(error.kind(), &error.to_string(), asked)?,
                }
            }
            return Ok(most_urgent);
        }
        drop(tickets);
        if end == End::DropAndMaintain {
            self.maintain()?;
        } else {
            self.spool().flush().map_err(|error| format!("flush: {error}"))?;
            self.records_are_durable();
        }
        // Nobody was told whether they fitted: all of them or none.
        let ends = self.ends()?;
        let grown: u64 = LANES
            .iter()
            .map(|lane| ends.get(lane).copied().unwrap_or(1) - self.next.get(lane).unwrap_or(&1))
            .sum();
        ensure!(grown == 0 || grown == items.len() as u64, "{grown} of {} stored", items.len());
        ensure!(grown > 0 || self.setup.cap.is_some(), "dropped tickets were not committed");
        if grown > 0 {
            for (lane, item) in items {
                let place = self.take_place(lane);
                self.items.insert(place, item);
            }
        }
        Ok(most_urgent)
    }

    pub(super) fn ends(&self) -> Outcome<BTreeMap<Lane, u64>> {
        let ends = self.spool().ends().map_err(|error| format!("ends: {error}"))?;
        for chain in ends.keys() {
            ensure!(chain.writer == 0, "there is a second writer: {chain}");
        }
        // A lane whose first segment was made in vain is as good as one never used.
        let used = ends.into_iter().filter(|(_, end)| end.0 > 1);
        Ok(used.map(|(chain, end)| (chain.lane, end.0)).collect())
    }
}
