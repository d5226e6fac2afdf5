//! `backhaul run`: a gateway around a child process.

mod environment;
mod signals;

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backhaul_sync::shown_url;
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use self::signals::{Sender, Signals};
use crate::cli;
use crate::config::{Config, SecretPlace, Settings, Source, WEAVE_CACHE};
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::gateway::{Beside, Gateway, OpenFiles, Plan, WORKER_THREADS, Waiting};
use crate::printer::Printer;
use crate::runtime;

/// A free port of this machine alone.
const ANY_PORT: &str = "127.0.0.1:0";

/// The settings that `backhaul sync` has to be told again to do the same.
const OF_SYNC: [&str; 5] = ["data_dir", "weave_dir", "runs_url", "weave_url", "wandb_url"];

pub(crate) fn run(args: &cli::Run, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut config = settings.config().clone();
    // An address in the file or the environment is that of `serve`.
    if !matches!(settings.source("listen"), Source::Flag(_)) {
        config.hub.listen = ANY_PORT.parse().map_err(anyhow::Error::msg)?;
        // And so is its token: the program has a key for Weave, and knows of no other.
        config.hub.token = SecretPlace::default();
    }
    environment::take_over_targets(&mut config, own).or_usage()?;
    let plan = Plan::check(&args.gateway, &config).or_usage()?;
    let runtime = runtime::start(WORKER_THREADS)?;
    let ended = runtime.block_on(around(&args.command, plan, &config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let (code, waiting) = ended?;
    if waiting.records > 0 {
        Printer { json: false }.talk(parting(&waiting, &sync_again(settings)));
    }
    Ok(Outcome::Code(code))
}

/// A variable of this process.
fn own(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Serves while the program runs, then delivers; gives the program's exit code and what still
/// waits.
async fn around(
    command: &[OsString],
    plan: Plan,
    config: &Config,
) -> anyhow::Result<(u8, Waiting)> {
    let mut signals = Signals::listen()?;
    let open_files = OpenFiles::raise(plan.limits.connections);
    let (listener, address) = Gateway::listen(plan.address).await?;
    let gateway = Arc::new(Gateway::open(plan, config, Beside::Others).await?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.serve(listener, async move { drop(stopped.await) }).await }
    });
    let variables = variables(address, config)?;
    let ended = match open_files.as_before(|| start(command, &variables)) {
        Ok(child) => Ok(code_of(wait(child, &mut signals).await?)),
        Err(refused) => Err(refused),
    };
    drop(stop);
    let _ = serving.await;
    let waiting = match &ended {
        Ok(_) => drain(&gateway, config.drain_timeout, &mut signals).await,
        Err(_) => Waiting::default(),
    };
    gateway.stop().await;
    Ok((ended.unwrap_or_else(|code| code), waiting))
}

/// What the program's environment has beside this process's.
fn variables(
    address: SocketAddr,
    config: &Config,
) -> anyhow::Result<Vec<(&'static str, OsString)>> {
    let remote = config.weave.remote(&config.offline).or_usage()?;
    let cache = DataDir::of(config)?.path().join(WEAVE_CACHE);
    let cache = cache.join(environment::folder_of(&shown_url(remote.trace_url().as_str())));
    // The program may go to another folder.
    let cache = std::path::absolute(&cache).unwrap_or(cache);
    Ok(environment::of_child(reachable(address), &cache, own))
}

/// Where a program of this machine reaches a gateway.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Starts the program in this process's group and with its files, so that a terminal is the
/// program's. Says why it cannot, and gives what a shell would end with then.
fn start(command: &[OsString], variables: &[(&str, OsString)]) -> Result<Child, u8> {
    // There is one: the command line requires it.
    let program = command.first().map_or(OsStr::new(""), OsString::as_os_str);
    let started = Command::new(program)
        .args(command.iter().skip(1))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .spawn();
    started.map_err(|error| {
        let program = program.display();
        let (code, said) = match error.kind() {
            io::ErrorKind::NotFound => (127, format!("there is no program {program}: {error}")),
            _ => (126, format!("{program} cannot be started: {error}")),
        };
        Printer { json: false }.talk(format_args!("backhaul: {said}"));
        code
    })
}

/// Waits for the program, and passes on to it what other processes tell this one.
async fn wait(mut child: Child, signals: &mut Signals) -> anyhow::Result<ExitStatus> {
    loop {
        tokio::select! {
            biased;
            (signal, sender) = signals.next() => {
                let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                // The kernel's, of a terminal, are for the whole group: the program has them.
                if let (Sender::Process, Some(id)) = (sender, id) {
                    let _ = kill_process(id, signal);
                }
            }
            ended = child.wait() => return ended.context("the program cannot be awaited"),
        }
    }
}

/// As a shell has it.
fn code_of(status: ExitStatus) -> u8 {
    let of_signal = || status.signal().and_then(|signal| u8::try_from(128 + signal).ok());
    status.code().and_then(|code| u8::try_from(code).ok()).or_else(of_signal).unwrap_or(1)
}

/// Delivers for a time. Whoever tells the process to stop need not wait for it.
async fn drain(gateway: &Gateway, time: Duration, signals: &mut Signals) -> Waiting {
    let now = Instant::now();
    let told_to_stop = async { while !signals::is_to_stop(signals.next().await.0) {} };
    tokio::select! {
        biased;
        () = told_to_stop => gateway.drain(now).await,
        waiting = gateway.drain(now + time) => waiting,
    }
}

/// What is said at the end of what still waits.
fn parting(waiting: &Waiting, sync: &str) -> String {
    let records = match waiting.records {
        1 => "1 record waits".to_owned(),
        count => format!("{count} records wait"),
    };
    let reason = waiting.reason.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
    format!("backhaul: {records} to be delivered{reason}: `{sync}` does it")
}

/// The command line that delivers the same to the same.
fn sync_again(settings: &Settings) -> String {
    let said = settings.each().filter(|setting| {
        let flag = setting.key.flag();
        OF_SYNC.contains(&setting.key.name()) && *setting.source == Source::Flag(flag)
    });
    said.fold("backhaul sync".to_owned(), |text, setting| {
        format!("{text} {} {}", setting.key.flag(), setting.shown())
    })
}
