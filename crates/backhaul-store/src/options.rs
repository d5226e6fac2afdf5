//! How a spool behaves. Every value has a default that suits a device.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::record::Flush;
use crate::shared_cap::SharedCap;

/// How records stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One JSON file per record, in `pending/`, `synced/` and `failed/`. For
    /// records that people read and move, up to about 100,000 of them.
    Folder,
    /// Rotating JSON Lines, `YYYYMMDD_0000.jsonl.gz`, or `YYYYMMDD_0000.jsonl` where they
    /// are not compressed. For everything at a high rate.
    Segments,
}

/// What happens to a new record when the cap is reached and no delivered data is
/// left to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The new record is refused with [`ErrorKind::Full`]. Nothing stored is touched.
    #[default]
    Reject,
    /// The oldest waiting records make room; critical ones last.
    DropOldest,
    /// Waiting records of the least urgent lane make room, oldest first; never a
    /// lane more urgent than the new record's.
    DropLowestPriority,
}

impl WhenFull {
    /// All policies.
    pub const ALL: [WhenFull; 3] =
        [WhenFull::Reject, WhenFull::DropOldest, WhenFull::DropLowestPriority];

    /// The policy's name: `reject`, `drop-oldest` or `drop-lowest-priority`.
    pub fn name(self) -> &'static str {
        match self {
            WhenFull::Reject => "reject",
            WhenFull::DropOldest => "drop-oldest",
            WhenFull::DropLowestPriority => "drop-lowest-priority",
        }
    }
}

/// Settings of a spool. Sizes are bytes.
///
/// ```
/// use backhaul_store::{Options, WhenFull};
/// let options = Options { max_bytes: Some(100_000_000), when_full: WhenFull::DropOldest, ..Options::default() };
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How a new spool is laid out; an existing one keeps its layout. Default: segments.
    pub layout: Layout,
    /// Whether new segments are gzip files, `.jsonl.gz`, or plain JSON Lines, `.jsonl`, which
    /// take several times the room. A spool may hold both, and reads both. The folder layout
    /// compresses nothing. Default: on.
    pub compress: bool,
    /// What an acknowledgement promises. Default: [`Flush::Always`].
    pub flush: Flush,
    /// The cap on everything in the spool's folder; `None`: only the free-space floor. Default: none.
    pub max_bytes: Option<u64>,
    /// A cap on this and other spools together, beside the spool's own. Default: none.
    pub shared_cap: Option<SharedCap>,
    /// What gives way at the cap. Default: reject.
    pub when_full: WhenFull,
    /// Free bytes to leave on the file system. Default: 10 MB, as memfaultd leaves.
    pub min_free_bytes: u64,
    /// Free inodes to leave on the file system. Default: 100, as memfaultd leaves.
    pub min_free_inodes: u64,
    /// The largest body. Default: 32 MiB, more than a Weave server takes in one request.
    pub max_record_bytes: usize,
    /// A segment is closed at this size on disk. Default: 16 MiB.
    pub segment_bytes: u64,
    /// The first pre-written stretch of a segment, which doubles up to
    /// `segment_bytes`. Default: 256 KiB.
    pub first_extent_bytes: u64,
    /// Delivered data is kept this long. Default: 7 days.
    pub keep_delivered_for: Duration,
    /// Delivered data is kept up to this share of the cap (0 to 1). Default: a tenth.
    pub keep_delivered_share: f64,
    /// Whether neither age nor a full spool removes records before [`Spool::release`]
    /// says that another reader has done with them. Default: off.
    ///
    /// [`Spool::release`]: crate::Spool::release
    pub keep_until_released: bool,
    /// Whether files that are no segments, though they are called so, stay where they are,
    /// for whoever knows what they are. Default: off; they are put in quarantine.
    pub leave_foreign_files: bool,
    /// Whether a background thread maintains the spool. Tests turn it off and call
    /// [`Spool::maintain`](crate::Spool::maintain). Default: on.
    pub maintenance_thread: bool,
    /// The epoch is redrawn when this evidence of the machine changes. Default:
    /// what the host says of itself (see [`machine_evidence`](crate::machine_evidence)),
    /// and the inode of the spool's state folder, which a copy does not share.
    pub machine: Option<String>,
    /// A test-only seam: readers skip the CRC of what they read.
    #[doc(hidden)]
    pub sabotage_skip_checksums: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            layout: Layout::Segments,
            compress: true,
            flush: Flush::Always,
            max_bytes: None,
            shared_cap: None,
            when_full: WhenFull::Reject,
            min_free_bytes: 10_000_000,
            min_free_inodes: 100,
            max_record_bytes: 32 << 20,
            segment_bytes: 16 << 20,
            first_extent_bytes: 256 << 10,
            keep_delivered_for: Duration::from_secs(7 * 24 * 3600),
            keep_delivered_share: 0.1,
            keep_until_released: false,
            leave_foreign_files: false,
            maintenance_thread: true,
            machine: None,
            sabotage_skip_checksums: false,
        }
    }
}

/// The smallest cap: below it not even the spool's own files fit.
pub const MIN_CAP_BYTES: u64 = 64 << 10;

impl Options {
    /// Most bytes of free pages to write ahead: a small cap makes them fewer.
    pub(crate) fn largest_extent(&self) -> u64 {
        let share = self.max_bytes.map_or(u64::MAX, |max| max / 16);
        self.segment_bytes.min(share).max(4096)
    }

    pub(crate) fn keep_delivered_us(&self) -> i64 {
        i64::try_from(self.keep_delivered_for.as_micros()).unwrap_or(i64::MAX)
    }

    /// Checks that the values make sense together.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the value, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if let Some(max) = self.max_bytes.filter(|&max| max < MIN_CAP_BYTES) {
            return bad(format!(
                "max_bytes is {max}: expected at least {MIN_CAP_BYTES}, or none for no cap"
            ));
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > (1 << 30) {
            return bad(format!(
                "max_record_bytes is {}: expected 1 to 2^30",
                self.max_record_bytes
            ));
        }
        if self.segment_bytes < (16 << 10) || self.segment_bytes > (1 << 30) {
            return bad(format!(
                "segment_bytes is {}: expected 16 KiB to 1 GiB",
                self.segment_bytes
            ));
        }
        if !(0.0..=1.0).contains(&self.keep_delivered_share) {
            return bad(format!(
                "keep_delivered_share is {}: expected 0 to 1",
                self.keep_delivered_share
            ));
        }
        if self.first_extent_bytes == 0 {
            return bad("first_extent_bytes is 0: expected at least one page (4096)".to_owned());
        }
        Ok(())
    }
}
