//! A run: one spool and its model, driven step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Batch, Chooser, Flush, Lane, Options, RecordId, Spool, Standing};
use backhaul_testkit::{Faults, FaultyDisk, ManualClock, SimDisk};

use super::choosing::by_number;
use super::item::{Fate, Item, Place};
use super::outcome::{Outcome, ensure};
use super::seen::Seen;
use super::step::{Setup, Step};
use crate::support::{Layout, open_at, options};

/// The real spool and what the model holds of each record.
pub(super) struct Run<'a> {
    pub(super) layout: Layout,
    pub(super) setup: Setup,
    pub(super) seen: &'a Seen,
    pub(super) disk: SimDisk,
    pub(super) faults: Faults,
    pub(super) clock: ManualClock,
    pub(super) chooser: Arc<dyn Chooser>,
    pub(super) spool: Option<Spool>,
    pub(super) batches: Vec<(u64, Batch)>,
    /// Which batch a record is on offer in.
    pub(super) in_flight: BTreeMap<Place, u64>,
    pub(super) turn: u64,
    /// Batches that were answered since the spool was opened, and the turn of the last.
    pub(super) answered: (u64, u64),
    pub(super) items: BTreeMap<Place, Item>,
    pub(super) next: BTreeMap<Lane, u64>,
    pub(super) number: u64,
    /// Relaxed records that a power cut took.
    pub(super) lost: u64,
    pub(super) name: Option<RecordId>,
    pub(super) segments: BTreeSet<String>,
}

impl<'a> Run<'a> {
    pub(super) fn start(
        layout: Layout,
        setup: Setup,
        disk: SimDisk,
        seen: &'a Seen,
    ) -> Outcome<Self> {
        let mut run = Self {
            layout,
            setup,
            seen,
            disk,
            faults: Faults::new(),
            clock: ManualClock::new(),
            chooser: by_number(),
            spool: None,
            batches: Vec::new(),
            in_flight: BTreeMap::new(),
            turn: 0,
            answered: (0, 0),
            items: BTreeMap::new(),
            next: BTreeMap::new(),
            number: 0,
            lost: 0,
            name: None,
            segments: BTreeSet::new(),
        };
        run.open()?;
        Ok(run)
    }

    pub(super) fn open(&mut self) -> Outcome {
        let options = Options {
            segment_bytes: 16 << 10,
            max_bytes: self.setup.cap.map(|(bytes, _)| bytes),
            when_full: self.setup.cap.map(|(_, policy)| policy).unwrap_or_default(),
            keep_delivered_for: Duration::from_secs(self.setup.keep_s),
            ..options(self.layout)
        };
        self.faults = Faults::new();
        let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
        let opened = open_at(Arc::new(disk), options, &self.clock);
        self.spool = Some(opened.map_err(|error| format!("does not open: {error}"))?);
        self.answered = (0, 0);
        Ok(())
    }

    /// Gives back what is in flight, and lets go of the spool.
    pub(super) fn close(&mut self) {
        self.batches.clear();
        self.in_flight.clear();
        self.spool = None;
    }

    pub(super) fn spool(&self) -> &Spool {
        self.spool.as_ref().expect("the spool is open between steps")
    }

    pub(super) fn step(&mut self, step: &Step) -> Outcome {
        let mut appended = None;
        match step {
            Step::Append(new) => appended = self.append(new, Flush::Always)?,
            Step::AppendRelaxed(new) => {
                appended = self.append(new, Flush::Every(Duration::from_secs(1)))?;
            }
            Step::Burst(new, end) => appended = self.burst(new, *end)?,
            Step::Take { records, bytes } => self.take(*records, *bytes)?,
            Step::Settle(verdicts) => self.settle(verdicts)?,
            Step::Operate(which, verdict) => self.operate(*which, *verdict)?,
            Step::Requeue(which) => self.requeue(*which)?,
            Step::Advance(ms) => self.clock.advance(Duration::from_millis(*ms)),
            Step::Maintain => self.maintain()?,
            Step::Flush => {
                self.spool().flush().map_err(|error| format!("flush: {error}"))?;
                self.records_are_durable();
            }
            Step::Reopen => {
                self.close();
                self.records_are_durable();
                self.ledger_is_durable();
                self.open()?;
                self.check_ends()?;
                self.check_bodies()?;
            }
            Step::Kill => {
                self.die();
                for item in self.items.values_mut().filter(|item| !item.durable) {
                    item.orphaned = self.layout == Layout::Folder;
                }
                self.open()?;
                self.check_ends()?;
                self.check_bodies()?;
            }
            Step::PowerCut(seed) => {
                self.power_cut(*seed)?;
                self.check_bodies()?;
            }
        }
        self.check(appended)
    }

    pub(super) fn maintain(&mut self) -> Outcome {
        if let Err(error) = self.spool().maintain() {
            // Sealing and growing need room for a while; at the cap there may be none.
            ensure!(error.is_full() && self.setup.cap.is_some(), "maintain: {error}");
        }
        self.expire()
    }

    /// What is too old expires in maintenance, whether or not it could be sent. What gave
    /// way to others just before, the oldest of its lane, could not any more.
    fn expire(&mut self) -> Outcome {
        let status = self.spool().status().map_err(|error| format!("status: {error}"))?;
        let pending = self.list(Standing::Pending)?;
        for (lane, books) in status.lanes {
            let known = |item: &&Item| item.fate == Fate::Expired;
            let of_lane = (lane, 0)..=(lane, u64::MAX);
            let known = self.items.range(of_lane.clone()).filter(|(_, item)| known(item)).count();
            let new = usize::try_from(books.expired).unwrap() - known;
            let due: Vec<Place> = self
                .items
                .range(of_lane)
                .filter(|(place, item)| {
                    !self.in_flight.contains_key(place) && item.is_due_to_expire(&self.clock)
                })
                .map(|(place, _)| *place)
                .collect();
            let waiting = due.iter().find(|place| pending.contains_key(*place));
            ensure!(waiting.is_none(), "{waiting:?} is too old, and waits");
            let stayed = due.len().saturating_sub(new);
            let surplus = new.saturating_sub(due.len());
            let of_lane = self.items.range((lane, 0)..=(lane, u64::MAX));
            let more: Vec<Place> = of_lane
                .rev()
                .filter(|(place, item)| {
                    let is_gone = !due.contains(place)
                        && !pending.contains_key(*place)
                        && !self.in_flight.contains_key(place);
                    is_gone && item.may_expire(&self.clock)
                })
                .map(|(place, _)| *place)
                .take(surplus)
                .collect();
            ensure!(
                more.len() == surplus,
                "{new} of {lane} expired, {due:?} are due and {more:?} old enough"
            );
            for place in due.iter().skip(stayed).chain(&more) {
                self.items.get_mut(place).unwrap().expire();
            }
        }
        Ok(())
    }
}
