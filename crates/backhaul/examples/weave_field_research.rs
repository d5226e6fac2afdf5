//! In the field: samples are analysed, photographed and annotated far from any network, looked
//! at on the device, and delivered back at base.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what it does")]

use backhaul::weave::{self, CallStatus, Content, Dataset, SyncArguments};
use serde_json::{Value, json};

#[weave::op(attributes(station = "north"))]
fn analyze_sample(sample_id: u32, measurements: &[f64]) -> Result<Value, String> {
    let Some(largest) = measurements.iter().copied().reduce(f64::max) else {
        return Err(format!("sample {sample_id} has no measurements"));
    };
    Ok(json!({"largest": largest, "is_large": largest > 10.0}))
}

#[weave::op]
fn photograph(sample_id: u32) -> Content {
    Content::from_bytes(format!("sample {sample_id}"), "image/png")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), weave::TraceError> {
    let dir = "./research";
    weave::init("research_project").offline(true).offline_dir(dir).start()?;

    let (_, call) = weave::with_call(|| analyze_sample(1, &[3.5, 12.25]).is_ok());
    photograph(1);
    if let Some(call) = call {
        call.feedback().add_note("Taken in heavy rain.")?;
        call.feedback().add_reaction("👍")?;
    }
    if let Err(error) = analyze_sample(2, &[]) {
        eprintln!("{error}");
    }
    let samples = Dataset::new([json!({"sample": 1, "depth": 2.5}), json!({"sample": 2})]);
    let address = weave::publish(&samples, "samples")?;

    // Still in the field: what there is, and what went wrong.
    println!("{} samples at {address}", weave::rows(&address)?.len());
    for call in weave::calls().op("analyze_sample").attribute("station", "north").list()? {
        println!("{:?} {} -> {}", call.status(), call.inputs(), call.output());
    }
    let failed = weave::calls().status(CallStatus::Error).newest_first().limit(10).list()?;
    println!("{} failed", failed.len());

    // Back at base. A sync that breaks off is safe to repeat.
    let arguments = SyncArguments { offline_dir: Some(dir.into()), ..SyncArguments::default() };
    match weave::sync_offline_data(arguments).await {
        Ok(results) => {
            for (project, kinds) in &*results {
                println!("{project}:");
                for (kind, (synced, errors)) in kinds {
                    println!("  {kind}: {synced} synced, {errors} errors");
                }
            }
        }
        Err(error) => println!("Kept for later: {error}"),
    }
    Ok(())
}
