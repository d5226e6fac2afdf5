//! Records that no allowance of the data cap ever holds: they are put off, so that they hold
//! up their streams alone, and a summary goes in their place where that is asked for.
//!
//! A summary is stored nowhere. It is made of its record each time that it is offered, under
//! a name that follows from the record's, and the record's line in the ledger says that it
//! arrived. So whatever breaks off in between, at worst it is offered once more, and the
//! destination knows its name.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Batch, Offer, StoredRecord};

use super::drain::{Drain, Halt, WITH_NEXT, not_its_fault, release};
use crate::blocking::blocking;
use crate::destination::Verdict;
use crate::events::SyncEvent;
use crate::link_error::LinkError;
use crate::oversized::Oversized;

/// When such a record is looked at again: the cap may have been raised.
const AGAIN: Duration = Duration::from_secs(3600);

/// Makes the summary of a record; `None`: it has none.
pub(crate) type Summarize = Arc<dyn Fn(&StoredRecord) -> Option<Vec<u8>> + Send + Sync>;

/// What came of a record's summary.
enum Summary {
    /// None was asked for.
    NotAsked,
    /// The destination has had it before.
    Known,
    /// The destination has it now.
    Arrived,
    /// Why it has none.
    Missing(String),
}

impl Summary {
    /// What the destination says of it.
    fn told(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Delivered | Verdict::Duplicate => Summary::Arrived,
            Verdict::Rejected { reason, .. } | Verdict::Later { reason, .. } => {
                Summary::Missing(reason.clone())
            }
            Verdict::WithNext => Summary::Missing(WITH_NEXT.to_owned()),
        }
    }

    fn is_there(&self) -> bool {
        matches!(self, Summary::Known | Summary::Arrived)
    }
}

impl Drain {
    /// Puts off a record, offered alone, that is larger than the data cap ever allows.
    pub(super) async fn put_aside(&mut self, batch: Batch, error: &LinkError) -> Result<(), Halt> {
        let batch = Arc::new(batch);
        let put_aside = match self.send_summary(&batch).await {
            Ok(summary) => self.note_oversized(&batch, error, &summary).await,
            Err(halt) => Err(halt),
        };
        release(batch).await;
        put_aside
    }

    async fn send_summary(&mut self, batch: &Arc<Batch>) -> Result<Summary, Halt> {
        if batch.records.iter().all(|offer| offer.is_summarized) {
            return Ok(Summary::Known);
        }
        let summarize = {
            let state = self.shared.lock();
            let is_asked = state.options.oversized == Oversized::Summary;
            state.summarize.clone().filter(|_| is_asked)
        };
        let Some(summarize) = summarize else { return Ok(Summary::NotAsked) };
        let of = Arc::clone(batch);
        let made = blocking(move || of.summary(summarize(&of.records.first()?.record)?));
        let Some(summary) = made.await.flatten() else {
            return Ok(Summary::Missing("none can be made of it".to_owned()));
        };
        let answer = self.ask(&summary).await;
        release(summary).await;
        match answer {
            Ok(verdicts) => Ok(verdicts.first().map_or(Summary::NotAsked, Summary::told)),
            // What may be the fault of the summary itself, or of its size, must not hold up
            // other records. Whether they fare the same is found out with the next batch.
            Err(Halt::Link(error))
                if error.may_be_a_records_fault() || error.denied().is_some() =>
            {
                Ok(Summary::Missing(error.to_string()))
            }
            Err(halt) => Err(halt),
        }
    }

    async fn note_oversized(
        &mut self,
        batch: &Batch,
        error: &LinkError,
        summary: &Summary,
    ) -> Result<(), Halt> {
        let is_summarized = summary.is_there();
        let reason = match summary {
            Summary::Known | Summary::Arrived => format!("{error}; its summary was delivered"),
            Summary::Missing(why) => format!("{error}; its summary was not delivered: {why}"),
            Summary::NotAsked => error.to_string(),
        };
        let mut settlements = Vec::new();
        for offer in &batch.records {
            let settled = self.settlement(offer, not_its_fault(reason.clone(), Some(AGAIN)));
            settlements.push((offer.record.id.position, settled.oversized(is_summarized)));
        }
        self.write_down(settlements).await?;
        for offer in &batch.records {
            log(offer, &reason, is_summarized);
            self.report.oversized += 1;
            self.report.summarized += u64::from(is_summarized);
            let (id, bytes) = (offer.record.id, offer.record.body.len() as u64);
            self.shared.subscribers.tell(&SyncEvent::Oversized { id, bytes, is_summarized });
        }
        if matches!(summary, Summary::Arrived) { self.got_through() } else { Ok(()) }
    }
}

/// What has not changed since the last look is no news.
fn log(offer: &Offer, reason: &str, is_summarized: bool) {
    let id = offer.record.id;
    match (offer.is_oversized, offer.is_summarized, is_summarized) {
        (_, false, true) => tracing::warn!(
            %id,
            reason,
            "a record waits, of which a summary was delivered: raise the data cap, or carry it \
             out another way"
        ),
        (false, _, _) => tracing::error!(
            %id,
            reason,
            "a record cannot be delivered: raise the data cap, or carry it out another way"
        ),
        (true, _, _) => tracing::debug!(%id, reason, "a record is too large still"),
    }
}
