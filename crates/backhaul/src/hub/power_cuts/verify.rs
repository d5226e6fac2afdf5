//! What has to be true of a hub after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use backhaul_testkit::{ManualClock, SimDisk};

use super::campaign::Sabotage;
use super::senders::Request;
use super::workload::{Log, Moment, database, number_of, open};
use crate::hub::Hub;

/// What an image turned out to be.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Found {
    /// There was a database that a snapshot was made of.
    pub(super) with_database: bool,
    /// It could not be used.
    pub(super) rebuilt: bool,
    /// Delivered records were gone from the disk.
    pub(super) purged: bool,
}

/// What the senders know at a moment.
pub(super) struct Expected<'a> {
    requests: &'a [Request],
    acknowledged: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    snapshots: usize,
}

impl<'a> Expected<'a> {
    pub(super) fn new(log: &'a Log, moment: &Moment) -> Self {
        Self {
            requests: &log.requests[..moment.requests],
            acknowledged: log.acknowledged[..moment.acknowledged].iter().copied().collect(),
            delivered: log.delivered[..moment.delivered].iter().copied().collect(),
            snapshots: moment.snapshots,
        }
    }

    /// Opens the hub of a disk, and has all that was sent sent again.
    pub(super) fn verify(&self, disk: &SimDisk, sabotage: Sabotage) -> Result<Found, String> {
        let clock = ManualClock::new();
        let had_database = disk.paths().contains(&database());
        let hub =
            open(disk, &clock, sabotage).map_err(|error| format!("does not open: {error:#}"))?;
        let is_damaged = disk.paths().contains(&database().with_extension("damaged"));
        let before = self.check_stored(&hub)?;
        for number in self.acknowledged.difference(&self.delivered) {
            if !before.contains(number) {
                return Err(format!("record {number} was acknowledged and is lost"));
            }
        }
        self.send_again(&hub)?;
        let after = self.check_stored(&hub)?;
        for number in self.acknowledged.difference(&before) {
            if after.contains(number) {
                return Err(format!("record {number} was delivered, and is stored again"));
            }
        }
        let named = self.requests.iter().filter(|request| request.is_named);
        for number in named.flat_map(Request::numbers) {
            if !after.contains(&number) && !self.delivered.contains(&number) {
                return Err(format!("record {number} was sent again and is not there"));
            }
        }
        Ok(Found {
            with_database: had_database && self.snapshots > 0,
            rebuilt: self.snapshots > 0 && (!had_database || is_damaged),
            purged: self.delivered.iter().any(|number| !before.contains(number)),
        })
    }

    /// The numbers of the records in the spool, which are there once and whole.
    fn check_stored(&self, hub: &Hub) -> Result<BTreeSet<u64>, String> {
        let sent: BTreeMap<u64, &str> = self
            .requests
            .iter()
            .flat_map(|request| &request.records)
            .map(|(number, body)| (*number, body.as_str()))
            .collect();
        let mut stored = BTreeSet::new();
        let mut trouble = None;
        let visit = &mut |record: backhaul_store::StoredRecord| {
            let number = number_of(&record.facts.labels["run_id"]);
            if sent.get(&number).is_none_or(|body| body.as_bytes() != record.body) {
                trouble = Some(format!("record {number} is not what was sent"));
            }
            if !stored.insert(number) {
                trouble = Some(format!("record {number} is stored again"));
            }
            ControlFlow::Continue(())
        };
        hub.spool().each_from(&BTreeMap::new(), visit).map_err(|error| error.to_string())?;
        let books = hub.spool().status().map_err(|error| error.to_string())?.books;
        if books.damaged > 0 || !books.balance() {
            trouble = Some(format!("the books say {books:?}"));
        }
        trouble.map_or(Ok(stored), Err)
    }

    fn send_again(&self, hub: &Hub) -> Result<(), String> {
        for request in self.requests.iter().filter(|request| request.is_named) {
            let receipt = hub
                .take(&request.body(), request.origin.as_ref(), request.key.as_deref())
                .map_err(|refusal| format!("a repeat is refused: {refusal:?}"))?;
            if receipt.accepted + receipt.duplicates != request.records.len() as u64 {
                return Err(format!("{receipt:?} for {} records", request.records.len()));
            }
        }
        Ok(())
    }
}
