//! How fast.

use std::time::Duration;

/// What may go at once after a pause: a quarter of a second's worth. Over ten seconds
/// that is 2.5 % more than the rate.
const BURST: Duration = Duration::from_millis(250);

/// A token bucket. Times are given, so that it needs no clock.
///
/// It is kept as the time at which all that was let through would be through at the
/// rate; bytes may go as soon as that is no later than a burst from now.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_second: u64,
    through_at: Duration,
}

impl Rate {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), through_at: Duration::ZERO }
    }

    /// Bytes that may go at once after a pause.
    pub(crate) fn burst(&self) -> u64 {
        let bytes = u128::from(self.bytes_per_second) * BURST.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
    }

    /// How long from `now` until `bytes` may go.
    pub(crate) fn wait(&self, now: Duration, bytes: u64) -> Duration {
        self.after(now, bytes).saturating_sub(now + BURST.max(self.time_of(1)))
    }

    /// Lets `bytes` go, after the wait.
    pub(crate) fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let wait = self.wait(now, bytes);
        self.through_at = self.after(now, bytes);
        wait
    }

    fn after(&self, now: Duration, bytes: u64) -> Duration {
        self.through_at.max(now).saturating_add(self.time_of(bytes))
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends pieces one after another for a minute: when each went, and how large it was.
    fn send(rate: &mut Rate, piece: u64) -> Vec<(Duration, u64)> {
        let mut now = Duration::from_secs(100);
        let mut sent = Vec::new();
        while now < Duration::from_secs(160) {
            now += rate.take(now, piece);
            sent.push((now, piece));
        }
        sent
    }

    #[test]
    fn any_ten_seconds_carry_the_rate_within_a_twentieth() {
        let window = Duration::from_secs(10);
        for kbps in [50, 1_000, 100_000] {
            let per_second = kbps * 125;
            for share in [1, 3, 10] {
                let mut rate = Rate::new(per_second);
                let piece = (rate.burst() / share).max(1);
                let sent = send(&mut rate, piece);
                for (start, _) in sent.iter().filter(|(at, _)| *at < Duration::from_secs(149)) {
                    let within =
                        sent.iter().filter(|(at, _)| *at >= *start && *at < *start + window);
                    let bytes: u64 = within.map(|(_, bytes)| bytes).sum();
                    let range = per_second * 95 / 10..=per_second * 105 / 10;
                    assert!(range.contains(&bytes), "{kbps} kbps: {bytes} bytes");
                }
            }
        }
    }

    #[test]
    fn a_piece_larger_than_the_burst_waits_for_its_whole_length() {
        let mut rate = Rate::new(1_000);
        assert_eq!(rate.take(Duration::ZERO, 10_250), Duration::from_secs(10));
        assert_eq!(rate.wait(Duration::from_secs(10), 250), Duration::from_millis(250));
    }

    #[test]
    fn a_pause_saves_up_no_more_than_the_burst() {
        let mut rate = Rate::new(1_000);
        assert_eq!(rate.take(Duration::ZERO, 250), Duration::ZERO);
        let later = Duration::from_secs(3_600);
        assert_eq!(rate.take(later, 250), Duration::ZERO);
        assert_eq!(rate.wait(later, 250), Duration::from_millis(250));
    }

    #[test]
    fn asking_takes_nothing_and_extremes_do_no_harm() {
        let mut rate = Rate::new(1);
        assert_eq!(rate.burst(), 1);
        assert_eq!(rate.wait(Duration::ZERO, 1), Duration::ZERO);
        assert_eq!(rate.take(Duration::ZERO, 1), Duration::ZERO);
        assert_eq!(rate.take(Duration::ZERO, 1), Duration::from_secs(1));
        assert!(rate.wait(Duration::ZERO, u64::MAX) > Duration::from_secs(1 << 32));
        assert_eq!(Rate::new(u64::MAX).wait(Duration::ZERO, 1 << 20), Duration::ZERO);
    }
}
