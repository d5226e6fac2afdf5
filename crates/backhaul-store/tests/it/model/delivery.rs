//! Taking, settling and requeueing: what has to be given, and what becomes of it.

use std::collections::BTreeSet;

use backhaul_store::{Clock, Limits, Settled, State, Timestamp};

use super::item::{Fate, LANES, Look, Place, Try, place, position};
use super::outcome::{Outcome, ensure};
use super::run::Run;
use super::seen::Seen;
use super::step::Verdict;
use crate::support::Layout;

impl Run<'_> {
    pub(super) fn take(&mut self, records: usize, bytes: usize) -> Outcome {
        let limits = Limits { records, bytes, ..Limits::default() };
        let in_order = (!self.setup.chosen).then(|| self.expect_take(records, bytes));
        let taken = match in_order {
            Some(_) => self.spool().take(&limits),
            None => self.spool().take_chosen(&limits, &self.chooser),
        };
        let taken = taken.map_err(|error| format!("take: {error}"))?;
        let best = match in_order {
            Some(in_order) => in_order,
            None => {
                self.expect_chosen(records, bytes, taken.as_ref().map(|batch| batch.chain.lane))?
            }
        };
        let mut expected = best.clone();
        expected.sort_unstable();
        self.records_are_durable();
        let places: Vec<Place> = taken
            .iter()
            .flat_map(|batch| &batch.records)
            .map(|offer| place(offer.record.id.position))
            .collect();
        ensure!(places == expected, "take gave {places:?}, the model {expected:?}");
        for offer in taken.iter().flat_map(|batch| &batch.records) {
            let place = place(offer.record.id.position);
            ensure!(
                best.get(offer.place) == Some(&place),
                "{place:?} has place {} of {best:?}",
                offer.place
            );
            let item = self.items.get_mut(&place).unwrap();
            // What is offered a power cut cannot take back, whoever appended it.
            (item.durable, item.orphaned) = (true, false);
            ensure!(
                offer.record.body == item.record(place.0).body(),
                "the body of {place:?} is not what was appended"
            );
            ensure!(
                usize::try_from(offer.attempts) == Ok(item.tries.len()),
                "{place:?}: {} attempts, the model has {}",
                offer.attempts,
                item.tries.len()
            );
        }
        self.turn += 1;
        self.in_flight.extend(places.into_iter().map(|place| (place, self.turn)));
        self.batches.extend(taken.map(|batch| (self.turn, batch)));
        Ok(())
    }

    /// What a take has to give; records that are too old on the way expire.
    fn expect_take(&mut self, records: usize, limit: usize) -> Vec<Place> {
        let in_flight = &self.in_flight;
        let on_offer: BTreeSet<u8> =
            in_flight.keys().filter_map(|place| self.items.get(place)?.stream).collect();
        let must_last = self.layout == Layout::Folder;
        let mut expired = false;
        for lane in LANES {
            let mut busy = on_offer.clone();
            let mut taken: Vec<Place> = Vec::new();
            let mut bytes = 0;
            for (place, item) in self.items.range_mut((lane, 0)..=(lane, u64::MAX)) {
                if taken.len() >= records {
                    break;
                }
                if in_flight.contains_key(place) {
                    continue;
                }
                let look = item.look_at(&mut busy, &self.clock);
                expired |= look == Look::Expires;
                if look != Look::Free {
                    continue;
                }
                let len = item.record(lane).body().len();
                if !taken.is_empty() && bytes + len > limit {
                    break;
                }
                bytes += len;
                busy.extend(item.stream);
                taken.push(*place);
            }
            if !taken.is_empty() || lane == LANES[LANES.len() - 1] {
                if expired && must_last {
                    self.ledger_is_durable();
                }
                return taken;
            }
        }
        Vec::new()
    }

    pub(super) fn settle(&mut self, verdicts: &[Verdict]) -> Outcome {
        if self.batches.is_empty() {
            return Ok(());
        }
        let (turn, batch) = self.batches.remove(0);
        let places: Vec<(Place, Verdict)> = batch
            .records
            .iter()
            .zip(verdicts.iter().cycle())
            .map(|(offer, verdict)| (place(offer.record.id.position), *verdict))
            .collect();
        self.pronounce(&places)?;
        drop(batch);
        self.in_flight.retain(|_, of| *of != turn);
        Ok(())
    }

    pub(super) fn operate(&mut self, which: usize, verdict: Verdict) -> Outcome {
        if self.items.is_empty() {
            return Ok(());
        }
        let place = *self.items.keys().nth(which % self.items.len()).unwrap();
        // What a power cut may still take is nobody's to judge.
        if !self.items[&place].durable {
            return Ok(());
        }
        self.pronounce(&[(place, verdict)])
    }

    /// Settles records, really and in the model.
    fn pronounce(&mut self, verdicts: &[(Place, Verdict)]) -> Outcome {
        let mut settlements = Vec::new();
        let mut must_last = self.layout == Layout::Folder;
        for (place, verdict) in verdicts {
            self.number += 1;
            let reason = format!("because {}", self.number);
            let state = match verdict {
                Verdict::Delivered => State::Delivered,
                Verdict::Duplicate => State::Duplicate,
                Verdict::Later(_) => State::Later,
                Verdict::Rejected => State::Rejected,
                Verdict::Expired => State::Expired,
                Verdict::Dropped => State::Dropped,
                Verdict::Held => State::Held,
                Verdict::Nothing => continue,
            };
            let wall = self.clock.now().wall.as_micros();
            let mut settled = Settled::new(state).reason(reason.clone());
            let mut not_before_us = i64::MIN;
            if let Verdict::Later(seconds) = verdict {
                not_before_us = wall + i64::try_from(seconds * 1_000_000).unwrap();
                settled = settled.not_before(Timestamp::from_micros(not_before_us));
            }
            must_last |= matches!(state, State::Rejected | State::Dropped | State::Held);
            settlements.push((position(*place), settled));
            self.answer(*place);
            if let Some(item) = self.items.get_mut(place) {
                item.apply(state, Try { not_before_us, reason });
            }
        }
        self.spool().settle(&settlements).map_err(|error| format!("settle: {error}"))?;
        if must_last && !settlements.is_empty() {
            self.ledger_is_durable();
        }
        Ok(())
    }

    pub(super) fn requeue(&mut self, which: usize) -> Outcome {
        if self.items.is_empty() {
            return Ok(());
        }
        // Mostly one that can be requeued, sometimes any.
        let failed: Vec<Place> = self
            .items
            .iter()
            .filter(|(_, item)| item.can_be_requeued())
            .map(|(place, _)| *place)
            .collect();
        let all: Vec<Place> = self.items.keys().copied().collect();
        let from = if failed.is_empty() || which.is_multiple_of(5) { &all } else { &failed };
        let place = from[which % from.len()];
        let done =
            self.spool().requeue(position(place)).map_err(|error| format!("requeue: {error}"))?;
        let item = self.items.get_mut(&place).unwrap();
        let expected = item.can_be_requeued();
        ensure!(done == expected, "requeue of {place:?} said {done}");
        if item.fate == Fate::Rejected {
            item.fate = Fate::Waiting;
            item.failure = None;
            item.tries.clear();
        }
        if done {
            item.held = false;
            Seen::add(&self.seen.requeued, 1);
            self.ledger_is_durable();
        }
        Ok(())
    }
}
