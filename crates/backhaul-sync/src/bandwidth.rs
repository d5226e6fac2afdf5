//! The data cap: how much may leave the device until the next refill, and how fast.
//!
//! [`BandwidthManager`] says what holds and what does not. How it is made to hold is in
//! `account.rs` (who may take what), `spending.rs` (what is forgotten when), `timeline.rs`
//! (what time is proved) and `usage_files.rs` (how it is kept).
//!
//! The file's format is in `docs/format.md`.

mod account;
mod amount;
mod clock_check;
mod denied;
mod lease;
mod limits;
mod moment;
mod options;
mod rate;
mod refill;
mod reservation;
mod shared;
mod spending;
mod status;
mod time_source;
mod timeline;
mod trouble;
mod usage;
mod usage_files;
mod wire;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock, Disk, OsDisk, SystemClock, Timestamp};
use tokio::time::Instant;

use crate::options::OptionError;
use rate::Rate;
use shared::Shared;

pub use amount::Criticality;
pub use clock_check::{ClockCheck, KernelClock};
pub use denied::Denied;
pub use options::BandwidthOptions;
pub use refill::Refill;
pub use reservation::Reservation;
pub use status::BandwidthStatus;
pub use wire::{CONNECTION_BYTES, wire_bytes};

/// A kilobyte is a thousand bytes.
const KILOBYTE: u64 = 1000;

/// The device's data budget. Cheap to clone; all clones are one. All processes that use
/// one folder share one cap; give them the same options.
///
/// Calls that reserve, count or ask may wait for the disk, some milliseconds about once in
/// a megabyte: from async code make them where that is allowed. Without a cap nothing is
/// written at all.
///
/// When the last clone is dropped, what was taken ahead is given back. A forked child
/// begins with nothing of its parent's.
///
/// # What holds
/// - **The cap.** From one refill to the next, by true time, no more is counted than the
///   limit, by all processes of the device together; other traffic than critical leaves
///   the reserve alone. Reboots, kills, power cuts and clocks that jump change nothing.
///   What is recorded without being reserved ([`BandwidthManager::record_sent`]) is
///   counted and not stopped, and can pass the limit.
/// - **A refill has to be proved.** The wall clock counts only while it is known to be
///   right: the kernel says that it is synchronised ([`KernelClock`]), or a server's date
///   agreed with it in this boot ([`BandwidthManager::note_server_date`]); from then on
///   until the reboot true time is counted from there, however the wall clock jumps.
///   While it is not known, bytes come back when so much power-on time has passed that
///   there was a refill in it for sure: a day after they were counted (a month, with a
///   monthly refill), or the time that was left until the refill where it was known
///   when they were counted. Power-on time is counted with the monotonic clock and summed
///   over boots. A refill is never later than that either, whatever the wall clock says:
///   not in 1970 and not in 2036.
/// - **The disk never says less than what was sent.** A process takes a piece of the
///   allowance ahead, durably, before it uses it. What a process that dies has not used of
///   its pieces is wasted: at most 64 KB, or as much as it had counted since it began, and
///   never more than a hundredth of the limit or 1 MB; for normal and critical traffic
///   each. What it had reserved counts as sent.
/// - **Damage refills nothing.** The file stands twice. Either copy alone serves; where
///   both are damaged the whole allowance counts as used.
///
/// # What does not hold
/// - Who removes both copies of the file, or puts back a backup of them, while no process
///   runs, has what was counted since back. A process that runs notices.
/// - A clock that is *known* to be right and is wrong refills wrongly, once.
/// - Of a boot whose clock is not known and that is cut short, the time up to the last
///   update is proved: they come after one, two, four, eight minutes and then every quarter
///   of an hour, while a refill depends on it. The time between boots never is.
/// - The rate is each process's own.
///
/// # Example
/// ```
/// use backhaul_sync::{BandwidthManager, BandwidthOptions, Criticality, Denied};
///
/// # let dir = std::env::temp_dir().join(format!("backhaul-bandwidth-doc-{}", std::process::id()));
/// let options = BandwidthOptions {
///     daily_limit_mb: Some(100),
///     rate_limit_kbps: Some(50),
///     priority_reserve_mb: 20,
///     ..BandwidthOptions::default()
/// };
/// let budget = BandwidthManager::new(&dir, options)?;
/// assert!(budget.can_send(500));
///
/// // Before a batch: the most that it can come to. Afterwards: what it came to.
/// let reservation = budget.reserve(80_000_000, Criticality::Normal)?;
/// reservation.commit(80_000_000);
///
/// // The rest is for critical records.
/// let denied = budget.reserve(500_000, Criticality::Normal).unwrap_err();
/// assert!(matches!(denied, Denied::Reserve { left: 0, .. }));
/// assert!(budget.can_send_as(500_000, Criticality::Critical));
/// assert_eq!(budget.status().left_critical_bytes, Some(20_000_000));
/// # drop(budget);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BandwidthManager {
    shared: Arc<Shared>,
    rate: Option<Arc<Pacer>>,
}

/// The rate, on tokio's clock.
#[derive(Debug)]
struct Pacer {
    start: Instant,
    rate: Mutex<Rate>,
}

impl BandwidthManager {
    /// A budget whose usage file is in `dir`, a folder of its own (`<data dir>/bandwidth`).
    /// Nothing is read or written yet; what the disk refuses later shows as
    /// [`Denied::Storage`] and in [`BandwidthStatus::trouble`].
    ///
    /// # Errors
    /// When an option makes no sense.
    pub fn new(dir: impl AsRef<Path>, options: BandwidthOptions) -> Result<Self, OptionError> {
        let (disk, clock) = (Arc::new(OsDisk), Arc::new(SystemClock::new()));
        Self::new_on(dir, options, disk, clock, Arc::new(KernelClock))
    }

    /// The same on other disks and clocks.
    ///
    /// # Errors
    /// When an option makes no sense.
    pub fn new_on(
        dir: impl AsRef<Path>,
        options: BandwidthOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        check: Arc<dyn ClockCheck>,
    ) -> Result<Self, OptionError> {
        options.check()?;
        let rate = options.bytes_per_second().map(|bytes_per_second| {
            Arc::new(Pacer { start: Instant::now(), rate: Mutex::new(Rate::new(bytes_per_second)) })
        });
        let shared = Shared::new(dir.as_ref().to_owned(), options, disk, clock, check);
        Ok(Self { shared: Arc::new(shared), rate })
    }

    /// Whether `size_kb` kilobytes (10^3 bytes) of normal traffic could be reserved now.
    /// It speaks of the cap alone; the rate only slows down.
    pub fn can_send(&self, size_kb: u64) -> bool {
        self.can_send_as(size_kb.saturating_mul(KILOBYTE), Criticality::Normal)
    }

    /// Whether so many bytes could be reserved now. False too where nothing can be counted.
    pub fn can_send_as(&self, bytes: u64, criticality: Criticality) -> bool {
        self.shared.can_send(bytes, criticality)
    }

    /// Sets bytes aside for something that is about to be sent: the most that it can come
    /// to on the wire, both ways.
    ///
    /// # Errors
    /// [`Denied`] says what is in the way, how much is left and when more may be there.
    /// Nothing is reserved then.
    pub fn reserve(&self, bytes: u64, criticality: Criticality) -> Result<Reservation, Denied> {
        self.shared.reserve(bytes, criticality)?;
        Ok(Reservation::new(Arc::clone(&self.shared), criticality, bytes))
    }

    /// Counts bytes that were sent without being reserved, as normal traffic: model calls,
    /// say. It stops nothing, and can pass the limit.
    ///
    /// ```
    /// use backhaul_sync::{BandwidthManager, BandwidthOptions};
    ///
    /// # let dir = std::env::temp_dir().join(format!("backhaul-record-doc-{}", std::process::id()));
    /// let options = BandwidthOptions { daily_limit_mb: Some(1), ..BandwidthOptions::default() };
    /// let budget = BandwidthManager::new(&dir, options)?;
    /// budget.record_sent(900_000);
    /// budget.record_received(200_000);
    /// assert_eq!(budget.status().used_bytes, 1_100_000);
    /// assert!(!budget.can_send(1));
    /// # drop(budget);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_sent(&self, bytes: u64) {
        self.shared.count(Criticality::Normal, bytes);
    }

    /// Counts bytes that were received, as [`record_sent`](BandwidthManager::record_sent) does.
    pub fn record_received(&self, bytes: u64) {
        self.shared.count(Criticality::Normal, bytes);
    }

    /// Tells what time it is by a server: the `Date` header of an answer that came just
    /// now, over TLS and past all caches. Where it agrees with the wall clock within five
    /// minutes, the clock is known to be right until the reboot. True: it agrees.
    ///
    /// ```
    /// # use backhaul_sync::{BandwidthManager, BandwidthOptions};
    /// use backhaul_store::Timestamp;
    /// # let dir = std::env::temp_dir().join("backhaul-date-doc-never-made");
    /// let budget = BandwidthManager::new(&dir, BandwidthOptions::default())?;
    /// assert!(!budget.note_server_date(Timestamp::from_micros(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn note_server_date(&self, date: Timestamp) -> bool {
        self.shared.note_server_date(date)
    }

    /// Gives back what was taken ahead and not needed for five minutes, and writes down
    /// power-on time where a refill depends on it. Call it every minute or so; most
    /// calls write nothing.
    pub fn maintain(&self) {
        self.shared.maintain();
    }

    /// How things stand. Reads the usage file, and may write it as
    /// [`maintain`](BandwidthManager::maintain) does.
    pub fn status(&self) -> BandwidthStatus {
        self.shared.status()
    }

    /// Waits until so many bytes may go at the rate; returns at once where there is none.
    ///
    /// Over any ten seconds the rate is kept within 5 %, if bytes are handed to the
    /// network in pieces of at most [`burst_bytes`](BandwidthManager::burst_bytes), each
    /// after its wait. A larger piece waits until its last byte may go. Callers are let
    /// through in the order in which they asked. Dropping the future loses its turn, as
    /// if the bytes had been sent.
    ///
    /// ```
    /// use backhaul_sync::{BandwidthManager, BandwidthOptions};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    /// # runtime.block_on(async {
    /// # let dir = std::env::temp_dir().join("backhaul-pace-doc-never-made");
    /// let options = BandwidthOptions { rate_limit_kbps: Some(50), ..BandwidthOptions::default() };
    /// let budget = BandwidthManager::new(&dir, options)?;
    /// let body = vec![0; 500_000];
    /// let began = tokio::time::Instant::now();
    /// for piece in body.chunks(budget.burst_bytes().min(64_000) as usize) {
    ///     budget.pace(piece.len() as u64).await;
    ///     // Send the piece.
    /// }
    /// assert_eq!(began.elapsed().as_secs(), 79);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn pace(&self, bytes: u64) {
        let Some(pacer) = &self.rate else { return };
        let (now, wait) = pacer.take(bytes);
        if !wait.is_zero() {
            let at = pacer.start.checked_add(now.saturating_add(wait));
            // Past the end of the clock's range: longer than anybody waits.
            let at =
                at.unwrap_or_else(|| Instant::now() + Duration::from_secs(u64::from(u32::MAX)));
            tokio::time::sleep_until(at).await;
        }
    }

    /// Has bytes count for the rate that did not wait for it, such as an answer: what is paced
    /// next waits for them too.
    pub fn note_unpaced(&self, bytes: u64) {
        if let Some(pacer) = &self.rate {
            pacer.take(bytes);
        }
    }

    /// How long [`pace`](BandwidthManager::pace) would wait for so many bytes now. Takes nothing.
    pub fn wait_for(&self, bytes: u64) -> Duration {
        self.rate
            .as_ref()
            .map_or(Duration::ZERO, |pacer| pacer.rate().wait(pacer.start.elapsed(), bytes))
    }

    /// The rate in bytes a second; `None`: there is no limit.
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.shared.bytes_per_second()
    }

    /// What may go at once after a pause: a quarter of a second at the rate, at least one
    /// byte. `u64::MAX`: there is no limit.
    pub fn burst_bytes(&self) -> u64 {
        self.rate.as_ref().map_or(u64::MAX, |pacer| pacer.rate().burst())
    }
}

impl Pacer {
    /// Takes bytes of the rate: what time it is, and how long they have to wait.
    fn take(&self, bytes: u64) -> (Duration, Duration) {
        let now = self.start.elapsed();
        (now, self.rate().take(now, bytes))
    }

    fn rate(&self) -> std::sync::MutexGuard<'_, Rate> {
        // A panic elsewhere leaves it as it was.
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
