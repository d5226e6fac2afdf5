//! Draining a backlog over HTTP: the courier, and beside it a bare loop that posts the
//! same bytes with the same client. Each in a process of its own.

use std::fmt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backhaul_agent::CloudRunLogger;
use backhaul_store::{Layout, Options, Record, Spool};
use backhaul_sync::{BandwidthManager, BandwidthOptions, SyncManager, SyncOptions};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::device;
use crate::engines::folder;
use crate::records::run;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    Bare,
    Courier(Stored),
}

/// `Layout`, in an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stored {
    Segments,
    Folder,
}

pub const SENDERS: [Sender; 3] =
    [Sender::Bare, Sender::Courier(Stored::Segments), Sender::Courier(Stored::Folder)];

/// What is sent, and how.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Bytes of one record.
    pub len: usize,
    pub gzip: bool,
}

/// As much of it as is sent.
#[derive(Clone, Copy)]
pub struct Load {
    pub records: u64,
    pub kind: Kind,
}

/// What a drain came to.
#[derive(Clone, Copy)]
pub struct Drained {
    pub rate: f64,
    pub megabytes: f64,
    pub cpu_per_100k: f64,
    pub peak_mb: f64,
}

impl Sender {
    fn key(self) -> &'static str {
        match self {
            Sender::Bare => "bare",
            Sender::Courier(Stored::Segments) => "segments",
            Sender::Courier(Stored::Folder) => "folder",
        }
    }

    fn of_key(key: &str) -> Self {
        SENDERS.into_iter().find(|sender| sender.key() == key).expect("a sender")
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Bare => f.write_str("a bare loop, no store"),
            Sender::Courier(_) => write!(f, "the courier, {}", self.key()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = if self.gzip { "gzip" } else { "no gzip" };
        write!(f, "{} KB, {encoding}", self.len / 1000)
    }
}

impl Stored {
    fn options(self) -> Options {
        let layout = match self {
            Stored::Segments => Layout::Segments,
            Stored::Folder => Layout::Folder,
        };
        Options { layout, ..Options::default() }
    }
}

/// Fills a spool as agents do: acknowledged when flushed.
pub fn fill(dir: &Path, stored: Stored, load: Load) {
    let spool = Spool::open(dir, stored.options()).expect("a spool");
    for start in (0..load.records).step_by(256) {
        let tickets: Vec<_> = (start..(start + 256).min(load.records))
            .map(|number| {
                let record = Record::new("run", run(number, load.kind.len));
                spool.submit(record.label("run_id", format!("run_{number:08}"))).expect("taken")
            })
            .collect();
        for ticket in tickets {
            ticket.wait().expect("stored");
        }
    }
}

/// Sends a load from a backlog on disk, or from memory, in a process of its own.
pub fn measure(sender: Sender, load: Load, url: &str) -> Drained {
    let folder = tempfile::tempdir_in(folder()).expect("a folder");
    if let Sender::Courier(stored) = sender {
        fill(folder.path(), stored, load);
    }
    drain(sender, load, url, folder.path())
}

fn drain(sender: Sender, load: Load, url: &str, dir: &Path) -> Drained {
    let child = spawn(sender, load, url, dir, None);
    let output = child.wait_with_output().expect("the child runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> =
        text.split_whitespace().map(|it| it.parse().expect("a figure")).collect();
    let [seconds, cpu, peak] = figures[..] else { panic!("bad figures: {text}") };
    Drained {
        rate: load.records as f64 / seconds,
        megabytes: load.records as f64 * load.kind.len as f64 / 1e6 / seconds,
        cpu_per_100k: cpu / load.records as f64 * 1e5,
        peak_mb: peak / 1e6,
    }
}

/// The child that sends; `kbps`: at most so fast.
pub fn spawn(sender: Sender, load: Load, url: &str, dir: &Path, kbps: Option<u64>) -> Child {
    let program = std::env::current_exe().expect("the program's own path");
    let Load { records, kind: Kind { len, gzip } } = load;
    Command::new(program)
        .args(["drain", sender.key(), url])
        .arg(dir)
        .args([records.to_string(), len.to_string(), gzip.to_string()])
        .args(kbps.map(|kbps| kbps.to_string()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the child runs")
}

/// The child: sends, then prints the seconds, the CPU time and the peak memory.
pub fn run_child(arguments: &[&str]) {
    let [sender, url, dir, records, len, gzip, ref rate @ ..] = *arguments else {
        panic!("expected SENDER URL DIR RECORDS LEN GZIP [KBPS]")
    };
    let load = Load {
        records: records.parse().expect("a number"),
        kind: Kind {
            len: len.parse().expect("a number"),
            gzip: gzip.parse().expect("true or false"),
        },
    };
    let kbps = rate.first().map(|kbps| kbps.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let (took, cpu) = runtime.expect("a runtime").block_on(async {
        match Sender::of_key(sender) {
            Sender::Bare => post_bare(url, load).await,
            Sender::Courier(stored) => send(dir.as_ref(), stored, load, url, kbps).await,
        }
    });
    println!("{} {cpu} {}", took.as_secs_f64(), device::peak_memory());
}

/// The courier with its default options, from a spool that is open already.
async fn send(
    dir: &Path,
    stored: Stored,
    load: Load,
    url: &str,
    kbps: Option<u64>,
) -> (Duration, f64) {
    let spool = Spool::open(dir, stored.options()).expect("a spool");
    let mut hub = CloudRunLogger::builder(url).gzip(load.kind.gzip);
    if kbps.is_some() {
        let options = BandwidthOptions { rate_limit_kbps: kbps, ..BandwidthOptions::default() };
        hub = hub.bandwidth(BandwidthManager::new(dir.join("bandwidth"), options).expect("a rate"));
    }
    let hub = Arc::new(hub.build().expect("a destination"));
    let courier = SyncManager::new(spool, hub, SyncOptions::default()).expect("a courier");
    let (began, cpu) = (Instant::now(), device::cpu_seconds());
    let report = courier.sync_now().await;
    let (took, cpu) = (began.elapsed(), device::cpu_seconds() - cpu);
    assert_eq!((report.synced, report.remaining), (load.records, 0), "{report:?}");
    (took, cpu)
}

/// What somebody would write who has the records in memory, and nothing to lose.
async fn post_bare(url: &str, load: Load) -> (Duration, f64) {
    let bodies: Vec<Vec<u8>> = (0..load.records).map(|number| run(number, load.kind.len)).collect();
    let options = SyncOptions::default();
    let fitting = (options.batch_bytes / load.kind.len).min(SyncOptions::DEFAULT_BATCH_SIZE);
    // reqwest asks for one also where no TLS is spoken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let url = format!("{url}/v1/runs");
    let mut sequence = 1;
    let (began, cpu) = (Instant::now(), device::cpu_seconds());
    for batch in bodies.chunks(fitting) {
        let last = sequence + batch.len() - 1;
        let mut request = client
            .post(&url)
            .header("content-type", "application/json")
            .header("backhaul-sequences", format!("{sequence}-{last}"));
        let mut body = array_of(batch);
        if load.kind.gzip {
            body = gzip(&body);
            request = request.header("content-encoding", "gzip");
        }
        let answer = request.body(body).send().await.expect("an answer");
        let said: serde_json::Value =
            serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        assert_eq!(said["accepted"], batch.len());
        sequence = last + 1;
    }
    (began.elapsed(), device::cpu_seconds() - cpu)
}

fn array_of(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut array = b"[".to_vec();
    for (index, body) in bodies.iter().enumerate() {
        if index > 0 {
            array.push(b',');
        }
        array.extend_from_slice(body);
    }
    array.push(b']');
    array
}

fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}
