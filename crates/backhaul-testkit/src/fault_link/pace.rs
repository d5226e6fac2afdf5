//! How fast bytes go.

use std::time::{Duration, Instant};

/// Bytes that a fast link passes on at once.
const MOST: u64 = 16 << 10;
/// On a slow link bytes go in steps of at most this, so that they flow and do not jump.
const STEPS_PER_SECOND: u64 = 50;
/// A step that costs a call of the system is worth this many bytes.
const LEAST: u64 = 64;

/// How fast a link is, each way. The default is as fast as the machine.
///
/// ```
/// use backhaul_testkit::Pace;
/// use std::time::Duration;
///
/// let satellite = Pace::bytes_per_second(6_250).latency(Duration::from_millis(600));
/// assert_ne!(satellite, Pace::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Bytes per second from clients to the server, all connections together. `None`: no limit.
    pub up: Option<u64>,
    /// Bytes per second from the server to clients.
    pub down: Option<u64>,
    /// How long a byte is under way, each way. A round trip takes it twice.
    pub latency: Duration,
}

impl Pace {
    /// The same rate each way, at least one byte a second.
    pub fn bytes_per_second(rate: u64) -> Self {
        Self { up: Some(rate.max(1)), down: Some(rate.max(1)), latency: Duration::ZERO }
    }

    /// Sets the time that a byte is under way.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }
}

/// One direction of a link, which its connections share.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) rate: Option<u64>,
    pub(crate) latency: Duration,
    /// When the bytes that were taken have gone.
    free_at: Instant,
}

impl Lane {
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: None, latency: Duration::ZERO, free_at: now }
    }

    pub(crate) fn set(&mut self, rate: Option<u64>, latency: Duration, now: Instant) {
        *self = Self { rate: rate.map(|rate| rate.max(1)), latency, free_at: now };
    }

    /// When the next bytes can be taken.
    pub(crate) fn free_at(&self) -> Instant {
        self.free_at
    }

    /// How many bytes may be taken at once.
    pub(crate) fn step(&self) -> usize {
        let bytes = self.rate.map_or(MOST, |rate| (rate / STEPS_PER_SECOND).clamp(LEAST, MOST));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Takes bytes, and says when the last of them arrives.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> Instant {
        let begun = self.free_at.max(now);
        self.free_at = match self.rate {
            Some(rate) => begun + duration(bytes as u64, rate),
            None => begun,
        };
        self.free_at + self.latency
    }
}

fn duration(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_as_long_as_the_rate_says_however_they_come() {
        let now = Instant::now();
        let mut lane = Lane::new(now);
        lane.set(Some(1000), Duration::from_millis(300), now);
        assert_eq!(lane.step(), 64);
        let mut arrived = now;
        for _ in 0..50 {
            arrived = lane.take(20, now);
        }
        assert_eq!(lane.free_at() - now, Duration::from_secs(1));
        assert_eq!(arrived - now, Duration::from_millis(1300));
        // What was not used is gone: no burst follows a pause.
        let later = now + Duration::from_secs(9);
        assert_eq!(lane.take(1000, later) - later, Duration::from_millis(1300));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut lane = Lane::new(now);
        assert_eq!((lane.take(1 << 30, now), lane.step()), (now, 16 << 10));
    }
}
