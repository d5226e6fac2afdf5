//! What the index keeps of a call.

use super::schema::StoredCall;
use crate::reads::place::Place;

/// The call failed.
pub(crate) const FAILED: u8 = 1;
/// A call below it failed.
pub(crate) const FAILED_BELOW: u8 = 2;

/// A call: where its records are, and what is asked for most often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CallRow {
    pub(crate) id: String,
    /// The record that it began with. None: only its end is known, or its deletion.
    pub(crate) start: Option<Place>,
    pub(crate) end: Option<Place>,
    /// Microseconds, as are all times here.
    pub(crate) started_at: i64,
    /// None: it runs.
    pub(crate) ended_at: Option<i64>,
    pub(crate) marks: u8,
    /// The number of the call that it is below.
    pub(crate) parent: Option<u32>,
    pub(crate) name: Option<GivenName>,
}

/// A display name that a call got after it had begun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GivenName {
    /// When; the last one counts.
    pub(crate) at: i64,
    pub(crate) place: Place,
    /// Empty: none any more.
    pub(crate) name: String,
}

impl CallRow {
    pub(crate) fn of_stored(stored: StoredCall<'_>) -> Self {
        let (id, start, end, started_at, ended_at, marks, parent, name) = stored;
        let name = name.map(|(at, place, name)| GivenName {
            at,
            place: Place(place),
            name: name.to_owned(),
        });
        Self {
            id: id.to_owned(),
            start: start.map(Place),
            end: end.map(Place),
            started_at,
            ended_at,
            marks,
            parent,
            name,
        }
    }

    pub(crate) fn to_stored(&self) -> StoredCall<'_> {
        let place = |place: Option<Place>| place.map(|Place(number)| number);
        let name = self.name.as_ref().map(|name| (name.at, name.place.0, name.name.as_str()));
        (
            &self.id,
            place(self.start),
            place(self.end),
            self.started_at,
            self.ended_at,
            self.marks,
            self.parent,
            name,
        )
    }

    /// How it went, in Weave's words.
    pub(crate) fn status(&self) -> &'static str {
        if self.marks & FAILED != 0 {
            "error"
        } else if self.ended_at.is_none() {
            "running"
        } else if self.marks & FAILED_BELOW != 0 {
            "descendant_error"
        } else {
            "success"
        }
    }

    /// Takes an end over, where it is later than the one that is known.
    pub(super) fn take_end(&mut self, end: &EndFacts) {
        let is_later = self.end.is_none_or(|known| match known.is_beside(end.place) {
            true => end.place >= known,
            // Of two processes: no order but that of their clocks.
            false => (Some(end.ended_at), end.place) > (self.ended_at, known),
        });
        if is_later {
            self.end = Some(end.place);
            self.ended_at = Some(end.ended_at);
            self.marks = end.marks;
        }
    }

    /// Forgets what stands in records that are not there any more. `false`: that was all.
    pub(super) fn forget(&mut self, is_gone: &dyn Fn(Place) -> bool) -> bool {
        if self.start.is_some_and(is_gone) {
            (self.start, self.started_at, self.parent) = (None, 0, None);
        }
        if self.end.is_some_and(is_gone) {
            (self.end, self.ended_at, self.marks) = (None, None, 0);
        }
        self.name = self.name.take().filter(|name| !is_gone(name.place));
        self.start.is_some() || self.end.is_some() || self.name.is_some()
    }
}

/// What a record says of the end of a call.
#[derive(Debug)]
pub(crate) struct EndFacts {
    pub(crate) place: Place,
    pub(crate) ended_at: i64,
    pub(crate) marks: u8,
    /// Hashes of the addresses in its output.
    pub(crate) outputs: Vec<u64>,
}
