//! Certificates, and what it means when one does not count.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::Clock;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::probe::{ProbeError, ProbeErrorKind};
use crate::causes::with_causes;
use crate::tls::{is_the_clocks_fault, tls_error};

/// The device's wall clock, by which certificates count.
#[derive(Debug)]
pub(super) struct WallClock(pub(super) Arc<dyn Clock>);

impl WallClock {
    fn micros(&self) -> i64 {
        self.0.now().wall.as_micros()
    }

    /// Why a handshake failed.
    pub(super) fn explain(&self, error: &io::Error) -> ProbeError {
        let now = self.0.now().wall;
        let is_clock = tls_error(error).is_some_and(|error| is_the_clocks_fault(error, now));
        let kind = if is_clock { ProbeErrorKind::ClockNotSet } else { ProbeErrorKind::Tls };
        let reason = match kind {
            ProbeErrorKind::ClockNotSet => format!("it says {now}: {}", with_causes(error)),
            _ => with_causes(error),
        };
        ProbeError::new(kind, reason)
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.micros()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}
