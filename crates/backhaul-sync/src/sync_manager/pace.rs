//! How much to offer at once.
//!
//! A link that comes and goes breaks off what is under way, and all of it goes again: so a
//! batch is not to take long. Between two batches the link is idle, for the round trip and
//! the disks at both ends: so a batch is not to be short. Two batches of different sizes, and
//! what they took, tell what is sent from what is waited for.

use std::time::Duration;

/// What is under way when a link breaks off is lost: half of this on average. Of a window of
/// 30 s, that is 2 %.
const SHORT: Duration = Duration::from_secs(1);
/// Where the pause between two is long, at most this.
const LONG: Duration = Duration::from_secs(4);
/// Times the pause that a batch is to take: less leaves the link idle for more than 6 %.
const PAUSES: u32 = 16;
/// Below this many bytes, headers make up too much of what is paid for.
const LEAST_BYTES: usize = 32 << 10;

/// How much to offer at once, as experience has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Most records at once; doubles with each batch that gets through.
    pub(crate) records: usize,
    /// A limit on the doubling: half of what timed out, and one more with each batch
    /// that gets through.
    pub(crate) ceiling: usize,
    /// Most bytes at once: what goes in a short time, within the limit.
    pub(crate) bytes: usize,
    /// A limit on bytes: half of what was too large.
    limit: usize,
    /// The bytes of the last batch, and what it took.
    last: Option<(usize, Duration)>,
    /// What a batch takes however small it is, as far as it is known.
    pause: Option<Duration>,
}

impl Pace {
    /// The pace of a link of which nothing bad is known.
    pub fn new(records: usize, bytes: usize) -> Self {
        Self { records, ceiling: records, bytes, limit: bytes, ..Self::default() }
    }

    /// Most records at once.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Takes at most `bytes` at once from now on.
    pub(crate) fn limit_bytes(&mut self, bytes: usize) {
        (self.bytes, self.limit) = (bytes, bytes);
    }

    /// A batch of so many bytes was answered, so long after the one before.
    pub(crate) fn took(&mut self, bytes: usize, time: Duration) {
        self.learn(bytes, time);
        let aim = self.pause.unwrap_or_default().saturating_mul(PAUSES).clamp(SHORT, LONG);
        let wanted = bytes as u128 * aim.as_micros() / time.as_micros().max(1);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        if time > aim {
            // A machine that was busy for once is no reason for much less.
            self.bytes = self.bytes.min(wanted.max(bytes / 2).max(LEAST_BYTES));
        } else if bytes >= self.bytes / 2 {
            // Of a batch that small, nothing would follow for one of all the bytes.
            self.bytes = wanted.clamp(self.bytes, self.bytes.saturating_mul(2)).min(self.limit);
        }
    }

    /// A batch got through; no batch is larger than `most`.
    pub fn grow(&mut self, most: usize) {
        self.ceiling = (self.ceiling + 1).min(most);
        self.records = (self.records * 2).clamp(1, self.ceiling);
    }

    /// The time that no bytes explain. What else the machine does is in it: the least that is
    /// found is the best.
    fn learn(&mut self, bytes: usize, time: Duration) {
        let Some(last) = self.last.replace((bytes, time)) else { return };
        let (small, large) =
            if last.0 < bytes { (last, (bytes, time)) } else { ((bytes, time), last) };
        if large.0 < small.0.saturating_mul(2) || small.0 == 0 {
            return;
        }
        let more = (large.0 - small.0) as f64 / small.0 as f64;
        let of_bytes = large.1.saturating_sub(small.1).div_f64(more);
        let pause = small.1.saturating_sub(of_bytes);
        self.pause = Some(self.pause.map_or(pause, |known| known.min(pause)));
    }

    /// Most records at once after one more batch got through.
    pub fn next(mut self, most: usize) -> usize {
        self.grow(most);
        self.records
    }

    /// Begins with one record, as after an outage: should the destination be overrun, little
    /// was sent in vain.
    pub fn begin_small(&mut self) {
        (self.records, self.last, self.pause) = (1, None, None);
    }

    pub(crate) fn shrink(&mut self, failed: usize, timed_out: bool) {
        self.records = (failed / 2).max(1);
        if timed_out {
            self.ceiling = self.records;
        }
    }

    /// A batch of several was too large. The limit stays: a server's does.
    pub(crate) fn shrink_bytes(&mut self, records: usize, bytes: usize) {
        self.limit_bytes((bytes / 2).max(1));
        self.records = (records / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches over a link, each as large as the pace allows; what the last one took.
    fn settles(pace: &mut Pace, bytes_per_second: f64, round_trip: f64) -> Duration {
        let mut time = Duration::ZERO;
        for _ in 0..40 {
            // Of records of 2 KB.
            let bytes = pace.bytes.min(pace.records * 2000);
            time = Duration::from_secs_f64(round_trip + bytes as f64 / bytes_per_second);
            pace.took(bytes, time);
            pace.grow(1000);
        }
        time
    }

    #[test]
    fn a_batch_takes_a_second_of_a_slow_link_and_more_where_the_round_trip_is_long() {
        for (rate, round_trip, least, most) in [
            (125e3, 0.005, 0.5, 1.05),
            (125e3, 0.1, 1.0, 1.7),
            (125e3, 0.6, 2.0, 4.05),
            (6e3, 0.1, 5.0, 6.0), // its least: 32 KiB
        ] {
            let mut pace = Pace::new(1000, 1_000_000);
            pace.begin_small();
            let time = settles(&mut pace, rate, round_trip).as_secs_f64();
            assert!((least..=most).contains(&time), "{rate} {round_trip}: {time}");
            // The same without a small beginning.
            let mut pace = Pace::new(1000, 1_000_000);
            let time = settles(&mut pace, rate, round_trip).as_secs_f64();
            assert!((least..=most).contains(&time), "{rate} {round_trip}: {time}");
        }
    }

    #[test]
    fn a_link_that_is_fast_again_gets_large_batches_again() {
        let mut pace = Pace::new(1000, 1_000_000);
        settles(&mut pace, 10e3, 0.01);
        assert!(pace.bytes <= LEAST_BYTES);
        settles(&mut pace, 100e6, 0.01);
        assert_eq!(pace.bytes, 1_000_000);
    }

    #[test]
    fn what_was_too_large_once_is_a_limit() {
        let mut pace = Pace::new(1000, 1_000_000);
        pace.shrink_bytes(1000, 1_000_000);
        settles(&mut pace, 100e6, 0.01);
        assert_eq!(pace.bytes, 500_000);
    }
}
