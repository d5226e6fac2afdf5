//! How a spool stands, as `status` and the control socket say it, in text and in JSON.

use std::collections::BTreeMap;

use backhaul_store::{Books, Status};
use backhaul_sync::{BandwidthStatus, ConnectivityStatus, FailingRule, SyncStatus};
use serde::{Deserialize, Serialize};

/// A spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpoolReport {
    pub(crate) pending: u64,
    pub(crate) synced: u64,
    pub(crate) failed: u64,
    pub(crate) oldest_age_seconds: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) cap_bytes: Option<u64>,
    /// The limit that is close.
    pub(crate) high_water: Option<HighWater>,
    /// Waiting records that are larger than the data cap ever allows.
    #[serde(default)]
    pub(crate) oversized: u64,
    /// Those of them of which a summary was delivered.
    #[serde(default)]
    pub(crate) summarized: u64,
    /// Waiting calls of tools of which nobody knows whether they were done.
    #[serde(default)]
    pub(crate) unknown: u64,
    pub(crate) quarantined: usize,
    pub(crate) unreadable: usize,
    pub(crate) damaged_ledger_lines: u64,
    pub(crate) trouble: Option<String>,
    /// Whether records are passed on, where that is known.
    pub(crate) forwards: Option<bool>,
    /// Of the process that delivers, where it says so.
    pub(crate) courier: Option<CourierReport>,
    pub(crate) books: BooksReport,
    /// The waiting records of each lane that was ever used.
    pub(crate) pending_by_lane: BTreeMap<String, u64>,
}

/// The books, and whether they balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BooksReport {
    #[serde(flatten)]
    pub(crate) books: Books,
    pub(crate) balance: bool,
}

/// A limit that a spool has come close to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HighWater {
    /// `cap`, `free_bytes` or `free_inodes`.
    pub(crate) limit: String,
    pub(crate) reason: String,
}

/// Who delivers, and how that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CourierReport {
    pub(crate) destination: String,
    /// Whether it answered the last time; none before the first.
    pub(crate) is_online: Option<bool>,
    pub(crate) is_syncing: bool,
    pub(crate) last_sync_at: Option<String>,
    pub(crate) last_attempt_at: Option<String>,
    pub(crate) next_attempt_at: Option<String>,
    pub(crate) last_error: Option<String>,
    /// Why nothing is sent until somebody acts.
    pub(crate) paused: Option<String>,
    /// The name of what is in the way of the records that wait.
    pub(crate) blocked_by: Option<String>,
    /// The same in words.
    pub(crate) reason: Option<String>,
    /// The data cap, where one is counted.
    pub(crate) budget: Option<BudgetReport>,
    /// What says whether there is a link.
    pub(crate) link: Option<LinkReport>,
    /// The rules that fail and count 0, and how they failed first.
    #[serde(default)]
    pub(crate) failing_rules: BTreeMap<String, String>,
}

/// What says whether there is a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkReport {
    /// `online`, `offline` or `unknown`.
    pub(crate) state: String,
    pub(crate) since: Option<String>,
    pub(crate) last_check_at: Option<String>,
    pub(crate) next_check_at: Option<String>,
    /// What was wrong with the last check.
    pub(crate) last_error: Option<String>,
    pub(crate) checks: u64,
    /// What they put on the wire, both ways.
    pub(crate) check_bytes: u64,
}

/// The data cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetReport {
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) reserve_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) left_bytes: Option<u64>,
    pub(crate) left_critical_bytes: Option<u64>,
    pub(crate) next_refill_at: Option<String>,
    pub(crate) clock_is_known: bool,
    pub(crate) trouble: Option<String>,
}

impl SpoolReport {
    pub(crate) fn new(status: &Status) -> Self {
        let books = status.books;
        let lanes = status.lanes.iter();
        Self {
            pending: books.pending,
            synced: books.delivered,
            failed: books.rejected,
            oldest_age_seconds: status.oldest_age.map(|age| age.as_secs()),
            bytes: status.bytes,
            cap_bytes: status.max_bytes,
            high_water: status.high_water.map(|limit| HighWater {
                limit: limit.name().to_owned(),
                reason: limit.to_string(),
            }),
            oversized: status.oversized,
            summarized: status.summarized,
            unknown: status.unknown,
            quarantined: status.quarantined,
            unreadable: status.unreadable,
            damaged_ledger_lines: status.damaged_ledger_lines,
            trouble: status.trouble.clone(),
            forwards: None,
            courier: None,
            books: BooksReport { books, balance: books.balance() },
            pending_by_lane: lanes.map(|(lane, books)| (lane.to_string(), books.pending)).collect(),
        }
    }

    /// Takes another one in: two spools that are shown as one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        self.synced += other.synced;
        self.failed += other.failed;
        self.oldest_age_seconds = self.oldest_age_seconds.max(other.oldest_age_seconds);
        self.bytes += other.bytes;
        self.high_water = self.high_water.take().or_else(|| other.high_water.clone());
        self.oversized += other.oversized;
        self.summarized += other.summarized;
        self.unknown += other.unknown;
        self.quarantined += other.quarantined;
        self.unreadable += other.unreadable;
        self.damaged_ledger_lines += other.damaged_ledger_lines;
        self.trouble = self.trouble.take().or_else(|| other.trouble.clone());
        self.forwards = self.forwards.or(other.forwards);
        // The one that is held up says more.
        let is_held_up = |it: &CourierReport| it.paused.is_some() || it.blocked_by.is_some();
        if !self.courier.as_ref().is_some_and(is_held_up) && other.courier.is_some() {
            self.courier.clone_from(&other.courier);
        }
        self.books.books.add(&other.books.books);
        self.books.balance &= other.books.balance;
        for (lane, pending) in &other.pending_by_lane {
            *self.pending_by_lane.entry(lane.clone()).or_default() += pending;
        }
    }
}

impl CourierReport {
    pub(crate) fn new(destination: &str, status: SyncStatus) -> Self {
        let (blocked_by, reason) = status
            .blocked_by
            .map(|blocked| (blocked.kind.name().to_owned(), blocked.reason))
            .unzip();
        Self {
            destination: destination.to_owned(),
            is_online: status.is_online,
            is_syncing: status.is_syncing,
            last_sync_at: status.last_sync_at.map(|at| at.to_string()),
            last_attempt_at: status.last_attempt_at.map(|at| at.to_string()),
            next_attempt_at: status.next_attempt_at.map(|at| at.to_string()),
            last_error: status.last_error,
            paused: status.paused,
            blocked_by,
            reason,
            budget: status.bandwidth.map(BudgetReport::new),
            link: status.connectivity.map(LinkReport::new),
            failing_rules: status
                .failing_rules
                .into_iter()
                .map(|FailingRule { rule, reason }| (rule, reason))
                .collect(),
        }
    }

    /// What there is to say of it, beside that it delivers.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let state = match (&self.paused, self.is_syncing, self.is_online) {
            (Some(reason), ..) => format!("PAUSED until somebody acts: {reason}"),
            (None, true, _) => "delivering now".to_owned(),
            (None, false, Some(true)) => "the link is up".to_owned(),
            (None, false, Some(false)) => "the link is down".to_owned(),
            (None, false, None) => "nothing was sent yet".to_owned(),
        };
        remarks.push(format!("to {}: {state}", self.destination));
        if let (Some(reason), None) = (&self.reason, &self.paused) {
            remarks.push(format!("held up: {reason}"));
        }
        let times = [("last delivered", &self.last_sync_at), ("next try", &self.next_attempt_at)];
        let times: Vec<String> = times
            .into_iter()
            .filter_map(|(name, at)| Some(format!("{name} {}", at.as_ref()?)))
            .collect();
        if !times.is_empty() {
            remarks.push(times.join(", "));
        }
        remarks.extend(self.budget.as_ref().map(BudgetReport::sentence));
        remarks.extend(self.link.as_ref().and_then(LinkReport::sentence));
        remarks.extend(self.failing_rules.iter().map(|(rule, reason)| {
            format!("the rule {rule:?} fails, and counts 0 where it does: {reason}")
        }));
        remarks
    }
}

impl LinkReport {
    fn new(status: ConnectivityStatus) -> Self {
        Self {
            state: status.state.to_string(),
            since: status.since.map(|at| at.to_string()),
            last_check_at: status.last_probe_at.map(|at| at.to_string()),
            next_check_at: status.next_probe_at.map(|at| at.to_string()),
            last_error: status.last_error.map(|error| error.to_string()),
            checks: status.probes,
            check_bytes: status.bytes,
        }
    }

    /// Nothing before the first check.
    fn sentence(&self) -> Option<String> {
        let at = self.last_check_at.as_ref()?;
        let (count, bytes) = (self.checks, crate::config::ByteSize(self.check_bytes));
        let since = self.since.as_ref().map(|at| format!(" since {at}")).unwrap_or_default();
        let state = &self.state;
        Some(format!("{state}{since}; last checked {at} ({count} checks so far, {bytes})"))
    }
}

impl BudgetReport {
    fn new(status: BandwidthStatus) -> Self {
        Self {
            limit_bytes: status.limit_bytes,
            reserve_bytes: status.reserve_bytes,
            used_bytes: status.used_bytes,
            left_bytes: status.left_bytes,
            left_critical_bytes: status.left_critical_bytes,
            next_refill_at: status.next_refill_at.map(|at| at.to_string()),
            clock_is_known: status.clock_is_known,
            trouble: status.trouble,
        }
    }

    fn sentence(&self) -> String {
        use crate::config::ByteSize;
        let used = ByteSize(self.used_bytes);
        let mut text = match self.limit_bytes {
            Some(limit) => format!("data cap: {used} of {} used", ByteSize(limit)),
            None => format!("no data cap, {used} counted"),
        };
        if let Some(at) = &self.next_refill_at {
            text.push_str(&format!(", full again {at}"));
        }
        if let Some(trouble) = &self.trouble {
            text.push_str(&format!("; TROUBLE: {trouble}"));
        }
        text
    }
}

/// An age in the unit that fits.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
