//! Devices, one after the other, and a link of each to one hub in a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backhaul::observability::{CloudRunLogger, OfflineQueue, RunRecord};
use backhaul::store::{Clock as _, Standing};
use backhaul::sync::{BandwidthManager, BlockedKind, SyncManager, SyncOptions, SyncReport};
use backhaul_testkit::{Differences, Ends, Failed, FaultLink, Item, ManualClock, Oracle, SimDisk};

use serde_json::Value;

use crate::support::{Hub, noise, stored};

/// No request of a healthy link takes as long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A queue in memory, on a clock that is moved.
pub(crate) struct Device {
    pub(crate) clock: ManualClock,
    queue: OfflineQueue,
}

impl Device {
    fn new() -> Self {
        let clock = ManualClock::new();
        let queue = OfflineQueue::builder("/data/queue")
            .disk(Arc::new(SimDisk::new()))
            .clock(Arc::new(clock.clone()))
            .maintenance_thread(false)
            .open()
            .unwrap();
        Self { clock, queue }
    }

    /// How many records the hub had already when they were sent.
    pub(crate) fn duplicates(&self) -> u64 {
        self.queue.stats().unwrap().books.duplicates
    }

    /// What is kept as failed. Nothing waits, and the books say the same.
    fn failed(&self) -> Vec<Failed> {
        let books = self.queue.stats().unwrap().books;
        assert!(books.balance() && books.pending == 0, "{books:?}");
        let entries = self.queue.list(Some(Standing::Failed)).unwrap().into_iter();
        let failed = entries.map(|entry| {
            let (_, stored) = self.queue.spool().get(entry.id.into()).unwrap();
            let item = Item::new(entry.id.to_string(), stored.body);
            Failed::new(item, entry.last_error.unwrap_or_default())
        });
        failed.collect()
    }
}

/// What a journey came to, all devices together.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) duplicates: u64,
    pub(crate) rejected: usize,
}

/// One hub, and the device at hand with a link and a courier of its own.
pub(crate) struct Journey {
    dir: tempfile::TempDir,
    hub: Option<Hub>,
    pub(crate) link: FaultLink,
    pub(crate) device: Device,
    /// For the next courier of the device at hand.
    pub(crate) options: SyncOptions,
    timeout: Duration,
    /// What the device may send; `None`: all it likes.
    pub(crate) budget: Option<BandwidthManager>,
    courier: Option<SyncManager>,
    pub(crate) oracle: Oracle,
    /// Devices that are done, and records that were written.
    done: Vec<Device>,
    written: u64,
}

impl Journey {
    pub(crate) fn begin() -> Self {
        Self::begin_with(&[])
    }

    /// With options of `backhaul serve`.
    pub(crate) fn begin_with(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start_with(&dir.path().join("hub"), options);
        Self {
            link: FaultLink::to(hub.address).unwrap(),
            dir,
            hub: Some(hub),
            device: Device::new(),
            options: options_without_jitter(),
            timeout: PATIENCE,
            budget: None,
            courier: None,
            oracle: Oracle::new(),
            done: Vec::new(),
            written: 0,
        }
    }

    /// Goes on with a new device and so many records, over a healthy link.
    pub(crate) fn next_device(&mut self, records: u64) {
        self.done.push(std::mem::replace(&mut self.device, Device::new()));
        self.link = FaultLink::to(self.hub.as_ref().unwrap().address).unwrap();
        (self.options, self.timeout) = (options_without_jitter(), PATIENCE);
        (self.budget, self.courier) = (None, None);
        self.write(records);
    }

    // --- What the device does --------------------------------------------------------

    /// Writes small records: every third in no stream, the others in two.
    pub(crate) fn write(&mut self, records: u64) {
        for _ in 0..records {
            let stream = [None, Some("a"), Some("b")][(self.written % 3) as usize];
            self.enqueue(64, stream.map(|stream| ("stream", stream.into())));
        }
    }

    /// Writes a record of so much text that hardly shrinks. Its key.
    pub(crate) fn write_noise(&mut self, bytes: usize) -> String {
        self.enqueue(bytes, None)
    }

    /// The same, and it is critical.
    pub(crate) fn write_critical(&mut self, bytes: usize) -> String {
        self.enqueue(bytes, Some(("critical", true.into())))
    }

    fn enqueue(&mut self, bytes: usize, mark: Option<(&str, Value)>) -> String {
        self.written += 1;
        let started_at = self.device.clock.now().wall;
        let mut record = RunRecord::new(format!("run_{}", self.written), started_at);
        record.metadata.insert("noise".into(), noise(self.written, bytes).into());
        if let Some((name, value)) = mark {
            record.metadata.insert(name.into(), value);
        }
        let key = self.device.queue.enqueue(&record).unwrap().to_string();
        // Each device has streams of its own.
        let stream = record.metadata.get("stream").and_then(Value::as_str);
        let stream = stream.map(|stream| format!("{stream} of {}", self.done.len()));
        self.oracle.acknowledged(&key, stream.as_deref(), record.to_json());
        key
    }

    /// How long a request may take from now on.
    pub(crate) fn timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
        self.courier = None;
    }

    /// Has the records go somewhere else from now on.
    pub(crate) fn send_to(&mut self, url: &str) {
        let clock = Arc::new(self.device.clock.clone());
        let mut logger = CloudRunLogger::builder(url).timeout(self.timeout).clock(clock);
        if let Some(budget) = &self.budget {
            logger = logger.bandwidth(budget.clone());
        }
        self.device.queue.bind(Arc::new(logger.build().unwrap()));
        self.courier = Some(self.device.queue.sync_manager(self.options.clone()).unwrap());
    }

    /// The courier over the link, until another one is asked for.
    pub(crate) fn courier(&mut self) -> SyncManager {
        if self.courier.is_none() {
            self.send_to(&self.link.url());
        }
        self.courier.clone().unwrap()
    }

    pub(crate) async fn sync(&mut self) -> SyncReport {
        self.courier().sync_now().await
    }

    /// A sync that something of a kind keeps from its end, and that costs no record a try.
    pub(crate) async fn is_blocked(&mut self, kind: BlockedKind) {
        let report = self.sync().await;
        let blocked = report.blocked_by.unwrap();
        assert_eq!((blocked.kind, report.failed), (kind, 0), "{blocked}");
        for entry in self.device.queue.list(Some(Standing::Pending)).unwrap() {
            assert_eq!((entry.attempts, entry.last_error), (0, None), "{}", entry.id);
        }
    }

    /// Syncs until nothing waits, with time for what was put off.
    pub(crate) async fn arrives_as_it_is(&mut self) {
        for _ in 0..50 {
            self.device.clock.advance(Duration::from_secs(24 * 3600));
            if self.sync().await.remaining == 0 {
                return;
            }
        }
        panic!("it does not arrive: {:?}", self.courier().status());
    }

    /// The link is healthy and there is all the time in the world: everything arrives.
    pub(crate) async fn arrives(&mut self) {
        self.link.up();
        self.link.clear();
        self.link.set_pace(Default::default());
        self.timeout(PATIENCE);
        self.arrives_as_it_is().await;
    }

    // --- What is at the hub ------------------------------------------------------------

    /// SIGKILL, and another process at the same address.
    pub(crate) fn restart_hub(&mut self) {
        let hub = self.hub.take().unwrap();
        let address = hub.address;
        hub.kill();
        self.hub = Some(Hub::start_at(&self.hub_dir(), address));
    }

    fn hub_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("hub")
    }

    /// Ends the hub, and holds what was acknowledged against what it has stored.
    pub(crate) fn end(self) -> Figures {
        self.check().unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    pub(crate) fn check(mut self) -> Result<Figures, Differences> {
        assert!(self.hub.take().unwrap().terminate().1, "the hub did not end well");
        let devices = || self.done.iter().chain([&self.device]);
        let failed: Vec<Failed> = devices().flat_map(Device::failed).collect();
        let duplicates = devices().map(Device::duplicates).sum();
        let figures = Figures { duplicates, rejected: failed.len() };
        let ends = Ends { arrived: arrived(&self.hub_dir()), failed, waiting: Vec::new() };
        self.oracle.check(&ends).map(|()| figures)
    }
}

fn options_without_jitter() -> SyncOptions {
    SyncOptions {
        backoff_jitter: false,
        backoff_initial: Duration::from_millis(10),
        backoff_max: Duration::from_millis(40),
        ..SyncOptions::default()
    }
}

/// What a hub has stored, under the ids that its senders gave.
fn arrived(hub_dir: &Path) -> Vec<Item> {
    let records = stored(hub_dir).into_iter();
    records.map(|record| Item::new(record.facts.labels["from"].clone(), record.body)).collect()
}
