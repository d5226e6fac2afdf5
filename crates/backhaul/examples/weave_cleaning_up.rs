//! Deletes what was delivered a week ago and longer. What was not delivered stays.

#![allow(clippy::print_stdout, reason = "it says what it does")]

use backhaul::weave::{self, OfflineDataSyncer};

fn main() -> Result<(), weave::TraceError> {
    // The server and the key of the environment: WANDB_BASE_URL, WANDB_API_KEY.
    let remote_server = weave::init_weave_get_server(None)?;
    let syncer = OfflineDataSyncer::new(remote_server, "./offline_data")?;

    let deleted_count = syncer.clean_synced_files(7)?;
    println!("Deleted {deleted_count} old synced files");
    Ok(())
}
