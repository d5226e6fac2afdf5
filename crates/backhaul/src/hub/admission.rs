//! Admission: who may store now, and when the others are to come.
//!
//! Records are stored at a rate that the operator has given. Requests that come a moment
//! too early are held until their turn; past that a sender is refused, and given a place:
//! the next free time at the rate. So those who are refused come back one after the other,
//! as fast as they can be served, and one that comes before its time keeps its place. While
//! others wait for theirs, a sender that was served is told its next place with the answer,
//! and does not have to be refused first.
//!
//! It has no clock: every call says what time it is, so that a simulation runs these very
//! lines.

mod places;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use self::places::{Place, Places};
use super::origin::Source;

/// How far ahead of its turn a request is held instead of refused. Refused senders are told
/// whole seconds and add up to one by chance, so that what comes together may be two
/// seconds' work; and as much again, so that it is seldom refused a second time.
const HOLD: Duration = Duration::from_secs(4);
/// Requests that are held at once: half of the connections that a hub has by default.
const MOST_HELD: usize = 500;
/// One part in so many of the time of places is nobody's: where all of it is promised, a
/// second that was lost pushes others back for ever. A fortieth makes up for it in minutes.
const SLACK: u32 = 40;
/// When nothing was stored for as long, those whose turn it was do not come: who comes may.
const IDLE: Duration = Duration::from_secs(1);
/// How much before its time a sender may come: clocks differ.
const EARLY: Duration = Duration::from_secs(1);

/// Who wants to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Another backhaul. `None`: a client without a name.
    pub(crate) source: Option<Source>,
    /// It does not stand in line behind others than its like.
    pub(crate) is_critical: bool,
}

/// What a sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It may store, after a moment; and when to come with its next request, where it
    /// would be refused before.
    Store { after: Duration, next: Option<Duration> },
    /// Not now, but after as long.
    Come { after: Duration },
}

/// The line of those who want to store.
#[derive(Debug)]
pub(crate) struct Admission {
    records_per_second: NonZeroU32,
    /// When all that may store will have stored, at the rate.
    busy_until: Duration,
    /// The first time that nobody was promised yet.
    promised_until: Duration,
    /// The same, for critical ones among themselves.
    critical_until: Duration,
    /// The same, for those who came in time and had to be sent away.
    late_until: Duration,
    /// When the turns of held requests come.
    held: VecDeque<Duration>,
    places: Places,
}

impl Admission {
    pub(crate) fn new(records_per_second: NonZeroU32) -> Self {
        Self {
            records_per_second,
            busy_until: Duration::ZERO,
            promised_until: Duration::ZERO,
            critical_until: Duration::ZERO,
            late_until: Duration::ZERO,
            held: VecDeque::new(),
            places: Places::default(),
        }
    }

    /// A sender comes with so many records, and means to come with `next` more afterwards.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        sender: Sender,
        records: usize,
        next: usize,
    ) -> Told {
        self.pass(now);
        let time = self.time_of(records);
        let place = self.places.of(&sender, now + EARLY);
        let is_due = place.is_some_and(|place| place.at <= now + EARLY);
        let is_short = self.end_of_line(now, sender) <= now + HOLD;
        let is_idle = self.busy_until + IDLE <= now;
        if self.can_hold(now, sender) && (is_due || is_short || is_idle) {
            // Who has a place has paid for as much as it had then; what others left is free.
            let owed = match self.places.take(&sender).filter(|_| is_due) {
                Some(paid) => time.saturating_sub(paid.time),
                None if is_short => time,
                None => Duration::ZERO,
            };
            let after = self.let_in(now, sender, time, owed);
            // What comes meanwhile is about what came since the last time.
            let next = self.next_place(now, sender, next.max(records));
            return Told::Store { after, next };
        }
        let place = match place {
            Some(place) if is_due => self.put_back(sender, place),
            Some(place) => Some(place.at),
            None => self.give_place(now, sender, time),
        };
        let at = place.unwrap_or(self.promised_until);
        Told::Come { after: at.saturating_sub(now) }
    }

    /// A request held more records than could be told before.
    pub(crate) fn add(&mut self, now: Duration, records: usize) {
        let time = self.time_of(records);
        self.busy_until = self.busy_until.max(now) + time;
        self.promised_until = self.promised_until.max(now) + time;
    }

    /// For how long those who were refused have places.
    pub(crate) fn backlog(&self, now: Duration) -> Duration {
        self.promised_until.saturating_sub(now)
    }

    fn let_in(
        &mut self,
        now: Duration,
        sender: Sender,
        time: Duration,
        owed: Duration,
    ) -> Duration {
        let begin = self.busy_until.max(now);
        self.busy_until = begin + time;
        if begin > now {
            self.held.push_back(begin);
        }
        self.promise(now, sender, owed);
        begin.saturating_sub(now)
    }

    /// When a sender that was let in is to come again, if it would be refused before.
    fn next_place(&mut self, now: Duration, sender: Sender, next: usize) -> Option<Duration> {
        let is_long = self.end_of_line(now, sender) > now + HOLD / 2;
        if sender.source.is_none() || !is_long {
            return None;
        }
        let at = self.give_place(now, sender, self.time_of(next))?;
        Some(at.saturating_sub(now))
    }

    /// The next free time is the sender's. `None`: as many have places as can be remembered.
    fn give_place(&mut self, now: Duration, sender: Sender, time: Duration) -> Option<Duration> {
        let at = self.end_of_line(now, sender);
        if !self.places.give(sender, Place { at, time }) {
            return None;
        }
        self.promise(now, sender, time + time / SLACK);
        Some(at)
    }

    /// Its time has come, and too many others are here: those in this state follow each other.
    fn put_back(&mut self, sender: Sender, place: Place) -> Option<Duration> {
        let at = self.late_until.max(self.busy_until);
        self.late_until = at + place.time;
        self.places.take(&sender);
        self.places.give(sender, Place { at, ..place }).then_some(at)
    }

    fn promise(&mut self, now: Duration, sender: Sender, time: Duration) {
        self.promised_until = self.promised_until.max(now) + time;
        if sender.is_critical {
            self.critical_until = self.critical_until.max(now) + time;
        }
    }

    /// The first time that a sender can be given.
    fn end_of_line(&self, now: Duration, sender: Sender) -> Duration {
        let end = if sender.is_critical { self.critical_until } else { self.promised_until };
        end.max(now)
    }

    fn can_hold(&self, now: Duration, sender: Sender) -> bool {
        let longest = if sender.is_critical { HOLD + HOLD } else { HOLD };
        self.busy_until <= now + longest && self.held.len() < MOST_HELD
    }

    fn time_of(&self, records: usize) -> Duration {
        let records = u32::try_from(records).unwrap_or(u32::MAX).max(1);
        Duration::from_secs(1).saturating_mul(records) / self.records_per_second.get()
    }

    fn pass(&mut self, now: Duration) {
        while self.held.front().is_some_and(|turn| *turn <= now) {
            self.held.pop_front();
        }
        self.places.forget_before(now);
    }
}

#[cfg(test)]
mod tests;
