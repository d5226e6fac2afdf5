//! Bringing the index up to what was logged.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use backhaul_store::{Chain, Sequence, Spool, StoredRecord};
use redb::{ReadTransaction, ReadableTable, TransactionError, WriteTransaction};
use serde_json::Value;

use super::Index;
use super::batch::Batch;
use super::forget::forget;
use super::schema::{ABOUT, PLACES};
use crate::kind::Kind;
use crate::reads::failure::{Failure, Result, guarded};
use crate::reads::place::Place;

/// Records, and bytes of them, that are taken into the index at a time: so many that a
/// large folder is read once from end to end, so few that another process has its turn soon.
const BATCH_RECORDS: usize = 50_000;
const BATCH_BYTES: usize = 64 << 20;
/// For how long another process may write without getting anywhere.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What is on disk of each chain.
type Spans = BTreeMap<Chain, Range<Sequence>>;

/// How far the index got in each chain.
type Places = BTreeMap<Chain, Reached>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    /// The oldest sequence that was on disk.
    first: u64,
    /// The sequence after the last that is in the index.
    next: u64,
    /// When that last one was stored.
    at: i64,
}

/// A spool that the index tells of.
#[derive(Debug)]
pub(in crate::reads) struct Feed<'a> {
    pub(in crate::reads) kind: Kind,
    pub(in crate::reads) spool: &'a Spool,
}

impl Index {
    /// Takes in what was logged before this call. `digest_of`: what the server calls a value.
    pub(in crate::reads) fn catch_up(
        &self,
        feeds: &[Feed<'_>],
        digest_of: &dyn Fn(&Value) -> String,
    ) -> Result<()> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        guarded(|| {
            for feed in feeds {
                // Before the look at the spool: another process may bring it further.
                let view = self.view()?;
                let places = places(&view.open_table(PLACES)?, feed.kind)?;
                let spans = feed.spool.spans()?;
                check(feed, &spans, &places, &view, !*checked)?;
                drop(view);
                if !is_up_to_date(&places, &spans) {
                    self.take_in(feed, digest_of)?;
                }
            }
            Ok(())
        })?;
        *checked = true;
        Ok(())
    }

    /// Takes batch after batch in, and lets other processes do so.
    fn take_in(&self, feed: &Feed<'_>, digest_of: &dyn Fn(&Value) -> String) -> Result<()> {
        let mut is_all = false;
        while !is_all {
            let transaction = self.begin_write(feed.kind)?;
            let spans = feed.spool.spans()?;
            let mut reached = places(&transaction.open_table(PLACES)?, feed.kind)?;
            if is_up_to_date(&reached, &spans) {
                return Ok(());
            }
            drop_gone(&transaction, feed.kind, &spans, &mut reached)?;
            is_all = take_batch(&transaction, feed, &spans, &mut reached, digest_of)?;
            set_places(&transaction, feed, &reached)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// The right to write, which another process may have for as long as it gets on.
    fn begin_write(&self, kind: Kind) -> Result<WriteTransaction> {
        let mut seen: Option<(Places, Instant)> = None;
        loop {
            match self.database.try_begin_write() {
                Err(TransactionError::WouldBlock) => {}
                begun => return Ok(begun?),
            }
            let now = places(&self.view()?.open_table(PLACES)?, kind)?;
            match &seen {
                Some((before, since)) if *before == now => {
                    if since.elapsed() > PATIENCE {
                        return Err(Failure::Database(redb::Error::Io(std::io::Error::other(
                            "another process writes to it and does not get on",
                        ))));
                    }
                }
                _ => seen = Some((now, Instant::now())),
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Whether the index tells of this spool, and of the records that stand in it now.
fn check(
    feed: &Feed<'_>,
    spans: &Spans,
    places: &Places,
    view: &ReadTransaction,
    looks_at_records: bool,
) -> Result<()> {
    let stale = || Err(Failure::Damaged("it tells of another spool".to_owned()));
    let about = view.open_table(ABOUT)?;
    let device = about.get(device_key(feed.kind).as_str())?;
    if device.is_some_and(|device| device.value() != feed.spool.device().to_string()) {
        return stale();
    }
    let mut picker = feed.spool.picker(0);
    for (chain, reached) in places {
        let Some(span) = spans.get(chain) else { continue };
        let last = Sequence(reached.next.saturating_sub(1));
        if reached.next > span.end.0 {
            return stale();
        }
        if looks_at_records && (span.start..span.end).contains(&last) {
            // What was not durable may be gone after a power cut, and its place taken.
            let position = backhaul_store::Position { chain: *chain, sequence: last };
            let record = picker.get(position)?;
            if record.is_some_and(|record| record.stamp.wall.as_micros() != reached.at) {
                return stale();
            }
        }
    }
    Ok(())
}

fn is_up_to_date(places: &Places, spans: &Spans) -> bool {
    let is_reached = |(chain, span): (&Chain, &Range<Sequence>)| {
        let reached = places.get(chain).map(|reached| (reached.first, reached.next));
        reached.is_some_and(|(first, next)| first >= span.start.0 && next >= span.end.0)
    };
    spans.iter().all(is_reached) && places.keys().all(|chain| spans.contains_key(chain))
}

/// Takes what was removed from disk since out of the index.
fn drop_gone(
    transaction: &WriteTransaction,
    kind: Kind,
    spans: &Spans,
    reached: &mut Places,
) -> Result<()> {
    let first_of = |chain: &Chain| spans.get(chain).map_or(u64::MAX, |span| span.start.0);
    let is_behind = |(chain, at): (&Chain, &Reached)| at.first < first_of(chain);
    if !reached.iter().any(is_behind) {
        return Ok(());
    }
    let is_gone = |place: Place| {
        let position = place.position();
        position.sequence.0 < first_of(&position.chain)
    };
    forget(transaction, kind, &is_gone)?;
    reached.retain(|chain, _| spans.contains_key(chain));
    for (chain, at) in reached.iter_mut() {
        at.first = at.first.max(first_of(chain));
        at.next = at.next.max(at.first);
    }
    Ok(())
}

/// Takes records in from where the index got to. `Ok(true)`: all that there are.
fn take_batch(
    transaction: &WriteTransaction,
    feed: &Feed<'_>,
    spans: &Spans,
    reached: &mut Places,
    digest_of: &dyn Fn(&Value) -> String,
) -> Result<bool> {
    let from = reached.iter().map(|(chain, at)| (*chain, Sequence(at.next))).collect();
    let (mut batch, mut records, mut bytes) = (Batch::default(), 0, 0);
    let mut is_cut_short = false;
    feed.spool.each_from(&from, &mut |record: StoredRecord| {
        let position = record.id.position;
        let first = spans.get(&position.chain).map_or(position.sequence.0, |span| span.start.0);
        let (next, at) = (position.sequence.0 + 1, record.stamp.wall.as_micros());
        let known = reached.entry(position.chain).or_insert(Reached { first, next, at });
        (known.next, known.at) = (next, at);
        batch.take(feed.kind, &record, digest_of);
        records += 1;
        bytes += record.body.len();
        is_cut_short = records >= BATCH_RECORDS || bytes >= BATCH_BYTES;
        if is_cut_short { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !is_cut_short {
        // Damaged records at the end of a chain are not visited.
        for (chain, span) in spans {
            let (first, next) = (span.start.0, span.end.0);
            let known = reached.entry(*chain).or_insert(Reached { first, next, at: 0 });
            known.next = known.next.max(next);
        }
    }
    batch.write(transaction)?;
    Ok(!is_cut_short)
}

fn places(
    table: &impl ReadableTable<(u8, &'static str), (u64, u64, i64)>,
    kind: Kind,
) -> Result<Places> {
    let kind = kind as u8;
    let mut found = Places::new();
    for entry in table.range((kind, "")..(kind + 1, ""))? {
        let (key, value) = entry?;
        let (first, next, at) = value.value();
        let chain = key.value().1.parse();
        let chain = chain.map_err(|_| Failure::Damaged("it names no chain".to_owned()))?;
        found.insert(chain, Reached { first, next, at });
    }
    Ok(found)
}

fn set_places(transaction: &WriteTransaction, feed: &Feed<'_>, reached: &Places) -> Result<()> {
    let kind = feed.kind as u8;
    let mut about = transaction.open_table(ABOUT)?;
    let device = feed.spool.device().to_string();
    about.insert(device_key(feed.kind).as_str(), device.as_str())?;
    let mut table = transaction.open_table(PLACES)?;
    table.retain_in((kind, "")..(kind + 1, ""), |_, _| false)?;
    for (chain, at) in reached {
        table.insert((kind, chain.to_string().as_str()), (at.first, at.next, at.at))?;
    }
    Ok(())
}

fn device_key(kind: Kind) -> String {
    format!("device.{kind}")
}
