//! What the intake of `backhaul serve` is told.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use backhaul_store::MIN_CAP_BYTES;
use backhaul_sync::OptionError;

use super::byte_size::ByteSize;
use super::value::{ListenAddress, SecretPlace};

/// Each connection costs about 20 KB, and one file of the usual limit of 1,024.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// From the end of the head to the end of the answer. A full body takes this long
/// at 430 kbps; slower links have to send smaller batches.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Longer than a client retries by itself, and a week of keys at one a second takes
/// 60 MB of disk.
const REMEMBER_KEYS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Settings of the intake.
#[derive(Debug, Clone, PartialEq)]
pub struct HubConfig {
    /// Where to listen. Default: `127.0.0.1:7117`.
    pub listen: ListenAddress,
    /// The token that clients have to send. Default: none, which only this machine's own
    /// addresses allow.
    pub token: SecretPlace,
    /// The most that the received records may take on disk; at least 64 KiB. Default: as
    /// long as the disk has room.
    pub cap: Option<ByteSize>,
    /// Connections at one moment; the next ones wait in the listener's queue. Default:
    /// 1,000.
    pub max_connections: NonZeroUsize,
    /// The most records to store in a second; senders beyond that get places in time.
    /// Default: as many as come.
    pub records_per_second: Option<NonZeroU32>,
    /// How long one request may take. Default: 10 minutes.
    pub request_timeout: Duration,
    /// How long the keys of clients that are no backhauls are remembered. Default: 7 days.
    pub remember_keys: Duration,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            listen: ListenAddress::default(),
            token: SecretPlace::default(),
            cap: None,
            max_connections: MAX_CONNECTIONS,
            records_per_second: None,
            request_timeout: REQUEST_TIMEOUT,
            remember_keys: REMEMBER_KEYS,
        }
    }
}

impl HubConfig {
    /// Checks that the values make sense.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        if let Some(cap) = self.cap.filter(|cap| cap.0 < MIN_CAP_BYTES) {
            return Err(OptionError::new("cap", cap.exact(), "at least 65536 bytes"));
        }
        for (option, time) in
            [("request_timeout", self.request_timeout), ("remember_keys", self.remember_keys)]
        {
            if time.is_zero() {
                return Err(OptionError::new(option, "0s".to_owned(), "more than no time"));
            }
        }
        Ok(())
    }
}
