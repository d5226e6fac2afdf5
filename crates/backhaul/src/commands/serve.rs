//! `backhaul serve`: the run intake as a process.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use backhaul_agent::CloudRunLogger;
use backhaul_sync::{SyncManager, SyncOptions};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli;
use crate::data_dir::{DataDir, RUNS};
use crate::exit::{OrUsage as _, Outcome};
use crate::hub::token::{TOKEN_VARIABLE, Token};
use crate::hub::{self, Hub, limits, server};
use crate::hub_link;
use crate::presence::Presence;
use crate::printer::Printer;
use crate::runtime;

/// How often what was received is made durable while little happens: what a crash
/// makes the next start read again.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a batch under way to another hub is waited for at the end.
const FORWARD_GRACE: Duration = Duration::from_secs(2);
/// Open files of the spool, the database and the runtime, with some to spare.
const OTHER_FILES: u64 = 100;
/// Threads that serve connections: the work is on the blocking threads.
const WORKER_THREADS: usize = 2;

pub(crate) fn run(args: cli::Serve) -> anyhow::Result<Outcome> {
    let settings = Settings::check(args).or_usage()?;
    allow_files(settings.limits.connections);
    let runtime = runtime::start(WORKER_THREADS)?;
    let outcome = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// The command line, checked. Nothing was opened yet.
struct Settings {
    address: SocketAddr,
    token: Option<Token>,
    hub: hub::Options,
    limits: hub::Limits,
    forward_to: Option<Arc<CloudRunLogger>>,
    crash_before_reply: bool,
    stop_with_stdin: bool,
}

impl Settings {
    fn check(args: cli::Serve) -> anyhow::Result<Self> {
        let address = resolve(&args.listen)?;
        let token = Token::find(args.token_file.as_deref())?;
        if token.is_none() && !address.ip().is_loopback() {
            bail!(
                "{address} can be reached by others, and anybody could write to the store: give \
                 --token-file FILE or set {TOKEN_VARIABLE} (`openssl rand -hex 32 > token` makes \
                 one), or listen on 127.0.0.1"
            );
        }
        if args.max_connections == 0 {
            bail!("--max-connections is 0: expected at least 1");
        }
        if let Some(cap) = args.cap.filter(|cap| cap.0 < backhaul_store::MIN_CAP_BYTES) {
            let min = backhaul_store::MIN_CAP_BYTES;
            bail!("--cap is {} bytes: expected at least {min}", cap.0);
        }
        Ok(Self {
            address,
            token,
            hub: hub::Options {
                data_dir: DataDir::resolve(args.data_dir.data_dir)?.for_writing()?,
                max_bytes: args.cap.map(|cap| cap.0),
                key_age: args.remember_keys.unwrap_or(limits::DEFAULT_KEY_AGE),
                deduplicate: !args.sabotage_dedupe,
                catch_up: true,
                keep_segments: true,
            },
            limits: hub::Limits {
                connections: args.max_connections,
                head_timeout: args.head_timeout.unwrap_or(limits::HEAD_TIMEOUT),
                pace: hub::Pace {
                    grace: args.body_grace.unwrap_or(limits::BODY_GRACE),
                    bytes_per_second: limits::BODY_BYTES_PER_SECOND,
                },
                records_per_second: args.records_per_second,
                request_timeout: args.request_timeout.unwrap_or(limits::DEFAULT_REQUEST_TIMEOUT),
            },
            forward_to: match hub_link::url(args.runs_url) {
                Some(url) => Some(hub_link::open(&url, None)?),
                None => None,
            },
            crash_before_reply: args.crash_before_reply,
            stop_with_stdin: args.stop_with_stdin,
        })
    }
}

/// Each connection is an open file. Raises the limit as far as the system lets.
fn allow_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + OTHER_FILES;
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        let raised = Rlimit { current: Some(allowed), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, connections, "there may not be enough open files for these");
        }
    }
}

fn resolve(listen: &str) -> anyhow::Result<SocketAddr> {
    let expected = "expected ADDRESS:PORT such as 127.0.0.1:7117";
    let mut addresses =
        listen.to_socket_addrs().with_context(|| format!("--listen {listen}: {expected}"))?;
    addresses.next().with_context(|| format!("--listen {listen} names no address: {expected}"))
}

async fn serve(settings: Settings) -> anyhow::Result<Outcome> {
    let printer = Printer { json: false };
    let shutdown = told_to_stop(settings.stop_with_stdin)?;
    // Bound before the hub is opened, so that senders of a restarting hub wait in the
    // listener's queue instead of being turned away.
    let listener = TcpListener::bind(settings.address)
        .await
        .with_context(|| format!("cannot listen on {}", settings.address))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let data_dir = settings.hub.data_dir.clone();
    let options = settings.hub;
    let hub = tokio::task::spawn_blocking(move || Hub::open(options)).await??;
    let hub = Arc::new(hub);
    let presence = Presence::announce(&data_dir, address)
        .inspect_err(|error| {
            let error = format!("{error:#}");
            tracing::warn!(error, "`backhaul status` will not find this process");
        })
        .ok();
    let forwards = settings.forward_to.is_some();
    let courier = match settings.forward_to {
        Some(other) => Some(forward(&hub, other).await?),
        None => None,
    };
    let snapshots = tokio::spawn(snapshot_now_and_then(Arc::clone(&hub)));
    printer.talk(format_args!(
        "listening on http://{address}, storing in {}",
        data_dir.join(RUNS).display()
    ));
    let service = hub::Service::new(
        Arc::clone(&hub),
        settings.token,
        settings.limits,
        forwards,
        settings.crash_before_reply,
    );
    let router = hub::router(service);
    let broken_off = server::serve(listener, router, settings.limits, shutdown).await;
    if broken_off > 0 {
        let seconds = limits::SHUTDOWN_GRACE.as_secs();
        printer.talk(format_args!("{broken_off} connections were open after {seconds} s"));
    }
    drop(presence);
    if let Some(courier) = courier {
        courier.stop().await;
    }
    snapshots.abort();
    let last = tokio::task::spawn_blocking(move || hub.snapshot());
    if let Ok(Ok(Err(error))) = tokio::time::timeout(Duration::from_secs(2), last).await {
        // Nothing is lost: the next start reads more of the spool.
        tracing::warn!(%error, "the last snapshot failed");
    }
    Ok(Outcome::Done)
}

/// Starts delivering what the hub stores to another hub.
async fn forward(hub: &Hub, other: Arc<CloudRunLogger>) -> anyhow::Result<SyncManager> {
    let options = SyncOptions { stop_timeout: FORWARD_GRACE, ..SyncOptions::default() };
    let courier = SyncManager::new(hub.spool().clone(), other, options)?;
    hub.on_stored(courier.notifier());
    courier.start().await;
    Ok(courier)
}

async fn snapshot_now_and_then(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(SNAPSHOT_INTERVAL).await;
        let hub = Arc::clone(&hub);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || hub.snapshot()).await {
            tracing::warn!(%error, "a snapshot was put off");
        }
    }
}

/// Ready when the process is told to stop: SIGTERM, SIGINT, or the end of stdin where
/// that was asked for.
fn told_to_stop(with_stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    Ok(async move {
        let stdin_ends = async {
            let mut byte = [0; 1];
            while with_stdin && matches!(tokio::io::stdin().read(&mut byte).await, Ok(1..)) {}
            if !with_stdin {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin_ends => {}
        }
    })
}
