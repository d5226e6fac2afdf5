//! Reading what is to be offered from a medium that may fail.

use std::time::Duration;

use super::CourierState;
use crate::error::Result;
use crate::id::Position;
use crate::segment::{Read, SegmentReader};
use crate::spool::Inner;

/// A record that the medium does not give this many times is put off, so that others
/// go on.
const READ_TRIES: u32 = 3;
/// Tries closer together count as one: a loose card may come back.
const READ_TRIES_APART: Duration = Duration::from_secs(20);
/// For how long it is put off.
const READ_AGAIN: Duration = Duration::from_secs(600);
/// One that was not given for so long counts as damaged.
const READ_GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// Tries to read a record that the medium did not give.
#[derive(Debug)]
pub(super) struct ReadFailures {
    count: u32,
    /// When the first and the last one were counted, since boot.
    first: Duration,
    last: Duration,
}

impl CourierState {
    /// Counts a failure, and puts the record off after a few. `true`: there is no hope
    /// for it any more.
    fn note_read_failure(&mut self, inner: &Inner, position: Position) -> bool {
        let now = inner.context.clock.now().since_boot;
        let none_before = ReadFailures { count: 1, first: now, last: now };
        let failures = self.read_failures.entry(position).or_insert(none_before);
        if now.saturating_sub(failures.last) >= READ_TRIES_APART {
            failures.count += 1;
            failures.last = now;
        }
        if failures.count >= READ_TRIES {
            self.put_off.insert(position, now + READ_AGAIN);
        }
        failures.count >= READ_TRIES && now.saturating_sub(failures.first) >= READ_GIVEN_UP
    }

    /// Records that the medium did not give when they were read last.
    pub(crate) fn unreadable(&self) -> usize {
        self.read_failures.len()
    }

    /// Reads a record; one that the medium has not given for a day is damaged.
    pub(super) fn read(
        &mut self,
        inner: &Inner,
        position: Position,
        reader: &mut Option<SegmentReader>,
    ) -> Result<Read> {
        let mut read = inner.store.read(position.chain, position.sequence.0, reader);
        if matches!(read, Ok(Read::LostUpTo(_))) && position.chain.writer != inner.writer {
            *reader = None;
            let look_again = inner.store.look_again();
            read = look_again
                .and_then(|()| inner.store.read(position.chain, position.sequence.0, reader));
        }
        let Err(error) = &read else {
            if self.read_failures.remove(&position).is_some() {
                self.put_off.remove(&position);
            }
            return read;
        };
        *reader = None;
        if !error.is_of_the_medium() || !self.note_read_failure(inner, position) {
            return read;
        }
        self.read_failures.remove(&position);
        tracing::error!(%position, %error, "a record could not be read for a day: it counts as damaged");
        Ok(Read::LostUpTo(position.sequence.0 + 1))
    }
}
