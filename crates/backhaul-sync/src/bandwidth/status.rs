//! The budget at one moment.

use std::time::Duration;

use backhaul_store::Timestamp;

/// How the budget stands, of the device where a cap is set. Bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BandwidthStatus {
    /// The cap; `None`: there is none.
    pub limit_bytes: Option<u64>,
    /// What of it is kept for critical traffic.
    pub reserve_bytes: u64,
    /// What was counted of the present allowance, by all processes, with what others have
    /// taken ahead and what is reserved. Without a cap: what this process has counted.
    pub used_bytes: u64,
    /// Of it: reservations of this process that are open.
    pub held_bytes: u64,
    /// What is left for normal traffic; `None`: there is no cap.
    pub left_bytes: Option<u64>,
    /// What is left for critical traffic; `None`: there is no cap.
    pub left_critical_bytes: Option<u64>,
    /// When the allowance is full again. `None`: the clock is not known to be right, or
    /// there is no cap.
    pub next_refill_at: Option<Timestamp>,
    /// When something of what is used comes back, in power-on time where the clock is not
    /// known to be right. `None`: nothing has to.
    pub next_refill_in: Option<Duration>,
    /// The rate in kilobits (10^3 bits) a second; `None`: there is no limit.
    pub rate_limit_kbps: Option<u64>,
    /// Whether the clock is known to be right. While it is not, bytes come back a day (a
    /// month) of power-on time after they were counted.
    pub clock_is_known: bool,
    /// Why nothing can be counted; `None`: all is well.
    pub trouble: Option<String>,
}
