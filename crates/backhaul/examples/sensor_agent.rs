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
use std::sync::Arc;
use std::time::Duration;

use backhaul::llm::{ApiKey, CloudLlmClient, LocalLlmClient, OfflineLlmClient};
use backhaul::observability::CloudRunLogger;
use backhaul::offline::{
    ContextPersistence, OfflineQueue, OfflineRunLogger, SyncOptions, ToolQueue,
};
use backhaul::orchestration::{
    Condition, Dag, DagExecutor, FunctionNodes, Join, LlmNodeExecutor, Node, NodeCall,
    NodeExecutors,
};
use backhaul::tools::{IdempotencyKey, ToolRegistry, ToolRunner, tool};
use serde_json::{Value, json};

/// Tells the people on duty that something is wrong with the device.
#[tool(offline_policy = queue)]
fn notify(message: String, key: IdempotencyKey) -> String {
    // Whoever sends it further passes the key on: however often it is tried, it is one message.
    println!("to the people on duty: {message} ({key})");
    format!("sent {key}")
}

fn read_sensors() -> std::io::Result<Value> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let first = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
    let load: f64 = first(&load).unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free_mb = available.and_then(first).unwrap_or_default() / 1_000.0;
    let zone = std::fs::read_to_string("/sys/class/thermal/thermal_zone0/temp").ok();
    let celsius = zone.as_deref().and_then(first).map(|thousandths| thousandths / 1_000.0);
    Ok(json!({"load": load, "free_mb": free_mb, "celsius": celsius}))
}

/// What judges where no model does.
fn judge_by_rule(call: &NodeCall) -> Value {
    let load = call.context.to_value()["sensors"]["load"].as_f64().unwrap_or_default();
    let alarm = load > 8.0;
    json!({"alarm": alarm, "reason": format!("the load is {load}")})
}

fn sensor_dag() -> Result<Arc<Dag>, Box<dyn Error>> {
    let judge = "Sensors of a device: {sensors}. Is anything wrong with it? \
                 Answer with JSON: {{\"alarm\": true or false, \"reason\": \"…\"}}";
    let dag = Dag::new("sensor_dag")
        .node(Node::function("read", "read_sensors").output_key("sensors"))
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
        .edge_on_failure("judge", "rule")
        .edge_when("judge", "notify", Condition::equals("verdict.alarm", true))
        .edge_when("rule", "notify", Condition::equals("verdict.alarm", true));
    Ok(Arc::new(dag.build()?))
}

fn models() -> Result<OfflineLlmClient, Box<dyn Error>> {
    let key = std::env::var("OPENAI_API_KEY").unwrap_or_else(|_| "none".to_owned());
    let local = std::env::var("LOCAL_MODEL_URL");
    let local = local.unwrap_or_else(|_| "http://127.0.0.1:11434/v1".to_owned());
    let cloud =
        CloudLlmClient::new(ApiKey::new(&key).ok_or("OPENAI_API_KEY is empty")?, "gpt-4o-mini")?;
    Ok(OfflineLlmClient::new(cloud, LocalLlmClient::new(&local)?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("which folder is for the data?")?);
    let pause = arguments.next().map_or(Ok(60.0), |seconds| seconds.parse())?;
    let cloud_url = std::env::var("CLOUD_URL");

    // Run records are stored first, and delivered in the background.
    let logger = OfflineRunLogger::builder()
        .primary(CloudRunLogger::new(cloud_url.as_deref().unwrap_or("http://127.0.0.1:7117"))?)
        .queue(OfflineQueue::new(dir.join("offline"))?)
        .build()?;
    let sync = logger.offline_queue().sync_manager(SyncOptions::default())?;
    sync.start().await;

    // Messages wait for a network.
    let tools = ToolRegistry::new().with(notify::tool())?;
    let queue = ToolQueue::new(dir.join("tools"), tools.clone())?;
    queue.start_processor(|done| println!("{done}"), |failed| eprintln!("{failed}"))?;

    // Whatever a run has come to survives.
    let persistence = ContextPersistence::new(dir.join("context"))?;
    let nodes = NodeExecutors::new()
        .functions(
            FunctionNodes::new()
                .with("read_sensors", |_| async { Ok(read_sensors()?) })
                .with_plain("judge_by_rule", judge_by_rule),
        )
        .llm(LlmNodeExecutor::new(models()?))
        .tools(ToolRunner::new(tools).queue(queue));
    let executor =
        DagExecutor::new(nodes).run_logger(logger).context_persistence(persistence.clone());

    let dag = sensor_dag()?;
    // A run that a crash has cut short goes on where it was.
    if let Some(result) = executor.recover_run(&dag).await? {
        println!("{} went on, and is {}", result.run_id, result.status);
    }
    loop {
        let context = persistence.recover_latest()?.unwrap_or_default();
        let result = executor.run(&dag, context).await;
        println!("{} is {}: {}", result.run_id, result.status, result.final_context.to_value());
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
    }
}
