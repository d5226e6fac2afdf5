//! The agent on a clock that is moved: the example's graph and rounds, on a device whose days
//! pass between them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use backhaul::observability::CloudRunLogger;
use backhaul::offline::{
    ConnectivityMonitor, ConnectivityOptions, ContextPersistence, OfflineQueue, OfflineRunLogger,
    PersistenceOptions, SyncOptions, ToolQueue,
};
use backhaul::store::{Clock, OsDisk, Timestamp};
use backhaul::sync::{HttpProbe, SystemLinkEvents};
use backhaul::tools::{ToolRegistry, ToolRunner};
use backhaul_testkit::ManualClock;

use super::example;
use super::field::Field;
use crate::support::alone;

const FOLDER: &str = "BACKHAUL_SENSOR_CHILD_FOLDER";
const BOOT: &str = "BACKHAUL_SENSOR_CHILD_BOOT";
const CLOCK: &str = "BACKHAUL_SENSOR_CHILD_CLOCK";
const OFF: &str = "BACKHAUL_SENSOR_CHILD_OFF";
const ROUND: &str = "BACKHAUL_SENSOR_CHILD_ROUND";

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// 2026-01-01T00:00:00Z in microseconds.
const BEGIN: i64 = 1_767_225_600_000_000;

/// A device, and how its clocks stand when the agent is started next.
pub(super) struct Clocked {
    round: Duration,
    boots: u64,
    /// The true time in microseconds since 1970, and the time since the boot.
    clock: (i64, u64),
    /// How far the wall clock is off at first.
    off: i64,
}

impl Clocked {
    pub(super) fn new(round: Duration) -> Self {
        Self { round, boots: 1, clock: (BEGIN, 0), off: 0 }
    }

    pub(super) fn start(&self, data_dir: &Path) -> Command {
        let mut command = alone(Command::new(std::env::current_exe().unwrap()), &[]);
        command
            .args(["--exact", "sensor_agent::clocked::child", "--nocapture"])
            .env(FOLDER, data_dir)
            .env(BOOT, self.boots.to_string())
            .env(CLOCK, format!("{} {}", self.clock.0, self.clock.1))
            .env(OFF, self.off.to_string())
            .env(ROUND, self.round.as_micros().to_string());
        command
    }

    /// What has become of the clocks since: one kill in three is a power cut, after which the
    /// wall clock may be a year behind, or three days ahead, until a server of time corrects it.
    pub(super) fn next_boot(&mut self, field: &mut Field) {
        if let Some(clock) = field.said().clock {
            self.clock = clock;
        }
        self.off = 0;
        if field.random.chance(0.33) {
            let day = i64::try_from(DAY.as_micros()).unwrap();
            self.off = *field.random.pick(&[0, -365 * day, 3 * day]);
            self.clock.1 = 0;
            self.boots += 1;
        }
    }
}

/// NOT A TEST. The campaign starts this very program again with `--exact
/// sensor_agent::clocked::child` and [`FOLDER`] set, and kills it. Without that variable, as
/// when all tests are run, there is nothing to do here and nothing is proved.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    // Ends the line that the test harness has begun.
    std::io::stdout().write_all(b"\n").unwrap();
    let variable = |name| std::env::var(name).unwrap();
    let clocks = variable(CLOCK);
    let (truth, since_boot) = clocks.split_once(' ').unwrap();
    let off: i64 = variable(OFF).parse().unwrap();
    let clock = ManualClock::in_boot(
        &format!("boot-{}", variable(BOOT)),
        Duration::from_micros(since_boot.parse().unwrap()),
        Timestamp::from_micros(truth.parse::<i64>().unwrap() + off),
    );
    let round = Duration::from_micros(variable(ROUND).parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(work(PathBuf::from(folder), clock, off, round));
}

/// [`example::SensorAgent::run`], all of whose parts go by one clock.
async fn work(data_dir: PathBuf, clock: ManualClock, mut off: i64, round: Duration) {
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let cloud_url = std::env::var("CLOUD_URL").unwrap();
    let options = ConnectivityOptions {
        check_urls: vec![format!("{cloud_url}/healthz").parse().unwrap()],
        check_interval_seconds: 1,
        ..ConnectivityOptions::default()
    };
    let probe = Arc::new(HttpProbe::new(Arc::clone(&shared)));
    let links = Arc::new(SystemLinkEvents);
    let network = ConnectivityMonitor::new_on(options, probe, links, Arc::clone(&shared)).unwrap();
    network.start().await;

    let queue = OfflineQueue::builder(data_dir.join("offline")).clock(Arc::clone(&shared));
    let primary = CloudRunLogger::builder(&cloud_url).clock(Arc::clone(&shared)).build().unwrap();
    let logger = OfflineRunLogger::builder().primary(primary).queue(queue.open().unwrap());
    let logger = logger.build().unwrap();
    let sync = logger.offline_queue().sync_manager(SyncOptions::default()).unwrap();
    sync.watch(&network);
    sync.start().await;

    let registry = ToolRegistry::new().with(example::notify::tool()).unwrap();
    let queue = ToolQueue::builder(data_dir.join("tools"))
        .tools(registry.clone())
        .connectivity(network.clone())
        .on(Arc::new(OsDisk), Arc::clone(&shared))
        .open()
        .unwrap();
    queue.start_processor(|_| {}, |failed| println!("trouble: {failed}")).unwrap();
    let tools = ToolRunner::new(registry).queue(queue.clone()).connectivity(network);

    let disk = Arc::new(OsDisk);
    let options = PersistenceOptions::default();
    let context = data_dir.join("context");
    let persistence =
        ContextPersistence::open_on(disk, Arc::clone(&shared), context, options).unwrap();
    let executor = example::executor(90.0, tools, logger, persistence.clone()).unwrap();
    let executor = executor.clock(shared);
    let dag = example::sensor_dag().unwrap();
    if let Some(result) = executor.recover_run(&dag).await.unwrap() {
        println!("{} went on, and is {}", result.run_id, result.status);
    }
    let mut stop = Box::pin(tokio::signal::ctrl_c());
    for number in 1.. {
        let context = persistence.recover_latest().unwrap().unwrap_or_default();
        let result = executor.run(&dag, context).await;
        println!("{} is {}: {{}}", result.run_id, result.status);
        clock.advance(round);
        let now = clock.now();
        let truth = now.wall.as_micros() - off;
        println!("clock {truth} {}", now.since_boot.as_micros());
        if number == 3 {
            clock.set_wall(Timestamp::from_micros(truth));
            off = 0;
        }
        tokio::select! {
            _ = &mut stop => break,
            () = tokio::task::yield_now() => {}
        }
    }
    queue.drain().await;
    queue.stop(Duration::from_secs(5)).await;
    sync.sync_now().await;
    sync.stop().await;
}
