//! The agent of the demo: reads the sensors, writes a run record for each round, and
//! never looks whether there is a network.

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backhaul_agent::{
    CloudRunLogger, Context, ContextPatch, Enqueued, OfflineQueue, OfflineRunLogger, RunEnd,
    RunLogger as _, RunStart, ToolCall,
};
use backhaul_sync::{SyncManager, SyncOptions};
use serde_json::json;

use super::sensors::{self, Sensor};
use crate::cli;
use crate::data_dir::OFFLINE;
use crate::exit::Outcome;
use crate::printer::Printer;
use crate::runtime;

/// A sensor takes its time: what the demo needs to hit a run in its middle.
const SENSOR_TAKES: Duration = Duration::from_millis(20);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(40);
/// How long the last records may take when the agent is told to stop.
const LAST_SYNC: Duration = Duration::from_secs(15);

/// What the agent says on stdout when a run begins.
pub(crate) const BEGAN: &str = "began ";
/// What it says when the record of a run was acknowledged.
pub(crate) const STORED: &str = "stored ";
/// What it is told on stdin to stop. The end of stdin stops it at once: whoever
/// started it is gone.
pub(crate) const STOP: &str = "stop";

pub(crate) fn run(args: cli::DemoAgent) -> anyhow::Result<Outcome> {
    let runtime = runtime::start(1)?;
    let queue = OfflineQueue::new(args.data_dir.join(OFFLINE))?;
    let logger = OfflineRunLogger::builder()
        .primary(CloudRunLogger::new(args.runs_url)?)
        .queue(queue.clone())
        .build()?;
    let courier = runtime.block_on(async {
        let courier = queue.sync_manager(quick_options())?;
        courier.start().await;
        anyhow::Ok(courier)
    })?;
    let stop = watch_stdin();
    let sensors = sensors::of_this_machine(&args.data_dir);
    for number in 1_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let run_id = format!("reading-{}-{number:04}", std::process::id());
        one_round(&logger, &sensors, &run_id)?;
        std::thread::sleep(PAUSE);
    }
    runtime.block_on(deliver_the_rest(&courier));
    Ok(Outcome::Done)
}

/// A demo has no minute to wait: the courier looks often.
fn quick_options() -> SyncOptions {
    SyncOptions {
        sync_interval_seconds: 1,
        backoff_initial: Duration::from_millis(100),
        backoff_max: Duration::from_millis(500),
        ..SyncOptions::default()
    }
}

fn one_round(logger: &OfflineRunLogger, sensors: &[Sensor], run_id: &str) -> anyhow::Result<()> {
    let printer = Printer { json: false };
    let mut context = Context::new().set("sensors", json!({}));
    let start = RunStart::new(run_id).dag_name("sensor_agent").initial_context(context.clone());
    logger.start_run(start);
    printer.data(format_args!("{BEGAN}{run_id}"))?;
    let mut alarms = Vec::new();
    for sensor in sensors {
        let began = Instant::now();
        std::thread::sleep(SENSOR_TAKES);
        let input = json!({"source": sensor.source});
        let reading = sensor.read();
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        match reading {
            Ok(reading) => {
                let value = reading.value.clone();
                let call = ToolCall::new(sensor.name, input, reading.value);
                logger.record_tool_call(call.duration_ms(took_ms));
                let path = format!("sensors.{}", sensor.name);
                let patch = ContextPatch::from_tool(sensor.name, path, value);
                context = context.apply(&patch)?;
                logger.record_patch(patch);
                alarms.extend(reading.alarm);
            }
            Err(error) => {
                let call = ToolCall::failed(sensor.name, input, format!("{error:#}"));
                logger.record_tool_call(call.duration_ms(took_ms));
            }
        }
    }
    let mut end = RunEnd::new().final_context(context);
    if !alarms.is_empty() {
        end = end.critical(true).metadata("alarms", json!(alarms));
    }
    logger.end_run(end)?;
    if let Some(Enqueued::Stored(_)) = logger.last_enqueued() {
        printer.data(format_args!("{STORED}{run_id}"))?;
    }
    Ok(())
}

async fn deliver_the_rest(courier: &SyncManager) {
    let all = async {
        while !courier.sync_now().await.is_complete() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // What is left behind is seen in the store.
    let _ = tokio::time::timeout(LAST_SYNC, all).await;
    courier.stop().await;
}

fn watch_stdin() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == STOP {
                told.store(true, Ordering::Relaxed);
            }
        }
        if !told.load(Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
    stop
}
