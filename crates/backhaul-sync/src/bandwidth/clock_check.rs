//! Whether the wall clock is right.

use std::fmt;
use std::time::Duration;

/// Tells whether the wall clock is known to be right. Devices use [`KernelClock`]; tests
/// answer what they like.
///
/// ```
/// use backhaul_sync::ClockCheck;
/// use std::time::Duration;
///
/// /// A device with a clock of its own that never fails.
/// #[derive(Debug)]
/// struct GoodClock;
///
/// impl ClockCheck for GoodClock {
///     fn max_error(&self) -> Option<Duration> {
///         Some(Duration::from_secs(1))
///     }
/// }
/// ```
pub trait ClockCheck: Send + Sync + fmt::Debug {
    /// How far the wall clock may be off at most. `None`: nobody knows. Called often; it
    /// should take no longer than a look at the clock.
    fn max_error(&self) -> Option<Duration>;
}

/// Asks the kernel whether it is synchronised (adjtimex(2)).
///
/// Whatever keeps the time (chrony, ntpd, systemd-timesyncd, a PTP or GPS daemon) tells
/// the kernel, which clears `STA_UNSYNC` and keeps an upper bound of the error. The kernel
/// sets the flag again as soon as somebody sets the clock by hand, and by itself when the
/// bound, which grows by 500 µs a second, passes 16 s: about nine hours after the last
/// word of a time server. Where the kernel cannot be asked nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelClock;

impl ClockCheck for KernelClock {
    #[cfg(target_os = "linux")]
    fn max_error(&self) -> Option<Duration> {
        // SAFETY: the struct is made of integers, for which zeros are valid. With `modes`
        // at 0 the call changes nothing and fills the struct, which outlives it.
        #[expect(unsafe_code, reason = "no safe crate offers adjtimex(2)")]
        let (answer, kernel) = unsafe {
            let mut kernel: libc::timex = std::mem::zeroed();
            (libc::adjtimex(&raw mut kernel), kernel)
        };
        if answer < 0 || kernel.status & (libc::STA_UNSYNC | libc::STA_CLOCKERR) != 0 {
            return None;
        }
        u64::try_from(kernel.maxerror).ok().map(Duration::from_micros)
    }

    #[cfg(not(target_os = "linux"))]
    fn max_error(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_never_synchronised_and_further_off_than_its_own_bound() {
        let bound = Duration::from_secs(17);
        assert!(KernelClock.max_error().is_none_or(|error| error < bound));
    }
}
