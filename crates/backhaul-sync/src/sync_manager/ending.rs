//! How a sync ends: what is written down of it, and when the next is due.

use std::time::Duration;

use backhaul_store::Moment;
use tokio::time::Instant;

use super::drain::Halt;
use super::outage::Outage;
use super::shared::{Shared, State};
use crate::backoff::Backoff;
use crate::bandwidth::Denied;
use crate::events::SyncEvent;
use crate::link_error::{LinkError, LinkErrorKind};
use crate::planned_outage::PlannedOutage;
use crate::report::{Blocked, BlockedKind, SyncReport};

/// The longest that a destination which refuses this sender is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// A process that delivers may end at any time, and whoever waits for it looks this often: it
/// costs trying a lock.
const OTHER_PROCESS: Duration = Duration::from_secs(2);

/// When the next sync is due, and what is in the way of the records that wait.
struct End {
    wait: Duration,
    blocked_by: Option<Blocked>,
}

impl End {
    fn blocked(wait: Duration, kind: BlockedKind, reason: impl Into<String>) -> Self {
        Self { wait, blocked_by: Some(Blocked::new(kind, reason)) }
    }
}

impl Shared {
    /// Writes down what a sync came to, and when the next is due.
    pub(super) fn finish(
        &self,
        state: &mut State,
        mut report: SyncReport,
        halt: Option<Halt>,
    ) -> SyncReport {
        let now = self.spool.clock().now();
        let asked = state.asked.take();
        let is_planned = matches!(halt, Some(Halt::Outage(_)));
        let was_planned = std::mem::replace(&mut state.in_planned_outage, is_planned);
        let end = match halt {
            None => self.end_well(state, &report, &now),
            Some(Halt::Link(error)) => self.end_by_link(state, &error, &now, asked.is_some()),
            Some(Halt::Asked) => {
                // All the others are due when they were.
                (state.asked, state.next_attempt) = (asked, asked);
                let reason = "all but critical records wait for the time that was asked for";
                report.blocked_by = Some(Blocked::new(BlockedKind::Busy, reason));
                state.blocked_by.clone_from(&report.blocked_by);
                return report;
            }
            Some(Halt::Spread(spread)) => end_by_spread(state, spread),
            Some(Halt::Blocked(blocked)) => end_by_obstacle(state, blocked),
            Some(Halt::OverBudget(denied)) => end_by_budget(state, denied),
            Some(Halt::Outage(outage)) => {
                // It does not shorten the time that the destination asked for.
                state.asked = asked;
                end_by_planned_outage(state, outage, was_planned)
            }
        };
        report.blocked_by = end.blocked_by;
        state.next_attempt = Some(Instant::now() + end.wait);
        state.blocked_by.clone_from(&report.blocked_by);
        report
    }

    fn end_well(&self, state: &mut State, report: &SyncReport, now: &Moment) -> End {
        self.note_recovery(state);
        state.only_critical = None;
        let mut wait = state.options.interval();
        if let Some(due) = state.due.next() {
            wait = wait.min(due.saturating_sub(now.since_boot));
        }
        if report.remaining == 0 {
            return End { wait, blocked_by: None };
        }
        let mut reason = format!("{} records wait for their next try", report.remaining);
        if report.oversized > 0 {
            let oversized = report.oversized;
            reason += &format!(", {oversized} of them for a larger data cap");
        }
        End::blocked(wait, BlockedKind::PutOff, reason)
    }

    /// Nothing is in the way any more.
    pub(super) fn note_recovery(&self, state: &mut State) {
        if state.failures > 0 || state.paused.is_some() {
            tracing::info!("records get through again");
            self.subscribers.tell(&SyncEvent::Recovered);
        }
        state.failures = 0;
        state.paused = None;
        state.last_error = None;
        state.blocked_by = None;
    }

    fn end_by_link(
        &self,
        state: &mut State,
        error: &LinkError,
        now: &Moment,
        was_asked: bool,
    ) -> End {
        let reason = error.to_string();
        let wait = if error.kind() == LinkErrorKind::Refused {
            if state.paused.is_none() {
                match error.is_relayed() {
                    false => {
                        tracing::error!(%error, "the destination is paused until somebody acts")
                    }
                    true => tracing::debug!(%error, "the destination is paused for others too"),
                }
                self.subscribers.tell(&SyncEvent::Paused { reason: reason.clone() });
                state.failures = 0;
            }
            state.paused = Some(reason.clone());
            wait_while_refused(state)
        } else {
            state.paused = None;
            wait_after(state, error, now.since_boot, was_asked)
        };
        state.last_error = Some(reason.clone());
        End::blocked(wait, kind_of(error.kind()), reason)
    }
}

/// A destination that refuses this sender is asked with one record, less and less often: it
/// reads the request before it answers, and every one costs its bytes.
fn wait_while_refused(state: &mut State) -> Duration {
    state.pace.begin_small();
    let initial = state.options.interval();
    let max = LONGEST_PAUSE.max(initial);
    let jitter = state.options.backoff().jitter;
    let wait = Backoff { initial, max, jitter, ..Backoff::default() }.delay(state.failures);
    state.failures = state.failures.saturating_add(1);
    wait
}

fn end_by_spread(state: &mut State, spread: Duration) -> End {
    state.failures = 0;
    state.asked = Some(Instant::now() + spread);
    state.last_error = None;
    let reason = "the link is back: this device's turn in the fleet comes later";
    End::blocked(spread, BlockedKind::Spread, reason)
}

fn end_by_obstacle(state: &mut State, blocked: Blocked) -> End {
    let mut wait = state.options.interval();
    if blocked.kind == BlockedKind::OtherProcess {
        wait = wait.min(OTHER_PROCESS);
    }
    if blocked.kind == BlockedKind::Storage {
        let failures = state.failures;
        state.failures = failures.saturating_add(1);
        wait = state.options.backoff().delay(failures);
        match failures {
            0 => tracing::error!(reason = %blocked, "the courier cannot use its spool"),
            _ => tracing::debug!(reason = %blocked, "it still cannot use its spool"),
        }
    }
    if blocked.kind != BlockedKind::Stopped {
        state.last_error = Some(blocked.reason.clone());
    }
    End { wait, blocked_by: Some(blocked) }
}

fn end_by_budget(state: &mut State, denied: Denied) -> End {
    let interval = state.options.interval();
    let mut wait = interval.min(denied.refill_in().unwrap_or(interval));
    if let Some(due) = state.next_attempt.filter(|_| state.only_critical.is_some()) {
        // Asked for by a new record: the one that looks at all of them is due when it was.
        wait = due.saturating_duration_since(Instant::now());
    }
    tracing::info!(%denied, ?wait, "the data cap holds records back");
    state.failures = 0;
    state.paused = None;
    let reason = denied.to_string();
    state.last_error = Some(reason.clone());
    state.only_critical = Some(denied);
    End::blocked(wait, BlockedKind::Cap, reason)
}

fn end_by_planned_outage(state: &mut State, outage: PlannedOutage, was_planned: bool) -> End {
    let interval = state.options.interval();
    if !was_planned {
        tracing::info!(reason = outage.reason, "nothing is sent");
    }
    state.failures = 0;
    state.is_online = Some(false);
    state.last_error = Some(outage.reason.clone());
    let wait = interval.min(outage.left.unwrap_or(interval));
    End::blocked(wait, BlockedKind::Outage, outage.reason)
}

/// How long to wait when nothing gets through. Who asks for a time is left alone for as
/// long, and is no outage; any other failure may be the beginning of one.
fn wait_after(state: &mut State, error: &LinkError, now: Duration, was_asked: bool) -> Duration {
    let backoff = state.options.backoff();
    if let Some(asked) = error.retry_after() {
        let wait = Outage::asked(asked.max(backoff.initial), state.chance());
        state.asked = Some(Instant::now() + wait);
        state.failures = 0;
        state.outage.is_over();
        match was_asked {
            false => tracing::info!(%error, ?wait, "the destination asks to wait"),
            true => tracing::debug!(%error, ?wait, "the destination still asks to wait"),
        }
        return wait;
    }
    let failures = state.failures;
    let wait = backoff.delay(failures);
    state.failures = failures.saturating_add(1);
    state.outage.link_fails(now);
    if state.outage.is_long(now) {
        state.pace.begin_small();
    }
    match failures {
        0 if !error.is_relayed() => tracing::info!(%error, ?wait, "nothing gets through"),
        _ => tracing::debug!(%error, failures, ?wait, "still nothing gets through"),
    }
    wait
}

fn kind_of(kind: LinkErrorKind) -> BlockedKind {
    match kind {
        LinkErrorKind::Unreachable | LinkErrorKind::Timeout => BlockedKind::Offline,
        LinkErrorKind::Refused => BlockedKind::Refused,
        LinkErrorKind::OverBudget => BlockedKind::Cap,
        LinkErrorKind::Busy | LinkErrorKind::TooLarge | LinkErrorKind::BadBatch => {
            BlockedKind::Busy
        }
    }
}
