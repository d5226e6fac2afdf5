//! What checks cost, against a data cap.

use std::sync::Arc;

use super::probe::{ProbeBytes, ProbeError, ProbeErrorKind};
use crate::bandwidth::{BandwidthManager, Criticality, Reservation};
use crate::blocking::blocking;

/// What is set aside for a question to one address: a handshake with a long chain of
/// certificates, a head and a body as large as they are read, and as much again for one
/// redirect. Most cost a kilobyte or two.
const MOST: u64 = 64_000;

/// A part of the data cap that a check may use. When that is over, however it ends, what the
/// check has put on the wire is counted, and the rest given back.
pub(super) struct Spending {
    reservation: Option<Reservation>,
    bytes: Arc<ProbeBytes>,
    before: u64,
}

impl Spending {
    /// Sets aside what a check may come to, as critical traffic: as long as a critical record
    /// may go, it has to be known whether there is a link.
    ///
    /// # Errors
    /// [`ProbeErrorKind::Cap`] where there is not so much left.
    pub(super) async fn begin(
        budget: BandwidthManager,
        bytes: &Arc<ProbeBytes>,
    ) -> Result<Self, ProbeError> {
        let reserved = blocking(move || budget.reserve(MOST, Criticality::Critical)).await;
        match reserved {
            Some(Ok(reservation)) => Ok(Self {
                reservation: Some(reservation),
                bytes: Arc::clone(bytes),
                before: bytes.total(),
            }),
            Some(Err(denied)) => Err(ProbeError::new(ProbeErrorKind::Cap, denied.to_string())),
            None => Err(ProbeError::new(ProbeErrorKind::Cap, "it cannot be asked")),
        }
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.commit(self.bytes.total().saturating_sub(self.before));
        }
    }
}
