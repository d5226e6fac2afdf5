//! The agent of the demo: `examples/sensor_agent.rs`, in a hurry.

use std::io::BufRead as _;
use std::time::Duration;

use anyhow::anyhow;
use backhaul_sync::ConnectivityOptions;
use tokio::sync::oneshot;

use super::sensor_agent::SensorAgent;
use crate::cli;
use crate::exit::Outcome;
use crate::runtime;

/// Between two rounds, each of which watches the processors for 100 ms.
const PAUSE: Duration = Duration::from_millis(10);

/// What it is told on stdin to stop. The end of stdin stops it at once: whoever
/// started it is gone.
pub(crate) const STOP: &str = "stop";

pub(crate) fn run(args: cli::DemoAgent) -> anyhow::Result<Outcome> {
    let check_url = format!("{}/healthz", args.runs_url.as_str().trim_end_matches('/')).parse()?;
    let agent = SensorAgent {
        data_dir: args.data_dir,
        cloud_url: args.runs_url.to_string(),
        network: ConnectivityOptions {
            check_urls: vec![check_url],
            check_interval_seconds: 1,
            min_online: Duration::from_secs(1),
            ..ConnectivityOptions::default()
        },
        pause: PAUSE,
        // Each round has a message, whatever the machine is at.
        alarm_percent: 0.0,
    };
    let stop = watch_stdin();
    let worked = runtime::start(1)?.block_on(agent.run(async { stop.await.unwrap_or_default() }));
    worked.map_err(|error| anyhow!("{error}"))?;
    Ok(Outcome::Done)
}

fn watch_stdin() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut tell = Some(tell);
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == STOP
                && let Some(tell) = tell.take()
            {
                let _ = tell.send(());
            }
        }
        if tell.is_some() {
            std::process::exit(1);
        }
    });
    told
}
