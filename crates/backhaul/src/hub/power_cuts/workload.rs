//! A random series of requests to one hub, and what it was told meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{Batch, Clock, Disk, Limits, Settled, State};
use backhaul_testkit::{ManualClock, Prng, SimDisk, SimSnapshot};

use super::campaign::Sabotage;
use super::senders::{Client, Device, Numbers, Request};
use crate::hub::{DATABASE, FOLDER, Hub, Options};

const DATA_DIR: &str = "/data";
const STEPS: usize = 50;
const DEVICES: usize = 4;

/// What the senders know, in the order in which it came to be.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// All requests, answered or not.
    pub(super) requests: Vec<Request>,
    /// Numbers of records that were acknowledged.
    pub(super) acknowledged: Vec<u64>,
    /// Numbers of records that were delivered, and may go from the disk.
    pub(super) delivered: Vec<u64>,
    /// What was seen was made durable as often as this.
    pub(super) snapshots: usize,
}

/// A moment at which the power may go, with how far the log was then.
pub(super) struct Moment {
    pub(super) snapshot: SimSnapshot,
    pub(super) requests: usize,
    pub(super) acknowledged: usize,
    pub(super) delivered: usize,
    pub(super) snapshots: usize,
}

struct Workload {
    /// None only while it is started again: the old one has to let go of its locks.
    hub: Option<Hub>,
    disk: SimDisk,
    clock: ManualClock,
    random: Prng,
    sabotage: Sabotage,
    log: Arc<Mutex<Log>>,
    devices: Vec<Device>,
    client: Client,
    numbers: Numbers,
}

/// Opens the hub that lies on a disk. Segments are small and the share of delivered
/// data is, so that some dozen records span several segments and delivered ones go.
pub(super) fn open(disk: &SimDisk, clock: &ManualClock, sabotage: Sabotage) -> anyhow::Result<Hub> {
    let options = Options {
        data_dir: PathBuf::from(DATA_DIR),
        max_bytes: None,
        key_age: Duration::from_secs(24 * 3600),
        deduplicate: true,
        catch_up: sabotage != Sabotage::CatchUp,
        keep_segments: sabotage != Sabotage::KeptSegments,
    };
    let spool = backhaul_store::Options {
        max_bytes: Some(4 << 20),
        keep_delivered_share: 0.005,
        segment_bytes: 16 << 10,
        first_extent_bytes: 8 << 10,
        maintenance_thread: false,
        machine: Some("this machine".to_owned()),
        ..backhaul_store::Options::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    Hub::open_on(options, spool, disk, clock)
}

/// The database of what was seen.
pub(super) fn database() -> PathBuf {
    PathBuf::from(DATA_DIR).join(FOLDER).join(DATABASE)
}

/// Runs a seeded series, and gives the moments at which the power may go.
pub(super) fn run(seed: u64, sabotage: Sabotage) -> (Vec<Moment>, Log) {
    let disk = SimDisk::new();
    match sabotage {
        Sabotage::DatabaseFlushes => disk.ignore_flushes_of(database()),
        Sabotage::DatabaseName => disk.ignore_flushes_of(database().parent().unwrap()),
        _ => {}
    }
    let log = Arc::new(Mutex::new(Log::default()));
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (of_hook, told) = (Arc::clone(&moments), Arc::clone(&log));
    disk.on_flush(Box::new(move |snapshot| {
        let log = told.lock().unwrap();
        of_hook.lock().unwrap().push(Moment {
            snapshot: snapshot.clone(),
            requests: log.requests.len(),
            acknowledged: log.acknowledged.len(),
            delivered: log.delivered.len(),
            snapshots: log.snapshots,
        });
    }));
    let clock = ManualClock::new();
    let mut workload = Workload {
        hub: Some(open(&disk, &clock, sabotage).unwrap()),
        disk: disk.clone(),
        clock,
        random: Prng::new(seed),
        sabotage,
        log: Arc::clone(&log),
        devices: (0..DEVICES).map(Device::new).collect(),
        client: Client::default(),
        numbers: Numbers::default(),
    };
    for _ in 0..STEPS {
        workload.step();
    }
    drop(workload);
    disk.clear_on_flush();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    let log = std::mem::take(&mut *log.lock().unwrap());
    (moments, log)
}

impl Workload {
    fn step(&mut self) {
        match self.random.below(16) {
            0..=6 => {
                // The first one sends most, so that its segments are closed often.
                let device = *self.random.pick(&[0, 0, 0, 1, 1, 2, 2, 3]);
                let request = self.devices[device].request(&mut self.random, &mut self.numbers);
                self.send(request);
            }
            7 | 8 => {
                let request = self.client.request(&mut self.random, &mut self.numbers);
                self.send(request);
            }
            9..=11 => self.deliver(),
            12 | 13 => {
                self.deliver();
                self.clock.advance(Duration::from_secs(12));
                self.hub().spool().maintain().unwrap();
            }
            14 => {
                self.hub().snapshot().unwrap();
                self.log.lock().unwrap().snapshots += 1;
            }
            _ => {
                if self.random.chance(0.5) {
                    self.disk.kill_process();
                }
                self.hub = None;
                self.hub = Some(open(&self.disk, &self.clock, self.sabotage).unwrap());
            }
        }
    }

    fn hub(&self) -> &Hub {
        self.hub.as_ref().unwrap()
    }

    fn send(&mut self, request: Request) {
        self.log.lock().unwrap().requests.push(request.clone());
        let receipt = self
            .hub()
            .take(&request.body(), request.origin.as_ref(), request.key.as_deref())
            .unwrap_or_else(|refusal| panic!("{refusal:?}: {:?}", request.origin));
        let records = request.records.len() as u64;
        assert_eq!(receipt.accepted + receipt.duplicates, records, "{:?}", request.origin);
        self.log.lock().unwrap().acknowledged.extend(request.numbers());
    }

    /// As the courier does.
    fn deliver(&mut self) {
        let records = 1 + self.random.index(60);
        let limits = Limits { records, bytes: 1 << 20, ..Limits::default() };
        while let Some(batch) = self.hub().spool().take(&limits).unwrap() {
            self.settle(&batch);
            if self.random.chance(0.2) {
                break;
            }
        }
    }

    fn settle(&self, batch: &Batch) {
        let positions = || batch.records.iter().map(|offer| offer.record.id.position);
        let numbers =
            batch.records.iter().map(|offer| number_of(&offer.record.facts.labels["run_id"]));
        // From the moment that they are settled they may go.
        self.log.lock().unwrap().delivered.extend(numbers);
        let settled: Vec<_> =
            positions().map(|position| (position, Settled::new(State::Delivered))).collect();
        self.hub().spool().settle(&settled).unwrap();
    }
}

pub(super) fn number_of(run_id: &str) -> u64 {
    run_id.strip_prefix("run_").unwrap().parse().unwrap()
}
