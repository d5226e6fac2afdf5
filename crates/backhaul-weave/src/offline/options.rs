//! How a folder of Weave's data behaves.

use std::path::Path;
use std::time::Duration;

use backhaul_store::{Disk, Layout, Options};

use crate::error::{TraceError, TraceErrorKind};

/// Settings of an [`OfflineTraceServer`](crate::OfflineTraceServer). Sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineOptions {
    /// A file is closed at this size on disk. Default: 100 MB. 16 KiB to 1 GiB.
    pub max_file_size: u64,
    /// Whether new files are gzip, `.jsonl.gz`, or plain JSON lines, `.jsonl`. A folder may
    /// hold both. Default: on.
    pub compress: bool,
    /// What is left free on the file system; `None`: the larger of 200 MB and 5 % of it.
    pub min_free_bytes: Option<u64>,
    /// The rest, as of any spool.
    pub store: Options,
}

/// Least that is left free where nothing is said.
const MIN_FREE_BYTES: u64 = 200_000_000;
/// Of the file system.
const MIN_FREE_SHARE: u64 = 20;
/// The largest record: twice what a Weave server takes in one request.
const MAX_RECORD_BYTES: usize = 64 << 20;

impl Default for OfflineOptions {
    fn default() -> Self {
        Self {
            max_file_size: 100_000_000,
            compress: true,
            min_free_bytes: None,
            store: Options::default(),
        }
    }
}

impl OfflineOptions {
    /// Checks that the values make sense together.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`], naming the value, what was found and what was expected.
    pub fn check(&self) -> Result<(), TraceError> {
        self.of_spool(0)
            .check()
            .map_err(|error| TraceError::new(TraceErrorKind::InvalidInput, error.to_string()))
    }

    /// Those of each spool in a folder.
    pub(super) fn of_folder(&self, disk: &dyn Disk, dir: &Path) -> Options {
        let total = || disk.space(dir).map_or(0, |space| space.total_bytes);
        let floor = || MIN_FREE_BYTES.max(total() / MIN_FREE_SHARE);
        self.of_spool(self.min_free_bytes.unwrap_or_else(floor))
    }

    fn of_spool(&self, min_free_bytes: u64) -> Options {
        Options {
            layout: Layout::Segments,
            segment_bytes: self.max_file_size,
            compress: self.compress,
            min_free_bytes,
            max_record_bytes: MAX_RECORD_BYTES,
            // Until somebody cleans.
            keep_delivered_for: Duration::MAX,
            ..self.store.clone()
        }
    }
}
