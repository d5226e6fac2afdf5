//! How a folder of Weave's data behaves.

use std::path::Path;
use std::time::Duration;

use backhaul_store::{Disk, Layout, Options, SharedCap};

use crate::error::{TraceError, TraceErrorKind};

/// Settings of an [`OfflineTraceServer`](crate::OfflineTraceServer). Sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineOptions {
    /// A file is closed at this size on disk. Default: 100 MB. 16 KiB to 1 GiB.
    pub max_file_size: u64,
    /// The cap on everything in the folder; `None`: only what is left free. At the cap
    /// delivered data is removed, that of longest ago first; then `store.when_full` says
    /// what happens to a new record. Default: none. At least 1 MB.
    pub max_bytes: Option<u64>,
    /// Whether new files are gzip, `.jsonl.gz`, or plain JSON lines, `.jsonl`. A folder may
    /// hold both. Default: on.
    pub compress: bool,
    /// What is left free on the file system; `None`: the larger of 200 MB and 5 % of it.
    pub min_free_bytes: Option<u64>,
    /// The rest, as of any spool; `max_bytes` and `segment_bytes` are the above.
    pub store: Options,
}

/// The least cap: a project's files that wait to be filled take some hundred kilobytes.
const MIN_CAP_BYTES: u64 = 1_000_000;
/// Of a cap: the size of one file, so that delivered ones can make room.
const FILE_SHARE: u64 = 16;
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
            max_bytes: None,
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
        if let Some(max) = self.max_bytes.filter(|max| *max < MIN_CAP_BYTES) {
            return Err(TraceError::new(
                TraceErrorKind::InvalidInput,
                format!(
                    "max_bytes is {max}: expected at least {MIN_CAP_BYTES}, or none for no cap"
                ),
            ));
        }
        self.of_spool(0, None)
            .check()
            .map_err(|error| TraceError::new(TraceErrorKind::InvalidInput, error.to_string()))
    }

    /// What is left free on a file system of so many bytes.
    pub fn free_bytes_floor(&self, total_bytes: u64) -> u64 {
        self.min_free_bytes.unwrap_or_else(|| MIN_FREE_BYTES.max(total_bytes / MIN_FREE_SHARE))
    }

    /// Those of each spool in a folder.
    pub(super) fn of_folder(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        shared_cap: Option<SharedCap>,
    ) -> Options {
        let total = disk.space(dir).map_or(0, |space| space.total_bytes);
        self.of_spool(self.free_bytes_floor(total), shared_cap)
    }

    fn of_spool(&self, min_free_bytes: u64, shared_cap: Option<SharedCap>) -> Options {
        let share = self.max_bytes.map_or(u64::MAX, |max| max / FILE_SHARE);
        Options {
            layout: Layout::Segments,
            segment_bytes: self.max_file_size.min(share),
            max_bytes: self.max_bytes,
            shared_cap,
            compress: self.compress,
            min_free_bytes,
            max_record_bytes: MAX_RECORD_BYTES,
            // Until somebody cleans.
            keep_delivered_for: Duration::MAX,
            keep_delivered_share: 1.0,
            // The prototype's have the same names.
            leave_foreign_files: true,
            ..self.store.clone()
        }
    }
}
