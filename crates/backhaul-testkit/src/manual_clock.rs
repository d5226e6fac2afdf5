//! A clock that a test moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock, Moment, Timestamp};

/// 2026-01-01T00:00:00Z in microseconds.
const DEFAULT_WALL_MICROS: i64 = 1_767_225_600_000_000;

/// A clock that stands still until it is moved. Clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    wall: Timestamp,
    since_boot: Duration,
    boots: u64,
    boot_id: &'static str,
}

impl ManualClock {
    /// A clock at 2026-01-01T00:00:00Z, just booted, with the boot id `boot-1`.
    pub fn new() -> Self {
        Self::at(Timestamp::from_micros(DEFAULT_WALL_MICROS))
    }

    /// A clock at `wall`, just booted, with the boot id `boot-1`.
    pub fn at(wall: Timestamp) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                wall,
                since_boot: Duration::ZERO,
                boots: 1,
                boot_id: "boot-1",
            })),
        }
    }

    /// A clock in a boot of this name, so long after it began: for a process that a test
    /// starts, kills and starts again.
    pub fn in_boot(boot_id: &str, since_boot: Duration, wall: Timestamp) -> Self {
        let clock = Self::at(wall);
        // Leaked as in `reboot`.
        let boot_id = Box::leak(boot_id.to_owned().into_boxed_str());
        {
            let mut state = clock.state();
            (state.boot_id, state.since_boot) = (boot_id, since_boot);
        }
        clock
    }

    /// Moves both clocks forward. Parts of a microsecond move only the boot clock.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        state.wall = Timestamp::from_micros(state.wall.as_micros().saturating_add(micros));
        state.since_boot = state.since_boot.saturating_add(by);
    }

    /// Sets the wall clock alone, forwards or backwards.
    pub fn set_wall(&self, wall: Timestamp) {
        self.state().wall = wall;
    }

    /// Starts another boot: a new boot id (`boot-2` and so on) and a boot clock
    /// at zero. The wall clock stays: set it where the device has none of its own.
    pub fn reboot(&self) {
        let mut state = self.state();
        state.boots += 1;
        // Leaked, so that `boot_id` can lend it: a few bytes for each reboot in a test.
        state.boot_id = Box::leak(format!("boot-{}", state.boots).into_boxed_str());
        state.since_boot = Duration::ZERO;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let state = self.state();
        Moment { wall: state.wall, since_boot: state.since_boot }
    }

    fn boot_id(&self) -> &str {
        self.state().boot_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_in_2026_and_stands_still() {
        let clock = ManualClock::new();
        assert_eq!(clock.now().wall.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(clock.now(), clock.now());
        assert_eq!(clock.boot_id(), "boot-1");
    }

    #[test]
    fn advancing_moves_both_clocks_in_every_clone() {
        let clock = ManualClock::new();
        clock.clone().advance(Duration::from_millis(1_500));
        assert_eq!(clock.now().wall.to_string(), "2026-01-01T00:00:01.5Z");
        assert_eq!(clock.now().since_boot, Duration::from_millis(1_500));
    }

    #[test]
    fn setting_the_wall_clock_leaves_the_boot_clock() {
        let clock = ManualClock::at(Timestamp::from_micros(5_000_000));
        clock.advance(Duration::from_secs(10));
        clock.set_wall(Timestamp::from_micros(0));
        assert_eq!(clock.now().wall.as_micros(), 0);
        assert_eq!(clock.now().since_boot, Duration::from_secs(10));
    }

    #[test]
    fn a_reboot_changes_the_boot_id_and_resets_the_boot_clock() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(3_600));
        let wall = clock.now().wall;
        let old_id = clock.boot_id();
        clock.reboot();
        assert_eq!((old_id, clock.boot_id()), ("boot-1", "boot-2"));
        assert_eq!(clock.now(), Moment { wall, since_boot: Duration::ZERO });
    }
}
