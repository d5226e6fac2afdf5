//! How often something may be asked for: a few times at once, and then once in a while.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(super) struct Credit {
    /// The time that one costs.
    price: Duration,
    /// The time that may be owed.
    limit: Duration,
    /// Everything up to this time is spent.
    spent_until: Duration,
}

impl Credit {
    /// `at_once` of them, and another after each `price`.
    pub(super) fn new(price: Duration, at_once: u32) -> Self {
        let limit = price.saturating_mul(at_once.saturating_sub(1));
        Self { price, limit, spent_until: Duration::ZERO }
    }

    /// When there is credit for one.
    pub(super) fn since(&self) -> Duration {
        self.spent_until.saturating_sub(self.limit)
    }

    /// Whether not half of it is used up.
    pub(super) fn is_ample(&self, now: Duration) -> bool {
        self.spent_until.saturating_sub(self.limit / 2) <= now
    }

    pub(super) fn spend(&mut self, now: Duration) {
        self.spent_until = self.spent_until.max(now).saturating_add(self.price);
    }
}
