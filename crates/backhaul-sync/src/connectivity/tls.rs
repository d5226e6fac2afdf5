//! Certificates, and what it means when one does not count.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::Clock;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::probe::{ProbeError, ProbeErrorKind};
use crate::causes::with_causes;

/// From 2026, when this was written, to 2076: a clock that says anything else is wrong.
const PLAUSIBLE_MICROS: std::ops::Range<i64> = 1_767_225_600_000_000..3_345_062_400_000_000;

/// The device's wall clock, by which certificates count.
#[derive(Debug)]
pub(super) struct WallClock(pub(super) Arc<dyn Clock>);

impl WallClock {
    fn micros(&self) -> i64 {
        self.0.now().wall.as_micros()
    }

    fn is_plausible(&self) -> bool {
        PLAUSIBLE_MICROS.contains(&self.micros())
    }

    /// Why a handshake failed. A certificate that does not count yet is one of the future:
    /// nobody installs such a one, so that the clock is wrong. One that has expired is
    /// expired, unless the clock is wrong anyhow.
    pub(super) fn explain(&self, error: &io::Error) -> ProbeError {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let kind = match cause {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => ProbeErrorKind::ClockNotSet,
            Some(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) if !self.is_plausible() => ProbeErrorKind::ClockNotSet,
            _ => ProbeErrorKind::Tls,
        };
        let now = self.0.now().wall;
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
