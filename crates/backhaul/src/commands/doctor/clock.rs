//! Whether the clock is right, as far as that can be known here.

use std::time::Duration;

use backhaul_store::{Clock as _, SystemClock, Timestamp};
use backhaul_sync::{ClockCheck as _, KernelClock};

use super::finding::Finding;

/// No clock that was ever set is before this: 2024.
const PLAUSIBLE_FROM: &str = "2024-01-01T00:00:00Z";

pub(super) fn check() -> Finding {
    judge(SystemClock::new().now().wall, KernelClock.max_error())
}

fn judge(now: Timestamp, max_error: Option<Duration>) -> Finding {
    let set_it = "set it, or have it set: `timedatectl set-ntp true`; until then certificates \
                  may be refused, and a data cap refills by age";
    let is_plausible = Timestamp::parse(PLAUSIBLE_FROM).is_some_and(|from| now >= from);
    match max_error {
        _ if !is_plausible => Finding::problem("clock", format!("it says {now}"), set_it),
        Some(_) => Finding::ok("clock", format!("{now}, synchronised")),
        None => Finding::warning(
            "clock",
            format!("{now}, and the kernel does not know whether that is right"),
            set_it,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_a_problem_and_one_that_nobody_keeps_a_warning() {
        let level = |now: &str, error| judge(Timestamp::parse(now).unwrap(), error).level;
        let second = Some(Duration::from_secs(1));
        assert_eq!(level("1970-01-01T00:02:00Z", second), Level::Problem);
        assert_eq!(level("1970-01-01T00:02:00Z", None), Level::Problem);
        assert_eq!(level("2026-01-01T00:00:00Z", None), Level::Warning);
        assert_eq!(level("2026-01-01T00:00:00Z", second), Level::Ok);
    }
}
