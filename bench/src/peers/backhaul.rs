//! Ours, in the segment layout.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use backhaul_store::{Batch, Flush, Layout, Limits, Options, Record, Settled, Spool, State};

use super::Mode;
use super::store::{Outcome, Store};

pub struct Backhaul {
    spool: Spool,
    /// What they hold waits again when they go.
    taken: Mutex<Vec<Batch>>,
}

pub fn options() -> Options {
    Options { layout: Layout::Segments, ..Options::default() }
}

pub fn open(dir: &Path, mode: Mode) -> Outcome<Backhaul> {
    let flush = match mode {
        Mode::Relaxed => Flush::Every(Duration::from_secs(1)),
        Mode::Durable | Mode::Grouped => Flush::Always,
    };
    let spool = Spool::open(dir, Options { flush, ..options() })?;
    Ok(Backhaul { spool, taken: Mutex::default() })
}

impl Store for Backhaul {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        self.spool.append(Record::new("call", body.to_vec()))?;
        Ok(())
    }

    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        let submit = |body: &Vec<u8>| self.spool.submit(Record::new("call", body.clone()));
        let tickets: Vec<_> = bodies.iter().map(submit).collect::<Result<_, _>>()?;
        for ticket in tickets {
            ticket.wait()?;
        }
        Ok(())
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        let limits = Limits { records: most, bytes: 1_000_000, ..Limits::default() };
        let Some(batch) = self.spool.take(&limits)? else { return Ok(Vec::new()) };
        let bodies = batch.records.iter().map(|offer| offer.record.body.to_vec()).collect();
        self.taken.lock().expect("not poisoned").push(batch);
        Ok(bodies)
    }

    fn settle(&self) -> Outcome<()> {
        let taken = std::mem::take(&mut *self.taken.lock().expect("not poisoned"));
        let offers = taken.iter().flat_map(|batch| &batch.records);
        let delivered = offers.map(|it| (it.record.id.position, Settled::new(State::Delivered)));
        Ok(self.spool.settle(&delivered.collect::<Vec<_>>())?)
    }
}

/// One thread that submits so many records before it waits, until the time is over: what each
/// took in nanoseconds, and all together.
pub fn submit_ahead(
    dir: &Path,
    ahead: usize,
    time: Duration,
    corpus: &[Vec<u8>],
) -> Outcome<(Vec<u64>, Duration)> {
    let spool = Spool::open(dir, options())?;
    let began = Instant::now();
    let mut latencies = Vec::new();
    let mut waiting = VecDeque::new();
    let mut bodies = corpus.iter().cycle();
    while began.elapsed() < time {
        for body in bodies.by_ref().take(ahead - waiting.len()) {
            let record = Record::new("call", body.clone());
            waiting.push_back((Instant::now(), spool.submit(record)?));
        }
        for (submitted, ticket) in waiting.drain(..ahead / 2) {
            ticket.wait()?;
            latencies.push(submitted.elapsed().as_nanos() as u64);
        }
    }
    let took = began.elapsed();
    waiting.into_iter().for_each(|(_, ticket)| drop(ticket.wait()));
    Ok((latencies, took))
}
