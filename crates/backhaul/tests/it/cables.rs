//! A device and a hub with a real cable between them, which is pulled.
//!
//! The hub is a process of its own in a network namespace of its own; what it has stored is
//! read from its files. The device has the courier and the monitor as programs have them.
//! Nobody tells either of them anything.
//!
//! These tests make network namespaces, so they need root, as in CI.

mod cuts;
mod reconnects;
mod windows;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backhaul::observability::{CloudRunLogger, OfflineQueue, RunRecord};
use backhaul::store::{Flush, StoredRecord, SystemClock};
use backhaul::sync::{
    Connectivity, ConnectivityMonitor, ConnectivityOptions, HttpProbe, LinkChange, LinkEvents,
    Listen, SyncManager, SyncOptions, SystemLinkEvents,
};
use backhaul_testkit::{Cable, Differences, Ends, Item, ManualClock, Oracle};
use tempfile::{TempDir, tempdir};

use crate::support::{BINARY, Hub, alone, noise, stored};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device with records, and the hub that they are for.
struct World {
    cable: Arc<Cable>,
    hub: Hub,
    queue: OfflineQueue,
    /// The device's own, for what it measures outages with.
    clock: ManualClock,
    oracle: Oracle,
    dir: TempDir,
}

impl World {
    fn new(cable: Cable) -> Self {
        Self::with_hub(cable, &[])
    }

    fn with_hub(cable: Cable, options: &[&str]) -> Self {
        let dir = tempdir().unwrap();
        let mut serve = alone(cable.program_on_hub(BINARY), &["serve", "--listen", "0.0.0.0:0"]);
        serve.env("BACKHAUL_TOKEN", TOKEN).arg("--data-dir").arg(dir.path().join("hub"));
        let hub = Hub::run(serve.args(options));
        let clock = ManualClock::new();
        let queue = OfflineQueue::builder(dir.path().join("device"))
            .max_queue_size_mb(1000)
            .flush(Flush::Never)
            .clock(Arc::new(clock.clone()))
            .open()
            .unwrap();
        Self { cable: Arc::new(cable), hub, queue, clock, oracle: Oracle::new(), dir }
    }

    fn port(&self) -> u16 {
        self.hub.address.port()
    }

    /// Stores records on the device that no compression makes small: two of three in no
    /// stream, the others in four. Gives the bytes of all.
    fn enqueue(&mut self, count: usize, bytes: usize) -> usize {
        let mut all = 0;
        for n in self.oracle.len()..self.oracle.len() + count {
            let id = format!("run_{n}");
            let mut record = RunRecord::new(&id, self.queue.spool().clock().now().wall);
            record.metadata.insert("noise".into(), noise(n as u64, bytes).into());
            let stream = (n % 3 == 0).then(|| format!("stream_{}", n % 4));
            if let Some(stream) = &stream {
                record.metadata.insert("stream".into(), stream.as_str().into());
            }
            self.queue.enqueue(&record).unwrap();
            let body = record.to_json();
            all += body.len();
            self.oracle.acknowledged(id, stream.as_deref(), body);
        }
        all
    }

    /// What was acknowledged is at the hub, each once and in order, and nothing else, but for
    /// what still waits on the device.
    fn check(self) -> Result<Vec<StoredRecord>, Differences> {
        let (_, ended_well) = self.hub.terminate();
        assert!(ended_well);
        let waiting = self.queue.list(Some(backhaul::store::Standing::Pending)).unwrap();
        let waiting = waiting.iter().map(|entry| entry.facts.labels["run_id"].clone());
        let stored = stored(&self.dir.path().join("hub"));
        let arrived = stored.iter().map(|record| {
            let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
            Item::new(body["run_id"].as_str().unwrap(), record.body.clone())
        });
        let (arrived, waiting) = (arrived.collect(), waiting.collect());
        self.oracle.check(&Ends { arrived, waiting, ..Ends::default() })?;
        Ok(stored)
    }
}

/// No machine's: nothing is heard from it.
struct Deaf;

impl LinkEvents for Deaf {
    fn listen<'a>(&'a self, _: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a> {
        Box::pin(async { io::ErrorKind::Unsupported.into() })
    }
}

/// How a device is set up, and where its hub is.
struct Setup {
    hub: SocketAddr,
    sync: SyncOptions,
    monitor: ConnectivityOptions,
    events: Arc<dyn LinkEvents>,
}

impl Setup {
    /// One with all defaults: the monitor asks the hub.
    fn of(host: &str, port: u16) -> Self {
        let monitor = ConnectivityOptions {
            check_urls: vec![format!("http://{host}:{port}/healthz").parse().unwrap()],
            ..ConnectivityOptions::default()
        };
        let hub = SocketAddr::new(host.parse().unwrap(), port);
        Self { hub, sync: SyncOptions::default(), monitor, events: Arc::new(SystemLinkEvents) }
    }

    /// Checks are an hour apart, so that only events, and what is tried because of them, can
    /// tell of a link that is back.
    fn by_events_alone(mut self) -> Self {
        self.monitor = ConnectivityOptions {
            check_interval_seconds: 3600,
            check_stable_interval_seconds: 3600,
            check_retry_interval: Duration::from_secs(3600),
            failures_to_go_offline: 1,
            min_online: Duration::ZERO,
            ..self.monitor
        };
        self
    }

    fn deaf(mut self) -> Self {
        self.events = Arc::new(Deaf);
        self
    }

    async fn start(self, queue: &OfflineQueue) -> Device {
        let url = format!("http://{}", self.hub);
        let logger = CloudRunLogger::builder(url).api_key(TOKEN).gzip(false);
        queue.bind(Arc::new(logger.build().unwrap()));
        let courier = queue.sync_manager(self.sync).unwrap();
        let clock = Arc::new(SystemClock::new());
        let probe = Arc::new(HttpProbe::new(clock.clone()));
        let monitor = ConnectivityMonitor::new_on(self.monitor, probe, self.events, clock);
        let monitor = monitor.unwrap();
        courier.watch(&monitor);
        monitor.start().await;
        courier.start().await;
        Device { courier, monitor }
    }
}

/// A courier and its monitor, which run.
struct Device {
    courier: SyncManager,
    monitor: ConnectivityMonitor,
}

impl Device {
    fn pending(&self) -> u64 {
        self.courier.spool().books().unwrap().pending
    }

    /// Waits until no more than so many wait.
    async fn has_left(&self, count: u64) {
        let delivered = async {
            while self.pending() > count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, delivered).await.expect("nothing gets through any more");
    }

    async fn is(&self, state: Connectivity) {
        let mut states = self.monitor.subscribe();
        let is_there = states.wait_for(|now| *now == state);
        tokio::time::timeout(PATIENCE, is_there).await.expect("the monitor notices").unwrap();
    }

    async fn stop(self) {
        self.courier.stop().await;
        self.monitor.stop().await;
    }
}

/// Runs a test on the device, whose courier has threads of its own: the test may wait.
fn run<T: Send, F: Future<Output = T>>(cable: &Cable, test: impl FnOnce() -> F + Send) -> T {
    cable.with_device(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().unwrap().block_on(test())
    })
}

async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}
