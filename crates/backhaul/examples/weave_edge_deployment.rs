//! A device with an unreliable network: everything is stored first, and sent in the background
//! whenever there is a link. The program never waits for one.

#![allow(clippy::print_stdout, reason = "it says what it does")]

use backhaul::weave;

#[weave::op]
fn process_sensor_data(celsius: &[f64]) -> f64 {
    celsius.iter().sum::<f64>() / celsius.len() as f64
}

fn main() -> Result<(), weave::TraceError> {
    // Without `.offline(true)` it delivers by itself; with it, `sync_offline_data`,
    // `backhaul sync` or a `backhaul serve` of the device does.
    let client = weave::init("edge_project").start()?;

    weave::attributes(serde_json::json!({"site": "buoy 7"})).run(|| {
        let mean = process_sensor_data(&[20.5, 21.0, 21.5]);
        println!("{mean} degrees");
    });

    // On disk at the latest now; what is not delivered yet waits for the next start.
    client.finish()
}
