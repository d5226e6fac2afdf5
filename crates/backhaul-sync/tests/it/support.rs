//! A spool, a destination that does as it is told, and one clock for both.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backhaul_store::{
    Batch, Clock, Moment, Options, QueueEntry, Record, RecordId, Spool, Standing, Timestamp,
};
use backhaul_sync::{Deliver, Destination, LinkError, SyncManager, SyncOptions, Verdict, Way};
use backhaul_testkit::SimDisk;
use tokio::time::Instant;

/// The spool's clock, driven by tokio's, which a test pauses.
#[derive(Debug)]
pub(crate) struct TokioClock {
    start: Instant,
    wall: Mutex<Timestamp>,
}

impl TokioClock {
    pub(crate) fn new() -> Arc<Self> {
        let wall = Mutex::new(Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
        Arc::new(Self { start: Instant::now(), wall })
    }

    /// Has the wall clock jump.
    pub(crate) fn set_wall(&self, wall: &str) {
        let elapsed = i64::try_from(self.start.elapsed().as_micros()).unwrap();
        let wall = Timestamp::parse(wall).unwrap().as_micros() - elapsed;
        *self.wall.lock().unwrap() = Timestamp::from_micros(wall);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        let since_boot = self.start.elapsed();
        let micros = i64::try_from(since_boot.as_micros()).unwrap();
        let wall = self.wall.lock().unwrap().as_micros() + micros;
        Moment { wall: Timestamp::from_micros(wall), since_boot }
    }

    fn boot_id(&self) -> &str {
        "boot"
    }
}

pub(crate) type Answer = Result<Vec<Verdict>, LinkError>;
type Script = Box<dyn FnMut(&[String]) -> Answer + Send>;

/// A batch that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) second: u64,
    /// When the answer came, or comes.
    pub(crate) answered: Duration,
    pub(crate) bodies: Vec<String>,
    /// The place of each record, as its name has it.
    pub(crate) places: Vec<String>,
}

/// Answers as its script says, after as long as it is told to take.
pub(crate) struct Fake {
    clock: Arc<TokioClock>,
    script: Mutex<Script>,
    takes: Mutex<Duration>,
    way: Mutex<Option<Way>>,
    takes_for_each_record: Mutex<Duration>,
    log: Mutex<Vec<Sent>>,
    under_way: AtomicUsize,
}

impl Fake {
    pub(crate) fn log(&self) -> Vec<Sent> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.log().iter().map(|sent| sent.bodies.len()).collect()
    }

    pub(crate) fn seconds(&self) -> Vec<u64> {
        self.log().iter().map(|sent| sent.second).collect()
    }

    /// All bodies that were offered, in order.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.log().into_iter().flat_map(|sent| sent.bodies).collect()
    }

    /// How often each record was offered, by its place and body.
    pub(crate) fn offers(&self) -> BTreeMap<(String, String), u64> {
        let mut offers = BTreeMap::new();
        for Sent { places, bodies, .. } in self.log() {
            for offered in places.into_iter().zip(bodies) {
                *offers.entry(offered).or_default() += 1;
            }
        }
        offers
    }

    pub(crate) fn answers(&self, script: impl FnMut(&[String]) -> Answer + Send + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    pub(crate) fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    /// Is where a host is, from now on.
    pub(crate) fn is_at(&self, host: &str) {
        *self.way.lock().unwrap() = Some(Way::to(&format!("http://{host}").parse().unwrap()));
    }

    /// What a request takes longer for each of its records.
    pub(crate) fn takes_for_each_record(&self, time: Duration) {
        *self.takes_for_each_record.lock().unwrap() = time;
    }
}

impl Destination for Fake {
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
        Box::pin(async move {
            let others = self.under_way.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "two batches are under way");
            let _guard = Leave(&self.under_way);
            let bodies: Vec<String> = (batch.records.iter())
                .map(|offer| String::from_utf8(offer.record.body.clone()).unwrap())
                .collect();
            let elapsed = self.clock.start.elapsed();
            let records = u32::try_from(bodies.len()).unwrap();
            let takes =
                *self.takes.lock().unwrap() + *self.takes_for_each_record.lock().unwrap() * records;
            let places = batch.records.iter().map(|offer| offer.record.id.position.to_string());
            let sent = Sent {
                second: elapsed.as_secs(),
                answered: elapsed + takes,
                bodies: bodies.clone(),
                places: places.collect(),
            };
            self.log.lock().unwrap().push(sent);
            tokio::time::sleep(takes).await;
            (self.script.lock().unwrap_or_else(PoisonError::into_inner))(&bodies)
        })
    }

    fn way(&self) -> Option<Way> {
        self.way.lock().unwrap().clone()
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn takes_all(bodies: &[String]) -> Answer {
    Ok(vec![Verdict::Delivered; bodies.len()])
}

pub(crate) fn later(spends_retry: bool) -> Verdict {
    Verdict::Later { reason: "not now".into(), retry_after: None, spends_retry }
}

/// A device: what survives a restart of the process.
pub(crate) struct Device {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) hub: Arc<Fake>,
}

impl Device {
    pub(crate) fn new() -> Self {
        let clock = TokioClock::new();
        let hub = Arc::new(Fake {
            clock: clock.clone(),
            script: Mutex::new(Box::new(takes_all)),
            takes: Mutex::default(),
            way: Mutex::default(),
            takes_for_each_record: Mutex::default(),
            log: Mutex::default(),
            under_way: AtomicUsize::new(0),
        });
        Self { disk: SimDisk::new(), clock, hub }
    }

    pub(crate) fn open(&self) -> Spool {
        let options = Options { maintenance_thread: false, ..Options::default() };
        let disk = Arc::new(self.disk.clone());
        Spool::open_on("/spool", options, disk, self.clock.clone()).unwrap()
    }

    pub(crate) fn courier(&self, options: SyncOptions) -> SyncManager {
        SyncManager::new(self.open(), self.hub.clone(), options).unwrap()
    }

    /// A courier of a spool that holds `count` records: `0`, `1`, `2`…
    pub(crate) fn courier_of(&self, count: usize) -> SyncManager {
        let courier = self.courier(plain());
        let tickets: Vec<_> =
            (0..count).map(|n| courier.spool().submit(record(&n.to_string())).unwrap()).collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        courier
    }
}

/// Without jitter.
pub(crate) fn plain() -> SyncOptions {
    SyncOptions { backoff_jitter: false, ..SyncOptions::default() }
}

pub(crate) fn record(body: &str) -> Record {
    Record::new("test", body.as_bytes().to_vec())
}

pub(crate) fn append(courier: &SyncManager, body: &str) -> RecordId {
    courier.spool().append(record(body)).unwrap()
}

pub(crate) fn entries(spool: &Spool, standing: Standing) -> Vec<QueueEntry> {
    let mut entries = Vec::new();
    spool
        .each(Some(standing), &mut |entry| {
            entries.push(entry);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    entries
}

/// Lets time pass.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
