//! What a spool says of itself: numbers that add up, and lists of what is there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::context::QUARANTINE;
use crate::courier::WINDOW;
use crate::error::{Error, ErrorKind, Result};
use crate::high_water::HighWater;
use crate::id::{Chain, Lane, Position, RecordId, Sequence};
use crate::ledger::{Account, Books, State};
use crate::record::{Facts, StoredRecord};
use crate::segment::Read;
use crate::spool::{Inner, Spool};

/// A spool at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// The books of all chains together.
    pub books: Books,
    /// The books of each lane that was ever used.
    pub lanes: BTreeMap<Lane, Books>,
    /// The age of the oldest waiting record.
    pub oldest_age: Option<Duration>,
    /// Bytes on disk of everything in the spool's folder.
    pub bytes: u64,
    /// The cap, where there is one.
    pub max_bytes: Option<u64>,
    /// The limit that the spool has come close to, if there is one; see
    /// [`Spool::on_high_water`].
    pub high_water: Option<HighWater>,
    /// Waiting records that are larger than the data cap ever allows.
    pub oversized: u64,
    /// Those of them of which the destination has a summary.
    pub summarized: u64,
    /// Waiting records that wait for a person: what they do may have happened.
    pub unknown: u64,
    /// Waiting records that the medium does not give at the moment, as far as this
    /// process has tried; they count as damaged after a day.
    pub unreadable: usize,
    /// Files in `quarantine/`.
    pub quarantined: usize,
    /// Lines of the ledger that could not be read when it was opened.
    pub damaged_ledger_lines: u64,
    /// Why the spool cannot store records at the moment, where it cannot.
    pub trouble: Option<String>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Waiting to be delivered.
    Pending,
    /// Refused by the destination; kept until somebody decides.
    Failed,
    /// Settled in another way, and still on disk.
    Settled,
}

impl Standing {
    /// The standing's name: `pending`, `failed` or `settled`.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Pending => "pending",
            Standing::Failed => "failed",
            Standing::Settled => "settled",
        }
    }
}

/// A line of a queue listing.
#[derive(Debug, Clone)]
pub struct QueueEntry {
    /// The record's name.
    pub id: RecordId,
    /// Where it stands.
    pub standing: Standing,
    /// Bytes of its body.
    pub size_bytes: usize,
    /// When it was appended, by the wall clock of then.
    pub enqueued_at: Timestamp,
    /// How old it is, in power-on time where that is known.
    pub age: Duration,
    /// Whether it waits for a person: [`State::Unknown`] where what it does may have happened,
    /// [`State::Held`] where somebody keeps it back.
    pub held: Option<State>,
    /// Whether the last attempt began, and nobody knows what it came to.
    pub is_begun: bool,
    /// Attempts made to deliver it.
    pub attempts: u32,
    /// What the last attempt came to, or why it failed for good.
    pub last_error: Option<String>,
    /// Kind, stream, labels.
    pub facts: Facts,
}

impl Spool {
    /// The spool's numbers. Costs one record read per chain, however much waits.
    pub fn status(&self) -> Result<Status> {
        let inner = &self.inner;
        inner.check_process()?;
        inner.catch_up()?;
        let mut lanes: BTreeMap<Lane, Books> = BTreeMap::new();
        let mut books = Books::default();
        let (mut oversized, mut summarized, mut unknown) = (0, 0, 0);
        let mut oldest_age = None;
        let chains = inner.courier().chains(inner);
        for (chain, (first, next)) in chains {
            let account = inner.account(chain, first);
            let of_chain = account.books(next);
            lanes.entry(chain.lane).or_default().add(&of_chain);
            books.add(&of_chain);
            let (of_chain, with_summary) = account.oversized();
            oversized += of_chain;
            summarized += with_summary;
            unknown += account.unknown();
            oldest_age = oldest_age.max(inner.oldest_age(chain, &account, next)?);
        }
        let (unreadable, damaged_ledger_lines) = {
            let courier = inner.courier();
            (courier.unreadable(), courier.ledger.damaged_lines)
        };
        let context = &inner.context;
        let quarantine = context.disk.list(&context.path(QUARANTINE)).unwrap_or_default();
        let bytes = if context.read_only {
            crate::quota::measure(&*context.disk, &context.dir)?
        } else {
            context.quota.used()
        };
        Ok(Status {
            books,
            lanes,
            oldest_age,
            bytes,
            max_bytes: context.quota.max(),
            high_water: inner.high_water(bytes).unwrap_or(None),
            quarantined: quarantine.iter().filter(|entry| !entry.name.ends_with(".reason")).count(),
            oversized,
            summarized,
            unknown,
            unreadable,
            damaged_ledger_lines,
            trouble: inner.trouble.lock().map_or(None, |trouble| trouble.clone()),
        })
    }

    /// The books alone. Where this process delivers they come from memory, without a
    /// look at the disk, and lack what other processes appended since the last
    /// [`take`](Spool::take).
    pub fn books(&self) -> Result<Books> {
        let inner = &self.inner;
        inner.check_process()?;
        let courier = inner.courier();
        if !courier.is_claimed() {
            drop(courier);
            return Ok(self.status()?.books);
        }
        let mut books = Books::default();
        courier.each_account(inner, |account, next| books.add(&account.books(next)));
        Ok(books)
    }

    /// How many waiting records can be offered before any is settled: those within
    /// [`WINDOW`](crate::WINDOW) of the first unsettled one of their chain that nobody holds.
    /// For the process that delivers; seen as [`books`](Spool::books) sees it.
    pub fn within_window(&self) -> Result<u64> {
        let inner = &self.inner;
        inner.check_process()?;
        let mut waiting = 0;
        inner.courier().each_account(inner, |account, next| {
            waiting += account.pending_before(next.min(account.floor.saturating_add(WINDOW)));
        });
        Ok(waiting)
    }

    /// Calls `visit` for each record on disk with the standing asked for (`None`:
    /// any), lane by lane, oldest first, until it breaks.
    pub fn each(
        &self,
        standing: Option<Standing>,
        visit: &mut dyn FnMut(QueueEntry) -> ControlFlow<()>,
    ) -> Result<()> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        self.inner
            .each_record(standing, &mut |account, record| visit(self.inner.entry(account, record)))
    }

    /// One record with where it stands.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it is not on disk (any more).
    pub fn get(&self, position: Position) -> Result<(QueueEntry, StoredRecord)> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        match self.inner.store.read(position.chain, position.sequence.0, &mut None)? {
            Read::Record(record) => {
                let account = self.inner.account(position.chain, 1);
                Ok((self.inner.entry(&account, &record), *record))
            }
            Read::LostUpTo(_) | Read::End => Err(Error::at(
                ErrorKind::NotFound,
                &self.inner.context.dir,
                format!(
                    "there is no record {position} in this spool: `queue list` shows what is there"
                ),
            )),
        }
    }
}

pub(crate) fn standing_of(account: &Account, sequence: u64) -> Standing {
    if account.failed.contains_key(&sequence) {
        Standing::Failed
    } else if account.is_settled(sequence) {
        Standing::Settled
    } else {
        Standing::Pending
    }
}

impl Inner {
    fn entry(&self, account: &Account, record: &StoredRecord) -> QueueEntry {
        let sequence = record.id.position.sequence.0;
        let failure = account.failed.get(&sequence);
        let attempts = account.open.get(&sequence);
        QueueEntry {
            id: record.id,
            standing: standing_of(account, sequence),
            size_bytes: record.body.len(),
            enqueued_at: record.stamp.wall,
            age: self.courier().age(self, &record.stamp, &self.context.clock.now()),
            held: attempts.and_then(|open| open.held),
            is_begun: attempts.is_some_and(|open| open.is_begun),
            attempts: failure
                .map(|failure| failure.attempts)
                .or(attempts.map(|open| open.count))
                .unwrap_or(0),
            last_error: failure
                .map(|failure| failure.reason.clone())
                .or_else(|| attempts.and_then(|open| open.last_error.clone())),
            facts: record.facts.clone(),
        }
    }

    /// Takes over what other processes wrote since, where this one does not know.
    pub(crate) fn catch_up(&self) -> Result<()> {
        let mut courier = self.courier();
        if !courier.is_claimed() {
            courier.look(self)?;
        }
        drop(courier);
        let _paused = self.committer.pause();
        self.store.refresh()
    }

    pub(crate) fn account(&self, chain: Chain, first: u64) -> Account {
        self.courier().account(chain).cloned().unwrap_or_else(|| Account::new(first.max(1)))
    }

    fn oldest_age(&self, chain: Chain, account: &Account, next: u64) -> Result<Option<Duration>> {
        let in_order = account.next_unsettled(account.floor);
        let oldest = account.requeued.first().copied().unwrap_or(in_order).min(in_order);
        if oldest >= next {
            return Ok(None);
        }
        let now = self.context.clock.now();
        match self.store.read(chain, oldest, &mut None) {
            Ok(Read::Record(record)) => Ok(Some(self.courier().age(self, &record.stamp, &now))),
            Ok(Read::LostUpTo(_) | Read::End) => Ok(None),
            Err(error) if error.is_of_the_medium() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all records with a standing, chain by chain.
    pub(crate) fn each_record(
        &self,
        standing: Option<Standing>,
        visit: &mut dyn FnMut(&Account, &StoredRecord) -> ControlFlow<()>,
    ) -> Result<()> {
        for (chain, (first, next)) in self.store.chains() {
            let account = self.account(chain, first);
            let skip = |from| skip_to(&account, standing, from, next);
            let mut visit = |record: StoredRecord| {
                let stands = standing_of(&account, record.id.position.sequence.0);
                if standing.is_none_or(|wanted| wanted == stands) {
                    visit(&account, &record)
                } else {
                    ControlFlow::Continue(())
                }
            };
            if self.read_chain(chain, first..next, &skip, &mut visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Where to go on when records of one standing are wanted: settled stretches need
/// no reading.
pub(crate) fn skip_to(account: &Account, standing: Option<Standing>, from: u64, end: u64) -> u64 {
    match standing {
        Some(Standing::Pending) => {
            let requeued = account.requeued.range(from..).next().copied();
            let in_order = account.next_unsettled(from);
            requeued.map_or(in_order, |requeued| requeued.min(in_order))
        }
        Some(Standing::Failed) => {
            account.failed.range(from..).next().map_or(end, |(sequence, _)| *sequence)
        }
        Some(Standing::Settled) | None => from,
    }
}

/// The place of a record by its short id.
impl From<RecordId> for Position {
    fn from(id: RecordId) -> Self {
        Position { chain: id.position.chain, sequence: Sequence(id.position.sequence.0) }
    }
}
