//! Time as the store sees it: a wall clock that may be wrong, and a monotonic
//! clock that belongs to one boot.
//!
//! Order never comes from either (it comes from sequences). Ages and expiry use
//! the monotonic clock together with the boot id wherever they can, because a
//! device without a real-time clock boots in 1970 and jumps when the network
//! tells it the time.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

/// Microseconds since the Unix epoch, as the device's wall clock tells them.
///
/// May be wrong, may go backwards, is never used for order.
///
/// ```
/// use backhaul_store::Timestamp;
/// assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00Z");
/// assert_eq!(Timestamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.5Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z (negative: before).
    /// Values outside the years -9999 to 9999 are clamped.
    pub fn from_micros(micros: i64) -> Self {
        Self(jiff::Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        }))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn as_micros(self) -> i64 {
        self.0.as_microsecond()
    }

    /// The time since `earlier`; zero when the clock has gone backwards.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.as_micros() - earlier.as_micros()).unwrap_or(0))
    }

    /// Whether the clock that said so may have been set: 2024-01-01 or later. No machine that
    /// runs this has an earlier time but by mistake.
    ///
    /// ```
    /// use backhaul_store::Timestamp;
    /// assert!(!Timestamp::from_micros(1_500_000).is_set());
    /// assert!(Timestamp::parse("2024-01-15T10:30:00Z").is_some_and(Timestamp::is_set));
    /// ```
    pub fn is_set(self) -> bool {
        const CLOCK_IS_SET_MICROS: i64 = 1_704_067_200_000_000;
        self.as_micros() >= CLOCK_IS_SET_MICROS
    }

    /// Reads an RFC 3339 time such as `2024-01-15T10:30:00.123456+00:00`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// The UTC day as `YYYYMMDD`, for file names.
    pub fn day(self) -> String {
        self.0.strftime("%Y%m%d").to_string()
    }

    /// The UTC second in a form that every file system takes: `2024-01-15T10-30-00Z`.
    pub fn file_name_second(self) -> String {
        self.0.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a clock says at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since this boot, suspended time included.
    pub since_boot: Duration,
}

/// Where the store takes the time from. Tests move it; devices use [`SystemClock`].
pub trait Clock: Send + Sync + fmt::Debug {
    /// Both clocks, read together.
    fn now(&self) -> Moment;
    /// Identifies this boot; monotonic stamps compare only within one.
    fn boot_id(&self) -> &str;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Default)]
pub struct SystemClock(());

/// From the kernel, once; a random one stands in where it has none.
static BOOT_ID: LazyLock<String> = LazyLock::new(|| {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|_| uuid::Uuid::new_v4().to_string())
});

impl SystemClock {
    /// A handle on them, which costs nothing.
    pub fn new() -> Self {
        Self(())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment {
            wall: Timestamp(jiff::Timestamp::now()),
            since_boot: Duration::new(
                u64::try_from(boot.tv_sec).unwrap_or(0),
                u32::try_from(boot.tv_nsec).unwrap_or(0),
            ),
        }
    }

    fn boot_id(&self) -> &str {
        &BOOT_ID
    }
}
