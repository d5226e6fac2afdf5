//! `backhaul serve`: the run intake as a process.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Reloaded, Settings};
use anyhow::{Context as _, bail};
use backhaul_agent::CloudRunLogger;
use backhaul_sync::{SyncManager, SyncOptions};
use backhaul_weave::{OfflineOptions, OfflineTraceServer, Remote};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::resting;
use crate::cli;
use crate::collector::{self, WeaveCollector};
use crate::config::WEAVE;
use crate::control::{ControlSocket, Desk, Forwarding};
use crate::courier;
use crate::data_dir::{DataDir, RUNS};
use crate::exit::{OrUsage as _, Outcome};
use crate::hub::token::Token;
use crate::hub::{self, Hub, limits, server};
use crate::hub_address;
use crate::intake::Pace;
use crate::log::Log;
use crate::metrics;
use crate::offline::OutageSwitch;
use crate::printer::Printer;
use crate::runtime;

/// How often what was received is made durable while little happens: what a crash
/// makes the next start read again.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a batch under way to another hub is waited for at the end.
const FORWARD_GRACE: Duration = Duration::from_secs(2);
/// Open files of the spool, the database and the runtime, with some to spare.
const OTHER_FILES: u64 = 100;
/// The entity of Weave's projects that name none.
const ENTITY: &str = "WANDB_ENTITY";
/// Threads that serve connections: the work is on the blocking threads.
const WORKER_THREADS: usize = 2;

pub(crate) fn run(args: &cli::Serve, settings: Settings, log: Log) -> anyhow::Result<Outcome> {
    let plan = Plan::check(args, settings.config()).or_usage()?;
    allow_files(plan.limits.connections);
    let runtime = runtime::start(WORKER_THREADS)?;
    let outcome = runtime.block_on(serve(plan, settings, log));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// What is to be done, checked. Nothing was opened yet.
struct Plan {
    address: SocketAddr,
    token: Option<Token>,
    hub: hub::Options,
    spool: backhaul_store::Options,
    weave: (PathBuf, OfflineOptions),
    weave_remote: Remote,
    limits: hub::Limits,
    forward_to: Option<(String, Arc<CloudRunLogger>)>,
    outage: Arc<OutageSwitch>,
    crash_before_reply: bool,
    stop_with_stdin: bool,
}

impl Plan {
    fn check(args: &cli::Serve, config: &Config) -> anyhow::Result<Self> {
        let given = &config.hub;
        let address = resolve(given.listen.as_str())?;
        let token = given.token.find().map_err(anyhow::Error::msg)?;
        if token.is_none() && !address.ip().is_loopback() {
            bail!(
                "{address} can be reached by others, and anybody could write to the store: give \
                 --token-file FILE or set BACKHAUL_TOKEN (`openssl rand -hex 32 > token` makes \
                 one), or listen on 127.0.0.1"
            );
        }
        let data_dir = DataDir::of(config)?.for_writing()?;
        let offline = &config.offline;
        let weave_dir = config.weave.dir.clone().unwrap_or_else(|| data_dir.join(WEAVE));
        let url = offline.runs_url.as_ref().map(|url| hub_address::shown(url.as_str()));
        Ok(Self {
            address,
            outage: Arc::new(OutageSwitch::of(&data_dir, config.outage)),
            token: token.map(|token| Token::new(token.reveal())),
            hub: hub::Options {
                data_dir,
                max_bytes: given.cap.map(|cap| cap.0),
                key_age: given.remember_keys,
                deduplicate: !args.sabotage_dedupe,
                catch_up: true,
                keep_segments: true,
            },
            spool: offline.spool_options(),
            weave: (weave_dir, config.weave.options(offline)),
            weave_remote: config.weave.remote(offline)?,
            limits: hub::Limits {
                connections: given.max_connections.get(),
                head_timeout: args.head_timeout.unwrap_or(limits::HEAD_TIMEOUT),
                pace: Pace {
                    grace: args.body_grace.unwrap_or(limits::BODY_GRACE),
                    bytes_per_second: limits::BODY_BYTES_PER_SECOND,
                },
                records_per_second: given.records_per_second,
                request_timeout: given.request_timeout,
            },
            forward_to: url.zip(offline.primary_logger()?.map(Arc::new)),
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

async fn serve(plan: Plan, settings: Settings, log: Log) -> anyhow::Result<Outcome> {
    let printer = Printer { json: false };
    let shutdown = told_to_stop(plan.stop_with_stdin)?;
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be awaited")?;
    // Bound before the hub is opened, so that senders of a restarting hub wait in the
    // listener's queue instead of being turned away.
    let listener = TcpListener::bind(plan.address)
        .await
        .with_context(|| format!("cannot listen on {}", plan.address))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let data_dir = plan.hub.data_dir.clone();
    let hub = tokio::task::spawn_blocking(move || Hub::open(plan.hub, plan.spool)).await??;
    let hub = Arc::new(hub);
    let (weave_dir, weave_options) = plan.weave;
    let weave =
        tokio::task::spawn_blocking(move || OfflineTraceServer::open(weave_dir, weave_options));
    let outage = plan.outage;
    let collector = WeaveCollector::new(collector::Options {
        server: weave.await??,
        remote: Some(plan.weave_remote),
        token: plan.token.clone(),
        pace: plan.limits.pace,
        entity: std::env::var(ENTITY).ok(),
        is_outage: {
            let outage = Arc::clone(&outage);
            Box::new(move || outage.outage().is_some())
        },
    });
    let forwarding = match plan.forward_to {
        Some((url, other)) => Some(forward(&hub, other, url, settings.config(), &outage).await?),
        None => None,
    };
    let courier = forwarding.as_ref().map(|it| it.courier.clone());
    let reloads = tokio::spawn(reload_when_told(hangup, settings, courier, log, printer));
    let snapshots = tokio::spawn(snapshot_now_and_then(Arc::clone(&hub)));
    let service = {
        let (forwarding, outage) = (forwarding.clone(), Arc::clone(&outage));
        hub::Service::new(
            Arc::clone(&hub),
            plan.token,
            plan.limits,
            move |page| {
                forwarding.iter().for_each(|it| it.measure(RUNS, page));
                metrics::outage(page, outage.report().as_ref());
            },
            plan.crash_before_reply,
        )
    };
    let measured = Arc::clone(&service);
    let control = ControlSocket::of(Desk {
        keeper: resting::of_hub(&hub),
        forwarding: forwarding.clone(),
        outage,
        metrics: Box::new(move || measured.metrics()),
        is_shared: false,
    });
    printer.talk(format_args!(
        "listening on http://{address}, storing in {}",
        data_dir.join(RUNS).display()
    ));
    let router = hub::router(service, collector::router(collector));
    let broken_off = server::serve(listener, router, plan.limits, shutdown).await;
    if broken_off > 0 {
        let seconds = limits::SHUTDOWN_GRACE.as_secs();
        printer.talk(format_args!("{broken_off} connections were open after {seconds} s"));
    }
    reloads.abort();
    if let Some(Forwarding { courier, .. }) = forwarding {
        courier.stop().await;
    }
    control.stop().await;
    snapshots.abort();
    let last = tokio::task::spawn_blocking(move || hub.snapshot());
    if let Ok(Ok(Err(error))) = tokio::time::timeout(Duration::from_secs(2), last).await {
        // Nothing is lost: the next start reads more of the spool.
        tracing::warn!(%error, "the last snapshot failed");
    }
    Ok(Outcome::Done)
}

/// Starts delivering what the hub stores to another hub.
async fn forward(
    hub: &Hub,
    destination: Arc<CloudRunLogger>,
    url: String,
    config: &Config,
    outage: &Arc<OutageSwitch>,
) -> anyhow::Result<Forwarding> {
    let options = forwarding_options(config);
    let courier = courier::of_runs(hub.spool().clone(), destination, &config.offline, options)?;
    let outage = Arc::clone(outage);
    courier.offline_while(move || outage.outage());
    courier.watch(&config.offline.monitor()?);
    hub.on_stored(courier.notifier());
    courier.start().await;
    Ok(Forwarding { courier, url })
}

/// Those of the courier that forwards.
fn forwarding_options(config: &Config) -> SyncOptions {
    SyncOptions { stop_timeout: FORWARD_GRACE, ..config.offline.sync.clone() }
}

/// Reads the settings again at each SIGHUP, and says what came of it.
async fn reload_when_told(
    mut hangup: Signal,
    mut settings: Settings,
    courier: Option<SyncManager>,
    log: Log,
    printer: Printer,
) {
    while hangup.recv().await.is_some() {
        match reload(&mut settings, courier.as_ref(), &log) {
            Ok(reloaded) => {
                printer.talk("read the settings again");
                for change in &reloaded.applied {
                    printer.talk(format_args!("  {change}"));
                }
                for change in &reloaded.kept {
                    printer.talk(format_args!("  {change}: after a restart"));
                }
            }
            Err(error) => printer.talk(format_args!("all settings stay as they are: {error:#}")),
        }
    }
}

fn reload(
    settings: &mut Settings,
    courier: Option<&SyncManager>,
    log: &Log,
) -> anyhow::Result<Reloaded> {
    let reloaded = settings.reload()?;
    let config = settings.config();
    log.set_level(config.log);
    if let Some(courier) = courier {
        courier.set_options(forwarding_options(config))?;
    }
    Ok(reloaded)
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
