//! `backhaul serve`: the gateway as a process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli;
use crate::config::{Reloaded, Settings};
use crate::data_dir::{DataDir, RUNS};
use crate::exit::{OrUsage as _, Outcome};
use crate::gateway::{Beside, Gateway, OpenFiles, Plan, WORKER_THREADS};
use crate::hub::limits;
use crate::log::Log;
use crate::printer::Printer;
use crate::runtime;

pub(crate) fn run(args: &cli::Serve, settings: Settings, log: Log) -> anyhow::Result<Outcome> {
    let plan = Plan::check(&args.gateway, settings.config()).or_usage()?;
    OpenFiles::raise(plan.limits.connections);
    let runtime = runtime::start(WORKER_THREADS)?;
    let outcome = runtime.block_on(serve(plan, args.stop_with_stdin, settings, log));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    plan: Plan,
    stop_with_stdin: bool,
    settings: Settings,
    log: Log,
) -> anyhow::Result<Outcome> {
    let printer = Printer { json: false };
    let shutdown = told_to_stop(stop_with_stdin)?;
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be awaited")?;
    let (listener, address) = Gateway::listen(plan.address).await?;
    let weave = plan.weave_dir.clone();
    let gateway = Arc::new(Gateway::open(plan, settings.config(), Beside::Nobody).await?);
    let runs = DataDir::of(settings.config())?.path().join(RUNS);
    let reloads =
        tokio::spawn(reload_when_told(hangup, settings, Arc::clone(&gateway), log, printer));
    printer.talk(format_args!(
        "listening on http://{address}, storing run records in {} and Weave's data in {}",
        runs.display(),
        weave.display()
    ));
    let broken_off = gateway.serve(listener, shutdown).await;
    if broken_off > 0 {
        let seconds = limits::SHUTDOWN_GRACE.as_secs();
        printer.talk(format_args!("{broken_off} connections were open after {seconds} s"));
    }
    reloads.abort();
    gateway.stop().await;
    Ok(Outcome::Done)
}

/// Reads the settings again at each SIGHUP, and says what came of it.
async fn reload_when_told(
    mut hangup: Signal,
    mut settings: Settings,
    gateway: Arc<Gateway>,
    log: Log,
    printer: Printer,
) {
    while hangup.recv().await.is_some() {
        match reload(&mut settings, &gateway, &log) {
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

fn reload(settings: &mut Settings, gateway: &Gateway, log: &Log) -> anyhow::Result<Reloaded> {
    let reloaded = settings.reload()?;
    let config = settings.config();
    log.set_level(config.log);
    gateway.reload(config)?;
    Ok(reloaded)
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
