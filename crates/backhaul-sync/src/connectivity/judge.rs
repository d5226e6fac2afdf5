//! What the evidence comes to: thresholds, and a least time in each state.
//!
//! Times are counted from any moment, as long as it is always the same one.

use std::time::Duration;

use super::state::Connectivity;

/// What it takes to believe a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) failures_to_go_offline: u32,
    pub(super) successes_to_go_online: u32,
    pub(super) min_online: Duration,
    pub(super) min_offline: Duration,
}

#[derive(Debug)]
pub(super) struct Judge {
    rules: Rules,
    state: Connectivity,
    since: Duration,
    is_forced: bool,
    /// In a row; at most one of the two is not zero.
    failures: u32,
    successes: u32,
}

impl Judge {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: Connectivity::Unknown,
            since: Duration::ZERO,
            is_forced: false,
            failures: 0,
            successes: 0,
        }
    }

    pub(super) fn state(&self) -> Connectivity {
        self.state
    }

    pub(super) fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// Whether the last piece of evidence speaks against the state, or there is no state yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        match self.state {
            Connectivity::Unknown => true,
            Connectivity::Online => self.failures > 0,
            Connectivity::Offline => self.successes > 0,
        }
    }

    /// Something got through, or did not.
    pub(super) fn note(&mut self, now: Duration, got_through: bool) {
        if got_through {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
        }
        self.settle(now);
    }

    /// Changes the state where the evidence asks for it and the time has come.
    pub(super) fn settle(&mut self, now: Duration) {
        if let (Some(next), Some(at)) = (self.wanted(), self.settles_at())
            && at <= now
        {
            self.enter(next, now);
        }
    }

    /// When the state changes if nothing more is heard.
    pub(super) fn settles_at(&self) -> Option<Duration> {
        self.wanted()?;
        let least = match self.state {
            Connectivity::Unknown => Duration::ZERO,
            Connectivity::Online => self.rules.min_online,
            Connectivity::Offline => self.rules.min_offline,
        };
        Some(self.since.saturating_add(least))
    }

    /// Sets the state by hand, or lets the evidence decide again: from what it is now.
    pub(super) fn force(&mut self, now: Duration, state: Option<Connectivity>) {
        self.is_forced = state.is_some();
        (self.failures, self.successes) = (0, 0);
        if let Some(state) = state
            && state != self.state
        {
            self.enter(state, now);
        }
    }

    /// Forgets all evidence.
    pub(super) fn forget(&mut self, now: Duration) {
        (self.failures, self.successes) = (0, 0);
        if !self.is_forced && self.state != Connectivity::Unknown {
            self.enter(Connectivity::Unknown, now);
        }
    }

    /// Something may be otherwise now: what is offline needs new evidence, once its least
    /// time is over.
    pub(super) fn reconsider(&mut self, now: Duration) {
        let is_over = self.since.saturating_add(self.rules.min_offline) <= now;
        if self.state == Connectivity::Offline && is_over {
            self.forget(now);
        }
    }

    /// Another state than this one that the evidence asks for.
    fn wanted(&self) -> Option<Connectivity> {
        let wanted = if self.failures >= self.rules.failures_to_go_offline {
            Connectivity::Offline
        } else if self.successes >= self.rules.successes_to_go_online {
            Connectivity::Online
        } else {
            return None;
        };
        (!self.is_forced && wanted != self.state).then_some(wanted)
    }

    fn enter(&mut self, state: Connectivity, now: Duration) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::Connectivity::{Offline, Online, Unknown};
    use super::*;
    use proptest::prelude::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Two failures, one success, five seconds online.
    fn rules() -> Rules {
        Rules {
            failures_to_go_offline: 2,
            successes_to_go_online: 1,
            min_online: seconds(5),
            min_offline: Duration::ZERO,
        }
    }

    /// Evidence at a second (`None`: none, time alone), and the state that it leads to.
    #[track_caller]
    fn leads_to(rules: Rules, steps: &[(u64, Option<bool>, Connectivity)]) {
        let mut judge = Judge::new(rules);
        for (n, (second, evidence, expected)) in steps.iter().enumerate() {
            match evidence {
                Some(got_through) => judge.note(seconds(*second), *got_through),
                None => judge.settle(seconds(*second)),
            }
            assert_eq!(judge.state(), *expected, "step {n}");
        }
    }

    #[test]
    fn one_success_is_enough_to_be_online_and_one_failure_is_not_to_be_offline() {
        leads_to(
            rules(),
            &[
                (0, Some(false), Unknown),
                (1, Some(false), Offline),
                (2, Some(true), Online),
                (60, Some(false), Online),
                (61, Some(true), Online),
                (62, Some(false), Online),
                (63, Some(false), Offline),
            ],
        );
    }

    #[test]
    fn a_state_is_left_when_its_least_time_is_over_without_more_evidence() {
        leads_to(
            rules(),
            &[
                (10, Some(true), Online),
                (11, Some(false), Online),
                (12, Some(false), Online),
                (14, None, Online),
                (15, None, Offline),
            ],
        );
    }

    #[test]
    fn what_was_over_before_the_least_time_changes_nothing() {
        leads_to(
            rules(),
            &[
                (10, Some(true), Online),
                (11, Some(false), Online),
                (12, Some(false), Online),
                (13, Some(true), Online),
                (99, None, Online),
            ],
        );
    }

    #[test]
    fn thresholds_and_least_times_hold_in_both_directions() {
        let slow = Rules { successes_to_go_online: 3, min_offline: seconds(20), ..rules() };
        leads_to(
            slow,
            &[
                (0, Some(false), Unknown),
                (1, Some(false), Offline),
                (2, Some(true), Offline),
                (3, Some(true), Offline),
                (4, Some(true), Offline),
                (20, None, Offline),
                (21, None, Online),
            ],
        );
    }

    #[test]
    fn what_is_set_by_hand_stays_and_is_where_the_evidence_goes_on_from() {
        let mut judge = Judge::new(rules());
        judge.force(seconds(0), Some(Offline));
        judge.note(seconds(1), true);
        judge.settle(seconds(99));
        judge.forget(seconds(99));
        assert_eq!((judge.state(), judge.settles_at()), (Offline, None));
        judge.force(seconds(100), None);
        assert_eq!(judge.state(), Offline);
        judge.note(seconds(101), true);
        assert_eq!(judge.state(), Online);
        judge.force(seconds(102), Some(Offline));
        assert_eq!(judge.state(), Offline, "by hand there is no least time");
    }

    #[test]
    fn what_is_forgotten_needs_new_evidence() {
        let mut judge = Judge::new(rules());
        judge.note(seconds(0), false);
        judge.forget(seconds(1));
        judge.note(seconds(2), false);
        assert_eq!(judge.state(), Unknown);
    }

    proptest! {
        /// However the evidence comes: no change without its threshold, none before the
        /// least time, none that is overdue; and so no more changes than the least times
        /// allow.
        #[test]
        fn flapping_is_bounded(
            failures_to_go_offline in 1_u32..4,
            successes_to_go_online in 1_u32..4,
            min_online in 0_u64..20,
            min_offline in 0_u64..20,
            steps in prop::collection::vec((0_u64..8, prop::option::of(any::<bool>())), 1..200),
        ) {
            let rules = Rules {
                failures_to_go_offline,
                successes_to_go_online,
                min_online: seconds(min_online),
                min_offline: seconds(min_offline),
            };
            let mut judge = Judge::new(rules);
            let (mut now, mut run, mut changes) = (0, (true, 0), Vec::new());
            for (wait, evidence) in steps {
                now += wait;
                let before = judge.state();
                match evidence {
                    Some(kind) => {
                        run = (kind, if run.0 == kind { run.1 + 1 } else { 1 });
                        judge.note(seconds(now), kind);
                    }
                    None => judge.settle(seconds(now)),
                }
                if judge.state() != before {
                    let needed = match judge.state() {
                        Online => (true, successes_to_go_online),
                        _ => (false, failures_to_go_offline),
                    };
                    prop_assert!(run.0 == needed.0 && run.1 >= needed.1);
                    let least = match before {
                        Unknown => 0,
                        Offline => min_offline,
                        Online => min_online,
                    };
                    prop_assert!(now >= changes.last().copied().unwrap_or(0) + least);
                    changes.push(now);
                }
                prop_assert!(judge.settles_at().is_none_or(|at| at > seconds(now)));
            }
            if let (Some(first), Some(last)) = (changes.first(), changes.last()) {
                let rounds = (changes.len() as u64).saturating_sub(1) / 2;
                prop_assert!(rounds * (min_online + min_offline) <= last - first);
            }
        }
    }
}
