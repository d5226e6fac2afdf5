//! The courier of a spool of run records, for the commands that deliver.

use std::sync::Arc;

use crate::config::OfflineConfig;
use backhaul_agent::{CloudRunLogger, describe_run, summarize_run};
use backhaul_store::Spool;
use backhaul_sync::{SyncManager, SyncOptions};

/// A courier to a hub that sends first what the rules say.
pub(crate) fn of_runs(
    spool: Spool,
    hub: Arc<CloudRunLogger>,
    config: &OfflineConfig,
    options: SyncOptions,
) -> anyhow::Result<SyncManager> {
    let courier = SyncManager::new(spool, hub, options)?;
    courier.describe_entries(describe_run);
    courier.summarize_with(summarize_run);
    Ok(match config.prioritizer()? {
        Some(prioritizer) => courier.with_prioritizer(prioritizer),
        None => courier,
    })
}
