//! What a link has seen.

use std::time::Instant;

/// What went over a link, on the clients' side of it.
///
/// Only what was read from a client or written to one counts, whether or not the other
/// end got it: that is what a device pays for. Headers below TCP are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Requests that began; for what is not HTTP, connections that sent something.
    pub requests: u64,
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes to clients.
    pub bytes_down: u64,
    /// Faults that took effect.
    pub faults: u64,
}

/// A moment at which a link came up, and what followed before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkUp {
    /// When it came up.
    pub at: Instant,
    /// When a connection was first accepted.
    pub first_connection: Option<Instant>,
    /// When the first byte came from a client.
    pub first_byte_up: Option<Instant>,
    /// When the first byte went to a client.
    pub first_byte_down: Option<Instant>,
}

impl LinkUp {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, first_connection: None, first_byte_up: None, first_byte_down: None }
    }
}

/// Counts and moments, as they are collected.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) counts: LinkCounts,
    pub(crate) ups: Vec<LinkUp>,
}

impl Tally {
    pub(crate) fn new(now: Instant) -> Self {
        Self { counts: LinkCounts::default(), ups: vec![LinkUp::new(now)] }
    }

    pub(crate) fn came_up(&mut self, now: Instant) {
        self.ups.push(LinkUp::new(now));
    }

    pub(crate) fn connection(&mut self, now: Instant) {
        self.counts.connections += 1;
        self.note(|up| &mut up.first_connection, now);
    }

    pub(crate) fn up(&mut self, bytes: usize, now: Instant) {
        self.counts.bytes_up += bytes as u64;
        if bytes > 0 {
            self.note(|up| &mut up.first_byte_up, now);
        }
    }

    pub(crate) fn down(&mut self, bytes: usize, now: Instant) {
        self.counts.bytes_down += bytes as u64;
        if bytes > 0 {
            self.note(|up| &mut up.first_byte_down, now);
        }
    }

    fn note(&mut self, first: fn(&mut LinkUp) -> &mut Option<Instant>, now: Instant) {
        if let Some(up) = self.ups.last_mut() {
            first(up).get_or_insert(now);
        }
    }
}
