//! One sync: batch after batch until nothing can be sent, or something is in the way.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{
    Batch, Error, ErrorKind, Lane, Limits, Offer, Position, Settled, Spool, State,
};
use tokio::time::Instant;

use super::allowance::Allowance;
use super::read_ahead::ReadAhead;
use super::shared::Shared;
use super::standing::after;
use crate::bandwidth::Denied;
use crate::blocking::blocking;
use crate::destination::Verdict;
use crate::events::SyncEvent;
use crate::link_error::{LONGEST_WAIT, LinkError, LinkErrorKind};
use crate::planned_outage::PlannedOutage;
use crate::report::{Blocked, BlockedKind, SyncReport};

/// Records tried one by one, at most, to tell a server that is down from one that
/// stumbles over a record.
const MOST_WITNESSES: u32 = 16;

/// What is said of a record that waits for others, where there are none.
pub(super) const WITH_NEXT: &str = "it is to go with records that come after it";

/// What stops a sync.
pub(crate) enum Halt {
    Link(LinkError),
    Blocked(Blocked),
    /// An outage is over, and this device's turn in the fleet comes later.
    Spread(Duration),
    /// All but critical records wait for a time that was asked for.
    Asked,
    /// The data cap: nothing that waits may go now.
    OverBudget(Denied),
    /// An outage that was asked for.
    Outage(PlannedOutage),
}

impl From<LinkError> for Halt {
    fn from(error: LinkError) -> Self {
        Halt::Link(error)
    }
}

pub(crate) struct Drain {
    pub(super) shared: Arc<Shared>,
    pub(super) report: SyncReport,
    allowance: Allowance,
    ahead: ReadAhead,
    /// Whether critical records alone may go before a time that was asked for.
    is_early: bool,
    /// Whether some of the batch before are to go with the next one, which is not read ahead
    /// then, and whether all of them are.
    is_left_over: bool,
    is_in_vain: bool,
}

/// What an answered batch came to.
#[derive(Default)]
struct Offered {
    rejected: u64,
}

impl Drain {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let allowance = Allowance::new(shared.lock().only_critical.clone());
        let (report, ahead) = (SyncReport::default(), ReadAhead::default());
        Self {
            shared,
            report,
            allowance,
            ahead,
            is_early: false,
            is_left_over: false,
            is_in_vain: false,
        }
    }

    /// What came of it so far, with what remains.
    pub(crate) async fn report(&mut self) -> SyncReport {
        let shared = Arc::clone(&self.shared);
        let books = blocking(move || shared.books()).await;
        self.report.remaining = books.map_or(0, |books| books.pending);
        self.report.clone()
    }

    pub(crate) async fn run(&mut self) -> Option<Halt> {
        let prepare = self.shared.lock().prepare.clone();
        if let Some(prepare) = prepare {
            blocking(move || prepare()).await;
        }
        let halt = self.send().await;
        self.give_ahead_back().await;
        halt
    }

    async fn send(&mut self) -> Option<Halt> {
        loop {
            if self.shared.is_stopping() {
                let reason = "the courier is being stopped";
                return Some(Halt::Blocked(Blocked::new(BlockedKind::Stopped, reason)));
            }
            let most = {
                let state = self.shared.lock();
                self.is_early = state.is_asked();
                self.allowance.most(state.pace.records)
            };
            let delivered = match self.next(most).await {
                Ok(Some(batch)) => {
                    self.read_ahead(&batch);
                    self.deliver(batch).await
                }
                Ok(None) if self.is_early => return Some(Halt::Asked),
                Ok(None) => return self.allowance.denied().cloned().map(Halt::OverBudget),
                Err(halt) => Err(halt),
            };
            match delivered {
                Ok(()) => {}
                Err(Halt::Link(error)) => {
                    let denied = error.denied().cloned();
                    return Some(denied.map_or(Halt::Link(error), Halt::OverBudget));
                }
                Err(halt) => return Some(halt),
            }
        }
    }

    /// The batch that was read ahead, or one that is taken now.
    async fn next(&mut self, most: usize) -> Result<Option<Batch>, Halt> {
        match self.ahead.end().await {
            Some(batch) if self.is_at_full_pace() && !self.is_left_over => Ok(Some(batch)),
            Some(batch) => {
                release(batch).await;
                self.take(most).await
            }
            None => self.take(most).await,
        }
    }

    /// Reads the batch after this one, where nothing speaks for another one than will be read.
    fn read_ahead(&mut self, batch: &Batch) {
        if self.ahead.is_on() && self.is_at_full_pace() && !self.is_left_over {
            let most = self.shared.options().records();
            let take = self.taking(most, batch.records.len());
            self.ahead.begin(move || take().ok().flatten());
        }
    }

    async fn give_ahead_back(&mut self) {
        if let Some(batch) = self.ahead.end().await {
            release(batch).await;
        }
    }

    /// Whether the next batch is as large as any, and of whatever lane comes first.
    fn is_at_full_pace(&self) -> bool {
        let state = self.shared.lock();
        let is_chosen = state.priority.chooser().is_some();
        let most = state.options.records();
        let records = self.allowance.most(state.pace.records);
        records == most && self.allowance.denied().is_none() && !self.is_early && !is_chosen
    }

    async fn take(&self, records: usize) -> Result<Option<Batch>, Halt> {
        let taken = blocking(self.taking(records, 0)).await;
        taken.unwrap_or(Ok(None)).map_err(|error| blocked_by(&error))
    }

    /// Takes a batch, on a thread that may wait. `on_their_way`: records that are on offer.
    fn taking(
        &self,
        records: usize,
        on_their_way: usize,
    ) -> impl FnOnce() -> backhaul_store::Result<Option<Batch>> + Send + use<> {
        let now = self.shared.spool.clock().now();
        let (bytes, next, chooser) = {
            let mut state = self.shared.lock();
            state.due.pass(now.since_boot);
            let next = state.pace.next(state.options.records());
            (state.pace.bytes, next, state.priority.chooser())
        };
        let spool = self.shared.spool.clone();
        let down_to = if self.is_early { Lane::Critical } else { self.allowance.down_to() };
        let limits = Limits { records, bytes, down_to };
        move || {
            let taken = match chooser {
                Some(chooser) => spool.take_chosen(&limits, &chooser),
                None => spool.take(&limits),
            };
            announce_next(&spool, taken?, next, on_their_way)
        }
    }

    async fn deliver(&mut self, batch: Batch) -> Result<(), Halt> {
        let records = batch.records.len();
        let error = match self.offer(&batch).await {
            Ok(_) => {
                self.allowance.grow();
                release(batch).await;
                return self.got_through();
            }
            Err(Halt::Link(error)) => error,
            Err(halt) => return Err(halt),
        };
        self.give_ahead_back().await;
        match error.kind() {
            LinkErrorKind::TooLarge if records > 1 => {
                self.shared.lock().pace.shrink_bytes(records, bytes_of(&batch));
                release(batch).await;
                Ok(())
            }
            LinkErrorKind::BadBatch if records > 1 => {
                match error.index().filter(|index| *index < records) {
                    Some(index) => self.try_blamed(batch, index).await,
                    None => self.bisect(batch, error).await,
                }
            }
            LinkErrorKind::OverBudget => self.go_without(batch, error).await,
            _ if error.may_be_a_records_fault() => {
                if !error.is_refusal_of_a_record() {
                    let timed_out = error.kind() == LinkErrorKind::Timeout;
                    self.shared.lock().pace.shrink(records, timed_out);
                }
                if records == 1 {
                    return self.find_witness(batch, error).await;
                }
                release(batch).await;
                Err(error.into())
            }
            _ => {
                release(batch).await;
                Err(error.into())
            }
        }
    }

    /// A batch got through, the first one after an outage perhaps.
    pub(super) fn got_through(&self) -> Result<(), Halt> {
        let now = self.shared.spool.clock().now().since_boot;
        let mut state = self.shared.lock();
        self.shared.note_recovery(&mut state);
        let (most, chance) = (state.options.records(), state.chance());
        state.pace.grow(most);
        let spread = state.outage.ends(now, chance);
        if spread.is_zero() { Ok(()) } else { Err(Halt::Spread(spread)) }
    }

    /// The data cap has no room for a batch: a smaller one may fit, or critical records. A
    /// record that never fits is put off, so that it holds up its stream alone.
    async fn go_without(&mut self, batch: Batch, error: LinkError) -> Result<(), Halt> {
        let records = batch.records.len();
        let Some(denied) = error.denied().cloned() else { return Err(error.into()) };
        if records > 1 && !matches!(denied, Denied::Storage { .. }) {
            self.allowance.shrink(records);
            release(batch).await;
            return Ok(());
        }
        if let Denied::NeverFits { .. } = denied {
            return self.put_aside(batch, &error).await;
        }
        let lane = batch.chain.lane;
        release(batch).await;
        if lane == Lane::Critical || !matches!(denied, Denied::Reserve { .. }) {
            return Err(Halt::OverBudget(denied));
        }
        self.allowance.keep_to_critical(denied);
        Ok(())
    }

    /// Offers the record alone that the destination blames for a batch. Whatever it
    /// comes to, one record less waits: the rest goes with the next batch.
    async fn try_blamed(&mut self, mut batch: Batch, index: usize) -> Result<(), Halt> {
        let mut blamed = batch.split_off(index);
        let rest = blamed.split_off(1);
        release(batch).await;
        release(rest).await;
        self.deliver_alone(blamed).await
    }

    async fn deliver_alone(&mut self, batch: Batch) -> Result<(), Halt> {
        match self.offer(&batch).await {
            Err(Halt::Link(error)) if error.may_be_a_records_fault() => {
                self.find_witness(batch, error).await
            }
            offered => {
                release(batch).await;
                offered.map(drop)
            }
        }
    }

    /// Finds the record that spoils a batch. What turns out well on the way is
    /// delivered; what was not looked at waits for the next batch.
    ///
    /// At most `log2 n`, rounded up, requests for `n` records and the one that it
    /// may take to send what was not looked at.
    async fn bisect(&mut self, mut bad: Batch, mut error: LinkError) -> Result<(), Halt> {
        let mut left_over = false;
        while bad.records.len() > 1 {
            // The smaller part first: what is refused on the way is then less than the
            // batch once more, so that nobody waits for longer than two batches take.
            let rest = bad.split_off(bad.records.len() / 2);
            match self.offer(&bad).await {
                Ok(offered) => {
                    release(std::mem::replace(&mut bad, rest)).await;
                    if offered.rejected > 0 {
                        // It was in there. Of the rest nothing is known.
                        release(bad).await;
                        return Ok(());
                    }
                }
                Err(Halt::Link(again)) if again.kind() == LinkErrorKind::BadBatch => {
                    release(rest).await;
                    if bad.records.len() == 1 {
                        return self.find_witness(bad, again).await;
                    }
                    error = again;
                    left_over = true;
                }
                Err(halt) => return Err(halt),
            }
        }
        if left_over {
            // All the others of a batch that was refused were taken: it is this one.
            self.settle_alone(&bad, |_| rejected(&error)).await?;
            release(bad).await;
            Ok(())
        } else {
            self.deliver_alone(bad).await
        }
    }

    /// A record sent alone was refused, made the server fail, or was not answered in time.
    /// If another one gets through, it is the record's fault: it is rejected or put off;
    /// else it is the server's, or that of something in its place, for all.
    async fn find_witness(&mut self, first: Batch, error: LinkError) -> Result<(), Halt> {
        // Several bad records in a row must not pass for an outage for ever: each time
        // one more is looked at.
        let witnesses = match error.kind() {
            LinkErrorKind::Timeout => 1,
            _ => self.shared.lock().failures.saturating_add(1).min(MOST_WITNESSES),
        };
        let mut suspects = vec![(first, error)];
        for _ in 0..witnesses {
            let Some(witness) = self.take(1).await? else { break };
            match self.offer(&witness).await {
                Ok(_) => {
                    release(witness).await;
                    for (suspect, error) in suspects {
                        self.settle_alone(&suspect, |_| verdict_on(&error)).await?;
                        release(suspect).await;
                    }
                    return Ok(());
                }
                Err(Halt::Link(again)) if again.may_be_a_records_fault() => {
                    suspects.push((witness, again));
                }
                Err(halt) => return Err(halt),
            }
        }
        self.give_back(suspects).await
    }

    /// Nothing got through. A record that was refused again and again, with none beside it
    /// that could be a witness, has had its retries.
    async fn give_back(&mut self, suspects: Vec<(Batch, LinkError)>) -> Result<(), Halt> {
        let is_alone = suspects.len() == 1;
        let most = self.shared.options().max_retries;
        let has_had_its_retries = self.shared.lock().failures >= most;
        let mut why = None;
        for (suspect, error) in suspects {
            if is_alone && has_had_its_retries && error.is_refusal_of_a_record() {
                self.settle_alone(&suspect, |_| rejected(&error)).await?;
            } else {
                why.get_or_insert(error);
            }
            release(suspect).await;
        }
        why.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Offers a batch and settles what is said of it. What is said of a batch of one
    /// is said of its record.
    async fn offer(&mut self, batch: &Batch) -> Result<Offered, Halt> {
        let verdicts = match self.ask(batch).await {
            Err(Halt::Link(error)) if batch.records.len() == 1 && self.is_settled_by(&error) => {
                vec![rejected(&error)]
            }
            asked => asked?,
        };
        let broken_off = verdicts.iter().find_map(|verdict| match verdict {
            Verdict::BrokenOff(error) => Some(error.clone()),
            _ => None,
        });
        let offered = self.settle(batch, verdicts).await?;
        match broken_off {
            None => Ok(offered),
            Some(error) => {
                self.got_through()?;
                Err(error.into())
            }
        }
    }

    /// Sends a batch: one verdict for each record of it.
    pub(super) async fn ask(&mut self, batch: &Batch) -> Result<Vec<Verdict>, Halt> {
        if let Some(outage) = self.shared.planned_outage().await {
            return Err(Halt::Outage(outage));
        }
        let sent = Instant::now();
        let answer = self.shared.deliver(batch).await;
        self.ahead.note_answer(sent);
        let verdicts = answer?;
        if verdicts.len() != batch.records.len() {
            let (count, records) = (verdicts.len(), batch.records.len());
            let reason = format!("it gave {count} verdicts on {records} records");
            return Err(LinkError::busy(reason).into());
        }
        Ok(verdicts)
    }

    /// Whether what was said of a record alone is the last word on it. Where nothing else
    /// got through, something in the server's place may refuse everything.
    fn is_settled_by(&self, error: &LinkError) -> bool {
        error.is_refusal_of_a_record() && (!error.is_doubtful() || self.report.synced > 0)
    }

    async fn settle_alone(
        &mut self,
        batch: &Batch,
        verdict: impl Fn(&Offer) -> Verdict,
    ) -> Result<(), Halt> {
        let verdicts = batch.records.iter().map(verdict).collect();
        self.settle(batch, verdicts).await.map(drop)
    }

    async fn settle(&mut self, batch: &Batch, verdicts: Vec<Verdict>) -> Result<Offered, Halt> {
        let mut settlements = Vec::with_capacity(verdicts.len());
        let (mut synced, mut duplicates, mut put_off, mut bytes) = (0, 0, 0, 0);
        let mut failed = Vec::new();
        let goes_with_next = |verdict: &Verdict| *verdict == Verdict::WithNext;
        self.is_left_over = verdicts.iter().any(goes_with_next);
        let is_in_vain = verdicts.iter().all(goes_with_next);
        let was_in_vain = std::mem::replace(&mut self.is_in_vain, is_in_vain);
        for (offer, verdict) in batch.records.iter().zip(verdicts) {
            if verdict == Verdict::WithNext && !(is_in_vain && was_in_vain) {
                continue;
            }
            let Some(settled) = self.settlement(offer, verdict) else { continue };
            match settled.state {
                State::Delivered | State::Duplicate => {
                    synced += 1;
                    duplicates += u64::from(settled.state == State::Duplicate);
                    bytes += self.shared.destination.size(&offer.record);
                }
                State::Rejected => {
                    let (id, reason) = (offer.record.id, settled.reason.clone());
                    let reason = reason.unwrap_or_default();
                    tracing::error!(%id, reason, "a record was rejected for good");
                    failed.push(SyncEvent::Failed { id, reason });
                }
                _ => put_off += 1,
            }
            settlements.push((offer.record.id.position, settled));
        }
        self.report.synced += synced;
        self.report.duplicates += duplicates;
        self.report.bytes += bytes;
        let rejected = failed.len() as u64;
        self.report.failed += rejected;
        self.write_down(settlements).await?;
        if synced > 0 {
            let now = self.shared.spool.clock().now().wall;
            let mut state = self.shared.lock();
            state.last_sync_at = Some(now);
            state.synced_bytes += bytes;
        }
        let subscribers = &self.shared.subscribers;
        failed.iter().for_each(|event| subscribers.tell(event));
        subscribers.tell(&SyncEvent::Settled { synced, put_off, failed: rejected, bytes });
        Ok(Offered { rejected })
    }

    pub(super) async fn write_down(
        &self,
        settlements: Vec<(Position, Settled)>,
    ) -> Result<(), Halt> {
        let spool = self.shared.spool.clone();
        match blocking(move || spool.settle(&settlements)).await {
            Some(settled) => settled.map_err(|error| blocked_by(&error)),
            None => Err(Halt::Blocked(Blocked::new(
                BlockedKind::Storage,
                "what became of a batch could not be written down",
            ))),
        }
    }

    /// What is written down of a verdict, if anything.
    fn settlement(&self, offer: &Offer, verdict: Verdict) -> Option<Settled> {
        Some(match verdict {
            Verdict::Delivered => Settled::new(State::Delivered),
            Verdict::Duplicate => Settled::new(State::Duplicate),
            Verdict::Rejected { reason, status } => {
                let settled = Settled::new(State::Rejected).reason(reason);
                match status {
                    Some(status) => settled.status(status),
                    None => settled,
                }
            }
            Verdict::Later { reason, retry_after, spends_retry } => {
                self.put_off(offer, reason, retry_after, spends_retry)
            }
            Verdict::WithNext => self.put_off(offer, WITH_NEXT.to_owned(), None, false),
            Verdict::BrokenOff(_) => return None,
        })
    }

    /// A record that was put off too often is rejected.
    pub(super) fn put_off(
        &self,
        offer: &Offer,
        reason: String,
        retry_after: Option<Duration>,
        spends_retry: bool,
    ) -> Settled {
        let spent = offer.spent_retries.saturating_add(u32::from(spends_retry));
        let options = self.shared.options();
        if spends_retry && spent > options.max_retries {
            let tries = offer.attempts.saturating_add(1);
            return Settled::new(State::Rejected)
                .reason(format!("gave up after {tries} tries: {reason}"));
        }
        let retry = if spends_retry { spent - 1 } else { offer.attempts };
        let wait = options.backoff().delay(retry).max(retry_after.unwrap_or_default());
        let wait = wait.min(LONGEST_WAIT);
        let now = self.shared.spool.clock().now();
        self.shared.lock().due.add(now.since_boot + wait);
        let settled = Settled::new(State::Later).reason(reason).not_before(after(now.wall, wait));
        if spends_retry { settled.spends_retry() } else { settled }
    }
}

/// Says in a batch how many records come after it: at most `next`. `on_their_way`: before it.
fn announce_next(
    spool: &Spool,
    taken: Option<Batch>,
    next: usize,
    on_their_way: usize,
) -> backhaul_store::Result<Option<Batch>> {
    let Some(mut batch) = taken else { return Ok(None) };
    let on_offer = on_their_way + batch.records.len();
    let waiting = spool.books()?.pending.saturating_sub(on_offer as u64);
    batch.next = usize::try_from(waiting).unwrap_or(usize::MAX).min(next);
    Ok(Some(batch))
}

/// Gives records back to the spool, whose lock may have to be waited for.
pub(super) async fn release(batch: impl Send + 'static) {
    blocking(move || drop(batch)).await;
}

fn rejected(error: &LinkError) -> Verdict {
    let status = error.status();
    let reason = match status {
        Some(status) => format!("HTTP {status}: {}", error.reason()),
        None => error.to_string(),
    };
    Verdict::Rejected { reason, status }
}

/// What is said of a record that alone does not get through.
fn verdict_on(error: &LinkError) -> Verdict {
    if error.is_refusal_of_a_record() { rejected(error) } else { later(error) }
}

/// A server that fails over a record costs it a retry. An answer that does not come in time
/// may be the network's fault, which is the slower the larger the record: it costs none.
fn later(error: &LinkError) -> Verdict {
    let spends_retry = error.is_answer();
    Verdict::Later { reason: error.to_string(), retry_after: None, spends_retry }
}

pub(super) fn bytes_of(batch: &Batch) -> usize {
    batch.records.iter().map(|offer| offer.record.body.len()).sum()
}

fn blocked_by(error: &Error) -> Halt {
    let kind = match error.kind() {
        ErrorKind::Busy => BlockedKind::OtherProcess,
        _ => BlockedKind::Storage,
    };
    Halt::Blocked(Blocked::new(kind, error.to_string()))
}
