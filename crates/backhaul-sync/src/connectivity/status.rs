//! What a monitor says of itself.

use backhaul_store::Timestamp;

use super::probe::ProbeError;
use super::state::Connectivity;

/// A monitor at one moment. Times are the device's wall clock's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectivityStatus {
    /// What is known of the link.
    pub state: Connectivity,
    /// Since when, where it was ever another.
    pub since: Option<Timestamp>,
    /// Whether the state was set by hand.
    pub is_forced: bool,
    /// Whether the monitor runs.
    pub is_running: bool,
    /// When a check last came to its end.
    pub last_probe_at: Option<Timestamp>,
    /// When the next check is due. `None`: none is, or one is under way.
    pub next_probe_at: Option<Timestamp>,
    /// What was wrong with the last check; none where it went well. Where any address
    /// will do, it is the first one's.
    pub last_error: Option<ProbeError>,
    /// Checks that came to their ends.
    pub probes: u64,
    /// Bytes that checks put on the wire, both ways: TCP's payload as it was counted, TLS
    /// included, and estimates of headers and name lookups.
    pub bytes: u64,
}
