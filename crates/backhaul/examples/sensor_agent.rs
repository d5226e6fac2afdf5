//! The sensor agent of an edge device: it reads this machine's sensors each minute, has a model
//! judge them, and tells the people on duty. It goes on without a network, for days, and after a
//! `kill -9` at any point where it was.
//!
//! ```text
//! cargo run --example sensor_agent -- DATA_DIR [SECONDS BETWEEN ROUNDS]
//! ```
//!
//! Run records go to a hub, such as `backhaul serve`: `CLOUD_URL`, or this machine's. A model of
//! a cloud is asked with `OPENAI_API_KEY`; one at `LOCAL_MODEL_URL`, such as an Ollama's
//! `http://127.0.0.1:11434/v1`, answers meanwhile; without any, a rule does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what it does")]

use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backhaul::llm::{ApiKey, CloudLlmClient, LlmClient, LocalLlmClient, OfflineLlmClient};
use backhaul::observability::CloudRunLogger;
use backhaul::offline::{
    ConnectivityMonitor, ConnectivityOptions, ContextPersistence, OfflineQueue, OfflineRunLogger,
    SyncOptions, ToolQueue,
};
use backhaul::orchestration::{
    Condition, Dag, DagExecutor, FunctionNodes, Join, LlmNodeExecutor, Node, NodeCall,
    NodeExecutors,
};
use backhaul::tools::{IdempotencyKey, ToolRegistry, ToolRunner, tool};
use serde_json::{Value, json};

/// Tells the people on duty that something is wrong with the device.
#[tool(offline_policy = queue)]
pub(crate) fn notify(message: String, key: IdempotencyKey) -> String {
    // Whoever sends it further passes the key on: however often it is tried, it is one message.
    println!("to the people on duty: {message} ({key})");
    format!("sent {key}")
}

fn read_sensors() -> std::io::Result<Value> {
    let number = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok();
    let load = number(&std::fs::read_to_string("/proc/loadavg")?);
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free_mb = available.and_then(number).map(|kilobytes| kilobytes / 1_000.0);
    let zone = std::fs::read_to_string("/sys/class/thermal/thermal_zone0/temp").ok();
    let celsius = zone.as_deref().and_then(number).map(|thousandths| thousandths / 1_000.0);
    Ok(json!({"load": load, "free_mb": free_mb, "celsius": celsius}))
}

/// How busy the processors are for the next 100 ms, in percent.
async fn watch_processors() -> std::io::Result<f64> {
    let (busy, all) = processor_time()?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (busy_then, all_then) = processor_time()?;
    Ok(100.0 * (busy_then - busy) / (all_then - all).max(1.0))
}

/// Since the machine came up: busy, and in all.
fn processor_time() -> std::io::Result<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks: Vec<f64> = ticks.filter_map(|field| field.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// What judges where no model does.
fn judge_by_rule(call: &NodeCall, alarm_percent: f64) -> Value {
    let busy = call.context.get_as("busy_percent").ok().flatten().unwrap_or(0.0);
    let reason = format!("the processors are busy to {busy:.0} %");
    json!({"alarm": busy >= alarm_percent, "reason": reason})
}

pub(crate) fn sensor_dag() -> Result<Arc<Dag>, Box<dyn Error>> {
    let judge = "Sensors of a device: {sensors}; processors busy to {busy_percent} %. Is anything \
                 wrong with it? Answer with JSON: \
                 {{\"alarm\": true or false, \"reason\": \"…\"}}";
    let dag = Dag::new("sensor_dag")
        .node(Node::function("read", "read_sensors").output_key("sensors"))
        .node(Node::function("watch", "watch_processors").output_key("busy_percent"))
        .node(
            Node::llm("judge")
                .prompt(judge)
                .config("json", true)
                .max_attempts(1)
                .output_key("verdict"),
        )
        .node(Node::function("rule", "judge_by_rule").output_key("verdict"))
        .node(Node::tool("notify", "notify").input("message", "verdict.reason").join(Join::Any))
        .edge("read", "judge")
        .edge("watch", "judge")
        .edge_on_failure("judge", "rule")
        .edge_when("judge", "notify", Condition::equals("verdict.alarm", true))
        .edge_when("rule", "notify", Condition::equals("verdict.alarm", true));
    Ok(Arc::new(dag.build()?))
}

/// A cloud's model where there is a key for it, and the one on this machine meanwhile.
fn models() -> Result<Arc<dyn LlmClient>, Box<dyn Error>> {
    let local = std::env::var("LOCAL_MODEL_URL");
    let local = LocalLlmClient::new(local.as_deref().unwrap_or("http://127.0.0.1:11434/v1"))?;
    let Some(key) = std::env::var("OPENAI_API_KEY").ok().as_deref().and_then(ApiKey::new) else {
        return Ok(Arc::new(local));
    };
    Ok(Arc::new(OfflineLlmClient::new(CloudLlmClient::new(key, "gpt-4o-mini")?, local)))
}

/// Runs the graph: with tools for its tools, and whatever a run has come to kept.
pub(crate) fn executor(
    alarm_percent: f64,
    tools: ToolRunner,
    logger: OfflineRunLogger,
    persistence: ContextPersistence,
) -> Result<DagExecutor, Box<dyn Error>> {
    let functions = FunctionNodes::new()
        .with("read_sensors", |_| async { Ok(read_sensors()?) })
        .with("watch_processors", |call| async move {
            println!("{} watches the processors", call.run_id);
            Ok(watch_processors().await?)
        })
        .with_plain("judge_by_rule", move |call| judge_by_rule(call, alarm_percent));
    let nodes =
        NodeExecutors::new().functions(functions).llm(LlmNodeExecutor::new(models()?)).tools(tools);
    Ok(DagExecutor::new(nodes).run_logger(logger).context_persistence(persistence))
}

/// The agent.
pub(crate) struct SensorAgent {
    /// Where its data lies.
    pub(crate) data_dir: PathBuf,
    /// Where its run records go.
    pub(crate) cloud_url: String,
    /// How it finds out whether there is a network.
    pub(crate) network: ConnectivityOptions,
    /// From one round to the next.
    pub(crate) pause: Duration,
    /// Processors that are as busy are an alarm.
    pub(crate) alarm_percent: f64,
}

impl SensorAgent {
    /// Works until `stop`, or a signal that leaves no time for anything.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
        let network = ConnectivityMonitor::new(self.network.clone())?;
        network.start().await;

        // Run records are stored first, and delivered in the background.
        let logger = OfflineRunLogger::builder()
            .primary(CloudRunLogger::new(&self.cloud_url)?)
            .queue(OfflineQueue::new(self.data_dir.join("offline"))?)
            .build()?;
        let sync = logger.offline_queue().sync_manager(SyncOptions::default())?;
        sync.watch(&network);
        sync.start().await;

        // Messages wait for a network.
        let registry = ToolRegistry::new().with(notify::tool())?;
        let queue = ToolQueue::builder(self.data_dir.join("tools"))
            .tools(registry.clone())
            .connectivity(network.clone())
            .open()?;
        queue.start_processor(|done| println!("{done}"), |failed| eprintln!("{failed}"))?;
        let tools = ToolRunner::new(registry).queue(queue.clone()).connectivity(network);

        let persistence = ContextPersistence::new(self.data_dir.join("context"))?;
        let executor = executor(self.alarm_percent, tools, logger, persistence.clone())?;
        let dag = sensor_dag()?;
        // A run that a crash has cut short goes on where it was.
        if let Some(result) = executor.recover_run(&dag).await? {
            println!("{} went on, and is {}", result.run_id, result.status);
        }
        let mut stop = pin!(stop);
        loop {
            let context = persistence.recover_latest()?.unwrap_or_default();
            let result = executor.run(&dag, context).await;
            println!("{} is {}: {}", result.run_id, result.status, result.final_context.to_value());
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(self.pause) => {}
            }
        }
        // What the network takes now need not wait for the next start.
        queue.drain().await;
        queue.stop(Duration::from_secs(5)).await;
        sync.sync_now().await;
        sync.stop().await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().ok_or("which folder is for the data?")?);
    let pause = arguments.next().map_or(Ok(60.0), |seconds| seconds.parse())?;
    let cloud_url = std::env::var("CLOUD_URL");
    let cloud_url = cloud_url.unwrap_or_else(|_| "http://127.0.0.1:7117".to_owned());
    let check_url = format!("{}/healthz", cloud_url.trim_end_matches('/')).parse()?;
    let agent = SensorAgent {
        data_dir,
        cloud_url,
        network: ConnectivityOptions { check_urls: vec![check_url], ..Default::default() },
        pause: Duration::from_secs_f64(pause),
        alarm_percent: 90.0,
    };
    agent.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await
}
