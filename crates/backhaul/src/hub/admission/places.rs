//! Who was promised which time, in bounded memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use backhaul_store::{DeviceId, Epoch};

use super::Sender;

/// Places of backhauls: about 10 MB. Those beyond are told when the last of these is over.
const MOST: usize = 65_536;
/// Places of clients without names, which cannot be told apart: one that comes all the time
/// must not push the others far back.
const MOST_NAMELESS: usize = 1_024;
/// How long a place is kept after its time has come: links break.
const KEPT: Duration = Duration::from_secs(300);

/// A promised time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// From when on the sender may store.
    pub(super) at: Duration,
    /// For how long the hub has been promised to it.
    pub(super) time: Duration,
}

/// A backhaul; what is critical has a place of its own.
type Name = (DeviceId, Epoch, bool);

#[derive(Debug, Default)]
pub(super) struct Places {
    of: BTreeMap<Name, Place>,
    by_time: BTreeSet<(Duration, Name)>,
    /// Of clients without names, in order of time: who comes first has the first.
    nameless: VecDeque<Place>,
}

impl Places {
    /// The place of a sender. One without a name has the first of theirs that is `due`.
    pub(super) fn of(&self, sender: &Sender, due: Duration) -> Option<Place> {
        match name(sender) {
            Some(name) => self.of.get(&name).copied(),
            None => self.nameless.front().filter(|place| place.at <= due).copied(),
        }
    }

    /// The place of a sender, which it has no longer.
    pub(super) fn take(&mut self, sender: &Sender) -> Option<Place> {
        let Some(name) = name(sender) else { return self.nameless.pop_front() };
        let place = self.of.remove(&name)?;
        self.by_time.remove(&(place.at, name));
        Some(place)
    }

    /// Gives a sender that has none a place. `false`: there are too many.
    pub(super) fn give(&mut self, sender: Sender, place: Place) -> bool {
        let has_room = match name(&sender) {
            Some(_) => self.of.len() < MOST,
            None => self.nameless.len() < MOST_NAMELESS,
        };
        if !has_room {
            return false;
        }
        match name(&sender) {
            Some(name) => {
                self.of.insert(name, place);
                self.by_time.insert((place.at, name));
            }
            None => self.nameless.push_back(place),
        }
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.of.len(), self.by_time.len());
        self.of.len() + self.nameless.len()
    }

    /// Forgets the places of those who did not come.
    pub(super) fn forget_before(&mut self, now: Duration) {
        while let Some((at, name)) = self.by_time.first().copied()
            && at + KEPT < now
        {
            self.by_time.pop_first();
            self.of.remove(&name);
        }
        while self.nameless.front().is_some_and(|place| place.at + KEPT < now) {
            self.nameless.pop_front();
        }
    }
}

fn name(sender: &Sender) -> Option<Name> {
    sender.source.map(|source| (source.device, source.epoch, sender.is_critical))
}
