//! Logs calls without a network or a login, and delivers them once there is both.
//!
//! ```sh
//! cargo run --example weave_quick_start                          # keeps what it logged
//! WANDB_API_KEY=… cargo run --example weave_quick_start          # delivers it, too
//! ```

#![allow(clippy::print_stdout, reason = "it says what it does")]

use backhaul::weave::{self, Kind, SyncArguments};

#[weave::op]
fn my_function(x: i64, y: i64) -> i64 {
    x + y
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), weave::TraceError> {
    weave::init("my_team/my_project").offline(true).offline_dir("./offline_data").start()?;

    let result = my_function(3, 4);
    println!("my_function(3, 4) = {result}, logged to ./offline_data");

    // Back online. Left out, the project is any, and the folder ~/.weave/offline.
    let results = weave::sync_offline_data(SyncArguments {
        offline_dir: Some("./offline_data".into()),
        project_name: Some("my_team/my_project".into()),
        ..SyncArguments::default()
    });
    match results.await {
        Ok(results) => println!("Synced {} calls", results["my_team/my_project"][&Kind::Calls].0),
        Err(error) => println!("Kept for later: {error}"),
    }
    Ok(())
}
