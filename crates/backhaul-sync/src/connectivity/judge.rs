//! What the evidence comes to: thresholds, and a least time in each state.
//!
//! Times are counted from any moment, as long as it is always the same one.

use std::time::Duration;

use super::state::Connectivity;

/// What it takes to believe a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) failures_to_go_offline: u32,
    pub(crate) successes_to_go_online: u32,
    pub(crate) min_online: Duration,
    pub(crate) min_offline: Duration,
}

#[derive(Debug)]
pub(crate) struct Judge {
    rules: Rules,
    state: Connectivity,
    since: Duration,
    is_forced: bool,
    /// In a row; at most one of the two is not zero.
    failures: u32,
    successes: u32,
}

impl Judge {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: Connectivity::Unknown,
            since: Duration::ZERO,
            is_forced: false,
            failures: 0,
            successes: 0,
        }
    }

    pub(crate) fn state(&self) -> Connectivity {
        self.state
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// Whether the last piece of evidence speaks against the state, or there is no state yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        match self.state {
            Connectivity::Unknown => true,
            Connectivity::Online => self.failures > 0,
            Connectivity::Offline => self.successes > 0,
        }
    }

    /// Something got through, or did not.
    pub(crate) fn note(&mut self, now: Duration, got_through: bool) {
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
    pub(crate) fn settle(&mut self, now: Duration) {
        if let (Some(next), Some(at)) = (self.wanted(), self.settles_at())
            && at <= now
        {
            self.enter(next, now);
        }
    }

    /// When the state changes if nothing more is heard.
    pub(crate) fn settles_at(&self) -> Option<Duration> {
        self.wanted()?;
        let least = match self.state {
            Connectivity::Unknown => Duration::ZERO,
            Connectivity::Online => self.rules.min_online,
            Connectivity::Offline => self.rules.min_offline,
        };
        Some(self.since.saturating_add(least))
    }

    /// Sets the state by hand, or lets the evidence decide again: from what it is now.
    pub(crate) fn force(&mut self, now: Duration, state: Option<Connectivity>) {
        self.is_forced = state.is_some();
        (self.failures, self.successes) = (0, 0);
        if let Some(state) = state
            && state != self.state
        {
            self.enter(state, now);
        }
    }

    /// Forgets all evidence.
    pub(crate) fn forget(&mut self, now: Duration) {
        (self.failures, self.successes) = (0, 0);
        if !self.is_forced && self.state != Connectivity::Unknown {
            self.enter(Connectivity::Unknown, now);
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
