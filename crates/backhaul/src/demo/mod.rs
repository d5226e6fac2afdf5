//! `backhaul demo`: the sensor agent through an outage, a kill and a crash, end to end.
//!
//! Hub and agent are processes of their own that speak over TCP; what is counted is
//! what lies in their stores in the end.

pub(crate) mod agent;
mod count;
mod process;
#[path = "../../examples/sensor_agent.rs"]
#[allow(dead_code, reason = "the example's `main`, of which this is another")]
mod sensor_agent;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use self::count::{Counts, Glance};
use self::process::{AgentProcess, HubProcess, Said};
use crate::cli;
use crate::exit::Outcome;
use crate::printer::Printer;
use crate::runtime;

/// How long the agent works with the hub there.
const ONLINE: Duration = Duration::from_secs(3);
/// How long it works without, before it is killed, and after.
const OUTAGE: Duration = Duration::from_secs(3);
/// Into a node that takes 100 ms.
const IN_THE_MIDDLE: Duration = Duration::from_millis(30);
/// On a busy machine a run may be over before it is hit: then the next one is.
const KILLS: usize = 5;
/// How often the stores are looked at.
const GLANCE_INTERVAL: Duration = Duration::from_millis(500);
/// How long the backlog may take to drain.
const DRAIN: Duration = Duration::from_secs(20);

pub(crate) fn run(args: &cli::Demo) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let runtime = runtime::start(1)?;
    let folder = tempfile::Builder::new()
        .prefix("backhaul-demo-")
        .tempdir()
        .context("no temporary folder can be made")?;
    let began = Instant::now();
    let outcome = runtime.block_on(async {
        let demo = Demo::new(folder.path(), printer, args.sabotage_dedupe);
        tokio::select! {
            outcome = demo.play() => outcome,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    });
    // Whatever went wrong, the processes are gone before their folder is.
    drop(runtime);
    let flawless = outcome.as_ref().is_ok_and(Counts::is_flawless);
    if args.keep || !flawless {
        let kept = folder.keep();
        printer.talk(format_args!("everything is kept in {}", kept.display()));
    }
    let counts = outcome?;
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        let mut object = json!(counts);
        if let Some(object) = object.as_object_mut() {
            object.insert("seconds".to_owned(), json!((seconds * 10.0).round() / 10.0));
        }
        printer.object(&object)?;
    } else {
        printer.data(counts.table())?;
    }
    let verdict = match flawless {
        true => "Nothing lost, nothing doubled",
        false => "THIS IS NOT AS IT SHOULD BE",
    };
    printer.talk(format_args!("\n{verdict}, after {seconds:.0} seconds."));
    Ok(if flawless { Outcome::Done } else { Outcome::LeftBehind })
}

struct Demo {
    folder: PathBuf,
    hub_dir: PathBuf,
    agent_dir: PathBuf,
    printer: Printer,
    sabotage_dedupe: bool,
}

impl Demo {
    fn new(folder: &Path, printer: Printer, sabotage_dedupe: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            hub_dir: folder.join("hub"),
            agent_dir: folder.join("agent"),
            printer,
            sabotage_dedupe,
        }
    }

    async fn play(&self) -> anyhow::Result<Counts> {
        let talk = |line: &str| self.printer.talk(line);
        talk("An agent, its hub, and everything that can happen between them.\n");

        let hub = self.start_hub("127.0.0.1:0", &[]).await?;
        let address = hub.address.clone();
        let url = format!("http://{address}");
        let mut agent = AgentProcess::start(&self.folder, self.agent_dir.clone(), &url)?;
        talk(&format!(
            "1  Online. The agent (process {}) reads this machine's sensors and tells the people\n   \
             on duty. The record of each run goes to the hub (process {}).",
            agent.id(),
            hub.id()
        ));
        self.watch(ONLINE).await;

        hub.kill().await?;
        talk("\n2  Outage. The hub is gone (kill -9). The agent goes on, and its queues grow.");
        self.watch(OUTAGE).await;

        let mut said = Said::default();
        let mut run_id = String::new();
        for _ in 0..KILLS {
            run_id = agent.kill_in_a_run(IN_THE_MIDDLE).await?;
            said.add(agent.said());
            agent = AgentProcess::start(&self.folder, self.agent_dir.clone(), &url)?;
            if !said.acknowledged.contains(&run_id) {
                break;
            }
        }
        talk(&format!(
            "\n3  Crash. The agent is killed (kill -9) in the middle of a run, and started again\n   \
             as process {}.",
            agent.id()
        ));
        self.watch(OUTAGE).await;
        if let Some(nodes) = count::finished_before(&self.agent_dir, &run_id)? {
            talk(&format!(
                "   The run went on where it was. What it had behind it was not done again: {}.",
                nodes.join(", ")
            ));
        }

        let queued = self.glance().waiting;
        talk(
            "\n4  Back. The hub returns on its old port. It dies once more, right after it\n   \
             stored a batch and before it could say so: the agent has to send that again.",
        );
        self.start_hub(&address, &["--crash-before-reply"]).await?.ended().await?;
        let hub = self.start_hub(&address, &[]).await?;
        let back = Instant::now();
        self.drained().await;
        self.show(self.glance());
        talk(&format!(
            "   The backlog was gone {:.1} seconds after the hub was back.",
            back.elapsed().as_secs_f64()
        ));
        agent.stop().await?;
        said.add(agent.said());
        hub.kill().await?;

        talk("\n5  What lies in the two stores, counted:\n");
        Ok(Counts { queued, ..count::count(&self.agent_dir, &self.hub_dir, &said)? })
    }

    async fn start_hub(&self, address: &str, options: &[&str]) -> anyhow::Result<HubProcess> {
        let mut options = options.to_vec();
        if self.sabotage_dedupe {
            options.push("--sabotage-dedupe");
        }
        HubProcess::start(&self.folder, &self.hub_dir, address, &options).await
    }

    /// Shows how the stores fill for a while.
    async fn watch(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(GLANCE_INTERVAL.min(end - Instant::now())).await;
            self.printer.progress(line(self.glance()));
        }
        self.printer.end_progress();
    }

    /// Waits until next to nothing waits: the agent still writes.
    async fn drained(&self) {
        let end = Instant::now() + DRAIN;
        while self.glance().waiting > 1 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn show(&self, glance: Glance) {
        self.printer.talk(line(glance));
    }

    /// A store that is not there yet holds nothing.
    fn glance(&self) -> Glance {
        count::glance(&self.agent_dir, &self.hub_dir).unwrap_or_default()
    }
}

fn line(glance: Glance) -> String {
    let Glance { written, waiting, at_the_hub, messages_waiting } = glance;
    format!(
        "   records: {written:>3} written, {waiting:>3} waiting, {at_the_hub:>3} at the hub; \
         messages: {messages_waiting:>3} waiting"
    )
}
