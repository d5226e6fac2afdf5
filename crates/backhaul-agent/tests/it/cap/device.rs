//! The device of [`super::days`] in a process of its own, which is killed for a reboot. It
//! is told what to do line by line; its clock, and the name of its boot, are the parent's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use backhaul_agent::{CloudRunLogger, OfflineQueue, RunRecord};
use backhaul_store::{OsDisk, Timestamp};
use backhaul_sync::{BandwidthManager, BandwidthOptions, SyncManager, SyncOptions};
use backhaul_testkit::ManualClock;

use super::Kernel;
use crate::device::noise;

const FOLDER: &str = "BACKHAUL_CAP_DEVICE";
/// How often budget and queue are looked after on the moved clock.
const STEP: Duration = Duration::from_secs(3600);
/// Bytes of noise in a record, at most.
pub(super) const MOST_BYTES: usize = 200_000;
/// What an answer begins with; other lines are the test harness's.
const ANSWER: &str = "> ";

/// How a boot begins, or a process within one.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) boot_id: String,
    pub(super) since_boot: Duration,
    pub(super) wall: Timestamp,
    pub(super) is_synchronised: bool,
    pub(super) options: BandwidthOptions,
    pub(super) bandwidth_dir: PathBuf,
}

/// What a sync left behind.
#[derive(Debug)]
pub(super) struct Synced {
    pub(super) remaining: u64,
    /// What was in the way, by its name.
    pub(super) blocked_by: String,
}

/// The device, as its parent sees it. It is killed when it is dropped.
pub(super) struct Device {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Device {
    pub(super) fn start(folder: &Path, url: &str, start: &Start) -> Self {
        let set = |limit: Option<u64>| limit.unwrap_or_default().to_string();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cap::device::child", "--nocapture"])
            .env(FOLDER, folder)
            .env("CAP_URL", url)
            .env("CAP_BOOT_ID", &start.boot_id)
            .env("CAP_SINCE_BOOT", start.since_boot.as_secs().to_string())
            .env("CAP_WALL", start.wall.as_micros().to_string())
            .env("CAP_SYNCHRONISED", start.is_synchronised.to_string())
            .env("CAP_LIMIT_MB", set(start.options.daily_limit_mb))
            .env("CAP_RESERVE_MB", start.options.priority_reserve_mb.to_string())
            .env("CAP_DIR", &start.bandwidth_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = output.lines().map_while(Result::ok);
            lines.try_for_each(|line| match line.strip_prefix(ANSWER) {
                Some(answer) => tell.send(answer.to_owned()),
                None => Ok(()),
            })
        });
        Self { child, input, answers }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.tell(&format!("pass {}", time.as_secs()));
        self.answer();
    }

    pub(super) fn set_clock(&mut self, wall: Timestamp, is_synchronised: bool) {
        self.tell(&format!("clock {} {is_synchronised}", wall.as_micros()));
        self.answer();
    }

    /// Stores a record; its id.
    pub(super) fn write(&mut self, run_id: &str, bytes: usize, is_critical: bool) -> String {
        self.tell(&format!("write {run_id} {bytes} {is_critical}"));
        self.answer()
    }

    pub(super) fn sync(&mut self) -> Synced {
        self.begin_sync();
        let answer = self.answer();
        let (remaining, blocked_by) = answer.split_once(' ').unwrap();
        Synced { remaining: remaining.parse().unwrap(), blocked_by: blocked_by.to_owned() }
    }

    pub(super) fn begin_sync(&mut self) {
        self.tell("sync");
    }

    /// Whether it is done with what it was told.
    pub(super) fn is_done(&mut self) -> bool {
        self.answers.try_recv().is_ok()
    }

    /// SIGKILL.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
    }

    fn answer(&mut self) -> String {
        self.answers.recv_timeout(Duration::from_secs(60)).unwrap()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a device writes for these words, on either side. No record has more than
/// [`MOST_BYTES`] of noise, which is the same for all: making it costs time.
pub(super) fn record(run_id: &str, bytes: usize, is_critical: bool) -> RunRecord {
    static NOISE: LazyLock<RunRecord> = LazyLock::new(|| noise("noise", MOST_BYTES));
    let mut record = NOISE.clone();
    record.run_id = run_id.to_owned();
    record.tool_calls.clear();
    let noise = record.metadata["noise"].as_str().unwrap()[..bytes].to_owned();
    record.metadata.insert("noise".to_owned(), noise.into());
    if is_critical {
        record.metadata.insert("critical".into(), true.into());
    }
    record
}

/// NOT A TEST. [`Device::start`] starts this very program again with [`FOLDER`] set.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut inside = Inside::open(Path::new(&folder));
    println!();
    for line in std::io::stdin().lines() {
        let answer = inside.obey(&line.unwrap());
        println!("{ANSWER}{answer}");
    }
}

/// The device itself.
struct Inside {
    clock: ManualClock,
    kernel: Arc<Kernel>,
    budget: BandwidthManager,
    queue: OfflineQueue,
    courier: SyncManager,
    runtime: tokio::runtime::Runtime,
}

impl Inside {
    fn open(folder: &Path) -> Self {
        let word = |name: &str| std::env::var(name).unwrap();
        let number = |name: &str| word(name).parse::<u64>().unwrap();
        let wall = Timestamp::from_micros(word("CAP_WALL").parse().unwrap());
        let since_boot = Duration::from_secs(number("CAP_SINCE_BOOT"));
        let clock = ManualClock::in_boot(&word("CAP_BOOT_ID"), since_boot, wall);
        let kernel = Arc::new(Kernel::synchronised(word("CAP_SYNCHRONISED") == "true"));
        let options = BandwidthOptions {
            daily_limit_mb: Some(number("CAP_LIMIT_MB")),
            priority_reserve_mb: number("CAP_RESERVE_MB"),
            ..BandwidthOptions::default()
        };
        let budget = BandwidthManager::new_on(
            word("CAP_DIR"),
            options,
            Arc::new(OsDisk),
            Arc::new(clock.clone()),
            kernel.clone(),
        );
        let budget = budget.unwrap();
        let queue = OfflineQueue::builder(folder.join("queue"))
            .clock(Arc::new(clock.clone()))
            .maintenance_thread(false)
            .open()
            .unwrap();
        let logger = CloudRunLogger::builder(word("CAP_URL"))
            .bandwidth(budget.clone())
            .clock(Arc::new(clock.clone()))
            .build();
        queue.bind(Arc::new(logger.unwrap()));
        // A batch that the cap denies was compressed in vain: let it be of one record.
        let options = SyncOptions { batch_bytes: MOST_BYTES, ..SyncOptions::default() };
        let courier = queue.sync_manager(options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { clock, kernel, budget, queue, courier, runtime }
    }

    fn obey(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["pass", seconds] => {
                let mut left = Duration::from_secs(seconds.parse().unwrap());
                while !left.is_zero() {
                    let step = left.min(STEP);
                    self.clock.advance(step);
                    self.budget.maintain();
                    self.queue.spool().maintain().unwrap();
                    left -= step;
                }
                String::new()
            }
            ["clock", wall, is_synchronised] => {
                self.clock.set_wall(Timestamp::from_micros(wall.parse().unwrap()));
                self.kernel.set(is_synchronised == "true");
                String::new()
            }
            ["write", run_id, bytes, is_critical] => {
                let record = record(run_id, bytes.parse().unwrap(), is_critical == "true");
                self.queue.enqueue(&record).unwrap().to_string()
            }
            ["sync"] => {
                let report = self.runtime.block_on(self.courier.sync_now());
                let blocked_by = report.blocked_by.map_or("nothing", |by| by.kind.name());
                format!("{} {blocked_by}", report.remaining)
            }
            _ => panic!("what is {line:?}?"),
        }
    }
}
