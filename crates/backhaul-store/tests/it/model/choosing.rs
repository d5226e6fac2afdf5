//! What a take has to give where somebody chooses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Choice, Chooser, Clock, Lane, Scorer, StoredRecord};

use super::item::{Fate, Item, LANES, Look, Place};
use super::outcome::{Outcome, ensure};
use super::run::Run;
use super::seen::Seen;
use crate::support::{Layout, number_of};

/// Small, so that windows and shares end within a case.
const CHOICE: Choice = Choice { window_records: 4, window_bytes: 20_000, oldest_every: 3 };

/// Scores records by their numbers, and lets those that were tried often go last.
pub(super) struct ByNumber;

impl Chooser for ByNumber {
    fn scorer(&self, record: &StoredRecord) -> Scorer {
        let number = number_of(&record.body);
        Box::new(move |waited| score(number, waited.attempts))
    }

    fn choice(&self) -> Choice {
        CHOICE
    }
}

fn score(number: u64, attempts: u32) -> f64 {
    (number * 7 % 5) as f64 - f64::from(attempts)
}

pub(super) fn by_number() -> Arc<dyn Chooser> {
    Arc::new(ByNumber)
}

impl Run<'_> {
    /// What a choosing take has to give, the best first; `given`: the lane that it gave
    /// something of. Records that are too old on the way expire.
    pub(super) fn expect_chosen(
        &mut self,
        records: usize,
        limit: usize,
        given: Option<Lane>,
    ) -> Outcome<Vec<Place>> {
        let oldest_first = (self.answered.0 + 1).is_multiple_of(u64::from(CHOICE.oldest_every));
        let expired = self.count(Fate::Expired);
        let mut windows = Vec::new();
        for lane in LANES {
            if oldest_first || windows.is_empty() {
                windows
                    .extend(Some(self.window(lane, records)).filter(|window| !window.is_empty()));
            }
        }
        if self.count(Fate::Expired) > expired && self.layout == Layout::Folder {
            self.ledger_is_durable();
        }
        let window = match given {
            Some(lane) if oldest_first => self.check_oldest(&windows, lane)?,
            _ => windows.into_iter().next().unwrap_or_default(),
        };
        Ok(self.best(&window, records, limit, oldest_first))
    }

    /// A record on offer is settled.
    pub(super) fn answer(&mut self, place: Place) {
        let (batches, last) = &mut self.answered;
        if let Some(turn) = self.in_flight.remove(&place)
            && turn > *last
        {
            (*batches, *last) = (*batches + 1, turn);
        }
    }

    /// The first records of a lane that may be offered.
    fn window(&mut self, lane: Lane, records: usize) -> Vec<Place> {
        let in_flight = &self.in_flight;
        let mut busy: BTreeSet<u8> =
            in_flight.keys().filter_map(|place| self.items.get(place)?.stream).collect();
        let (mut window, mut bytes) = (Vec::new(), 0);
        for (place, item) in self.items.range_mut((lane, 0)..=(lane, u64::MAX)) {
            if window.len() >= CHOICE.window_records.max(records)
                || (!window.is_empty() && bytes >= CHOICE.window_bytes)
            {
                break;
            }
            if in_flight.contains_key(place) || item.look_at(&mut busy, &self.clock) != Look::Free {
                continue;
            }
            busy.extend(item.stream);
            bytes += item.record(lane).body().len();
            window.push(*place);
        }
        window
    }

    /// The window of a lane, which has to be one with the oldest record.
    fn check_oldest(&self, windows: &[Vec<Place>], lane: Lane) -> Outcome<Vec<Place>> {
        let age = |window: &Vec<Place>| self.clock.now().wall.since(self.items[&window[0]].wall);
        let most = windows.iter().map(age).max().unwrap_or_default();
        let given = windows.iter().find(|window| window[0].0 == lane);
        let given = given.ok_or_else(|| format!("nothing in {lane} may be offered"))?;
        // A file's name tells whole seconds.
        let blur = Duration::from_secs(u64::from(self.layout == Layout::Folder));
        ensure!(age(given) + blur >= most, "{given:?} is {:?} old, not {most:?}", age(given));
        let jumped = windows.first().is_some_and(|first| first[0].0 != lane);
        Seen::add(&self.seen.shares, usize::from(jumped));
        Ok(given.clone())
    }

    fn best(
        &self,
        window: &[Place],
        records: usize,
        limit: usize,
        oldest_first: bool,
    ) -> Vec<Place> {
        let (mut left, mut best, mut bytes) = (window.to_vec(), Vec::new(), 0);
        while best.len() < records && !left.is_empty() {
            let place = best.len() + 1;
            let of_the_oldest =
                (place == 1 && oldest_first) || place % CHOICE.oldest_every as usize == 0;
            let score = |place: &Place| self.items[place].score();
            let highest = left.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
            let next = if of_the_oldest {
                0
            } else {
                left.iter().position(|place| score(place) == highest).unwrap()
            };
            bytes += self.items[&left[next]].record(left[next].0).body().len();
            if !best.is_empty() && bytes > limit {
                break;
            }
            best.push(left.remove(next));
        }
        best
    }
}

impl Item {
    fn score(&self) -> f64 {
        score(self.number, u32::try_from(self.tries.len()).unwrap())
    }
}
