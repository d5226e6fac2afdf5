//! What the model holds of a record.

use std::collections::BTreeSet;
use std::time::Duration;

use backhaul_store::{
    Chain, Clock, Lane, Position, QueueEntry, Record, Sequence, State, Timestamp,
};
use backhaul_testkit::ManualClock;

use super::outcome::{Outcome, ensure};
use crate::support::numbered;

pub(super) const LANES: [Lane; 3] = [Lane::Critical, Lane::Normal, Lane::Bulk];
pub(super) const LENGTHS: [usize; 5] = [0, 40, 300, 3_000, 9_000];

/// Where a record stands: its lane, and its sequence in it.
pub(super) type Place = (Lane, u64);

pub(super) fn position(place: Place) -> Position {
    Position { chain: Chain { lane: place.0, writer: 0 }, sequence: Sequence(place.1) }
}

pub(super) fn place(position: Position) -> Place {
    (position.chain.lane, position.sequence.0)
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Delivered,
    Duplicate,
    Rejected,
    Expired,
    Dropped,
    Evicted,
}

/// What a look at a record for a batch comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Free,
    /// It does no more from now on.
    Expires,
    Not,
}

/// One time that a record was asked for later.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) not_before_us: i64,
    pub(super) reason: String,
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) number: u64,
    pub(super) len: usize,
    pub(super) stream: Option<u8>,
    pub(super) expires_s: Option<u64>,
    pub(super) boot: String,
    pub(super) since_boot: Duration,
    pub(super) wall: Timestamp,
    /// How old it was when this boot began, as far as the spool knows; where it is of another.
    pub(super) carried: Duration,
    pub(super) fate: Fate,
    pub(super) tries: Vec<Try>,
    pub(super) held: bool,
    /// Why it was rejected, and after how many attempts.
    pub(super) failure: Option<(String, u32)>,
    /// A power cut cannot take the record.
    pub(super) durable: bool,
    /// Acknowledged without a flush by a process that was killed: in the folder layout
    /// that is known again only when the record is offered.
    pub(super) orphaned: bool,
    /// A power cut cannot take what the ledger says of it.
    pub(super) settled: bool,
}

impl Item {
    pub(super) fn record(&self, lane: Lane) -> Record {
        let mut record = numbered(self.number, self.len).lane(lane);
        if let Some(stream) = self.stream {
            record = record.stream(format!("s{stream}"));
        }
        match self.expires_s {
            Some(seconds) => record.expires_after(Duration::from_secs(seconds)),
            None => record,
        }
    }

    /// Bytes that it takes on disk in a file of its own, with a sidecar.
    pub(super) fn room(&self, lane: Lane) -> u64 {
        self.record(lane).body().len().next_multiple_of(4096) as u64 + 4096
    }

    pub(super) fn age(&self, clock: &ManualClock) -> Duration {
        let now = clock.now();
        if self.boot == clock.boot_id() {
            now.since_boot.saturating_sub(self.since_boot)
        } else {
            self.carried + now.since_boot
        }
    }

    pub(super) fn is_expired(&self, clock: &ManualClock) -> bool {
        self.expires_s.is_some_and(|limit| self.age(clock) > Duration::from_secs(limit))
    }

    pub(super) fn must_wait(&self, clock: &ManualClock) -> bool {
        let now = clock.now().wall.as_micros();
        self.held || self.tries.last().is_some_and(|last| last.not_before_us > now)
    }

    /// What a look at it for a batch comes to. What has to wait makes its stream busy.
    pub(super) fn look_at(&mut self, busy: &mut BTreeSet<u8>, clock: &ManualClock) -> Look {
        if self.fate != Fate::Waiting {
            return Look::Not;
        }
        let held_back = self.stream.is_some_and(|stream| busy.contains(&stream));
        if held_back || self.must_wait(clock) {
            busy.extend(self.stream);
            return Look::Not;
        }
        if self.is_expired(clock) {
            self.expire();
            return Look::Expires;
        }
        Look::Free
    }

    pub(super) fn is_due_to_expire(&self, clock: &ManualClock) -> bool {
        self.fate == Fate::Waiting && !self.held && self.is_expired(clock)
    }

    /// Whether it is older than its limit in truth. The spool knows so when it has read of a
    /// later record how long a boot lasted.
    pub(super) fn may_expire(&self, clock: &ManualClock) -> bool {
        let age = clock.now().wall.since(self.wall);
        let is_old = self.expires_s.is_some_and(|limit| age > Duration::from_secs(limit));
        self.fate == Fate::Waiting && !self.held && is_old
    }

    pub(super) fn expire(&mut self) {
        (self.fate, self.settled) = (Fate::Expired, false);
    }

    /// A boot begins: what the spool knows of its age may be less than that is, never more.
    pub(super) fn carry(&mut self, known: Duration, clock: &ManualClock) -> Outcome {
        if self.expires_s.is_none() {
            return Ok(());
        }
        let age = clock.now().wall.since(self.wall);
        ensure!(known <= age, "it counts as {known:?} old and is {age:?}");
        self.carried = known;
        Ok(())
    }

    pub(super) fn can_be_requeued(&self) -> bool {
        self.fate == Fate::Rejected || (self.fate == Fate::Waiting && self.held)
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        match &self.failure {
            Some((reason, _)) => Some(reason),
            None => self.tries.last().map(|last| last.reason.as_str()),
        }
    }

    /// What a settlement makes of a record; one that waits no more changes no more,
    /// but for a failed one that is dropped.
    pub(super) fn apply(&mut self, state: State, attempt: Try) {
        let droppable = self.fate == Fate::Rejected && state == State::Dropped;
        if self.fate != Fate::Waiting && !droppable {
            return;
        }
        match state {
            State::Later => {
                self.tries.push(attempt);
                self.settled = false;
                return;
            }
            State::Held => {
                self.held = true;
                self.settled = false;
                return;
            }
            State::Rejected => {
                let attempts = u32::try_from(self.tries.len()).unwrap() + 1;
                self.failure = Some((attempt.reason, attempts));
                self.fate = Fate::Rejected;
            }
            State::Delivered => self.fate = Fate::Delivered,
            State::Duplicate => self.fate = Fate::Duplicate,
            State::Expired => self.fate = Fate::Expired,
            _ => {
                self.failure = None;
                self.fate = Fate::Dropped;
            }
        }
        // What is forgotten of a delivery leaves a record that was held before held again.
        self.held &= matches!(self.fate, Fate::Delivered | Fate::Duplicate | Fate::Expired);
        self.settled = false;
    }

    /// After a power cut some attempts may be forgotten, where they were not flushed.
    pub(super) fn forget_tries(&mut self, entry: &QueueEntry) -> Outcome {
        let kept = usize::try_from(entry.attempts).unwrap();
        if kept == self.tries.len() {
            return Ok(());
        }
        ensure!(!self.settled, "{kept} attempts are left of {}", self.tries.len());
        ensure!(kept < self.tries.len(), "{kept} attempts, the model has {}", self.tries.len());
        let last = entry.last_error.as_deref();
        let known = self.tries.iter().position(|attempt| Some(attempt.reason.as_str()) == last);
        self.tries = match known {
            Some(at) if kept > 0 => vec![self.tries[at].clone(); kept],
            _ => Vec::new(),
        };
        Ok(())
    }
}
