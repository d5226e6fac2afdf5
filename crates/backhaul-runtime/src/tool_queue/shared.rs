//! What the clones of a queue share, and who does its calls.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Position, QueueEntry, Settled, Spool, Standing};
use backhaul_sync::ConnectivityMonitor;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::options::ToolQueueOptions;
use super::outcomes::Outcomes;
use super::processor::{Callbacks, Processor};
use super::queue_error::ToolQueueError;
use super::record::KEY;
use crate::tools::{IdempotencyKey, ToolError, ToolRegistry, ToolRequest, ToolResult};

/// Seconds between two calls, at most: some thirty years.
const LONGEST_PAUSE: f64 = 1e9;

/// Is told what the first try of a call came to; nothing where it is not tried now.
pub(super) type Watch = oneshot::Receiver<Tried>;

/// What the first try of a call came to.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) result: ToolResult,
    /// Why it still waits, where it was tried.
    pub(crate) error: Option<ToolError>,
}

impl Tried {
    pub(super) fn ended(result: ToolResult) -> Self {
        Self { result, error: None }
    }
}

pub(super) struct Shared {
    pub(super) spool: Spool,
    pub(super) outcomes: Outcomes,
    pub(super) options: ToolQueueOptions,
    pub(super) connectivity: Option<ConnectivityMonitor>,
    /// There is something to do.
    pub(super) wake: Notify,
    /// Who does calls: one at a time.
    pub(super) working: tokio::sync::Mutex<()>,
    pub(super) inside: Mutex<Inside>,
    /// Held while a call begins, or is taken back since it has not.
    pub(super) beginning: Mutex<()>,
}

/// What changes.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) tools: ToolRegistry,
    /// Calls that wait, as far as this process knows: where they are, and of which tool.
    pub(super) waiting: HashMap<IdempotencyKey, (Position, String)>,
    pub(super) callbacks: Callbacks,
    /// Who waits for a call to be tried.
    watchers: Vec<Watcher>,
    /// How often calls were begun to be done.
    round: u64,
    /// Calls at work.
    pub(super) at_work: Vec<IdempotencyKey>,
    /// When the next may begin; `None`: none has begun.
    next_start: Option<Instant>,
    pub(super) last_error: Option<String>,
    /// Calls in a row that found no network, and until when all wait since, by the boot clock.
    cut_off: u32,
    rest_until: Option<Duration>,
    pub(super) processor: Option<Processor>,
}

/// Somebody who waits for a call to be tried.
struct Watcher {
    key: IdempotencyKey,
    /// The round in which he came: the next one is for him.
    round: u64,
    told: oneshot::Sender<Tried>,
}
impl Shared {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        // No step leaves it half changed.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a network; `None`: nobody knows.
    pub(super) fn is_online(&self) -> Option<bool> {
        self.connectivity.as_ref().map(ConnectivityMonitor::is_online)
    }

    /// A call found no network: all wait for a while, and ever longer.
    pub(super) fn rest(&self) {
        let now = self.spool.clock().now().since_boot;
        let mut inside = self.inside();
        inside.rest_until = Some(now + self.options.backoff.delay(inside.cut_off));
        inside.cut_off = inside.cut_off.saturating_add(1);
    }

    /// A call was answered: there is a network.
    pub(super) fn rested(&self) {
        let mut inside = self.inside();
        inside.cut_off = 0;
        inside.rest_until = None;
    }

    /// Whether all wait for a network.
    pub(super) fn is_resting(&self) -> bool {
        let now = self.spool.clock().now().since_boot;
        self.inside().rest_until.is_some_and(|until| now < until)
    }

    pub(super) fn beginning(&self) -> MutexGuard<'_, ()> {
        self.beginning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this process the one that decides what becomes of calls.
    pub(super) fn claim(&self) -> Result<(), ToolQueueError> {
        let nothing = backhaul_store::Limits { records: 1, bytes: 0, ..Default::default() };
        drop(self.spool.take(&nothing)?);
        Ok(())
    }

    /// Forgets calls that others have settled: that expired, gave way, or were dropped by a
    /// person.
    pub(super) fn forget_settled(&self, pending: u64) {
        let waiting = &mut self.inside().waiting;
        if waiting.len() as u64 > pending {
            waiting.retain(|_, (position, _)| is_pending(&self.spool, *position));
        }
    }

    /// Settles a call that waits no more.
    pub(super) fn end(
        &self,
        position: Position,
        call: &ToolRequest,
        settled: Settled,
    ) -> Result<(), ToolQueueError> {
        let ended = self.spool.settle(&[(position, settled)]);
        let mut inside = self.inside();
        if inside.waiting.get(&call.key).is_some_and(|(at, _)| *at == position) {
            inside.waiting.remove(&call.key);
        }
        Ok(ended?)
    }

    /// When the next call may begin, by the rate that is allowed.
    pub(super) fn next_start(&self) -> Instant {
        self.inside().next_start.unwrap_or_else(Instant::now)
    }

    /// A call begins.
    pub(super) fn note_start(&self) {
        let Some(rate) = self.options.drain_rate else { return };
        // The slowest rates come to more than a clock can count.
        let pause = Duration::from_secs_f64((1.0 / rate).min(LONGEST_PAUSE));
        self.inside().next_start = Some(Instant::now() + pause);
    }

    /// Tells those who wait for a call what its first try came to.
    pub(super) fn tell(&self, call: &ToolRequest, tried: &Tried) {
        let mut inside = self.inside();
        let (told, wait) = std::mem::take(&mut inside.watchers)
            .into_iter()
            .partition(|watcher: &Watcher| watcher.key == call.key);
        inside.watchers = wait;
        drop(inside);
        told.into_iter().for_each(|watcher| drop(watcher.told.send(tried.clone())));
    }

    /// Calls are about to be done.
    pub(super) fn begin_round(&self) -> u64 {
        let mut inside = self.inside();
        inside.round += 1;
        inside.round
    }

    /// What can be begun was begun: whoever waited for another, in vain, need not wait longer.
    pub(super) fn end_round(&self, round: u64) {
        let mut inside = self.inside();
        let Inside { watchers, at_work, .. } = &mut *inside;
        watchers.retain(|watcher| watcher.round >= round || at_work.contains(&watcher.key));
    }
}

pub(super) fn is_pending(spool: &Spool, position: Position) -> bool {
    spool.get(position).is_ok_and(|(entry, _)| entry.standing == Standing::Pending)
}

impl Inside {
    pub(super) fn of(tools: ToolRegistry) -> Self {
        Self { tools, ..Self::default() }
    }

    /// Waits for the first try of a call that is stored, where no other of its tool goes before
    /// it.
    pub(super) fn watch(
        &mut self,
        spool: &Spool,
        key: &IdempotencyKey,
        tool: &str,
    ) -> Option<Watch> {
        let others = self.waiting.iter().filter(|(of, (_, its))| *of != key && its == tool);
        let others: Vec<_> = others.map(|(of, (position, _))| (of.clone(), *position)).collect();
        for (other, position) in others {
            if is_pending(spool, position) {
                return None;
            }
            self.waiting.remove(&other);
        }
        let (told, watch) = oneshot::channel();
        self.watchers.push(Watcher { key: key.clone(), round: self.round, told });
        Some(watch)
    }

    pub(super) fn note_waiting(&mut self, entry: &QueueEntry) {
        let key = entry.facts.labels.get(KEY).map(IdempotencyKey::chosen);
        if let Some((key, tool)) = key.zip(entry.facts.stream.clone()) {
            self.waiting.insert(key, (entry.id.position, tool));
        }
    }
}
