//! Why something may not be sent now.

use std::fmt;
use std::time::Duration;

use super::amount::Criticality;

/// What is in the way of a reservation. Nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// The cap: less is left than was asked for.
    Cap {
        /// Bytes that are left for traffic of this kind.
        left: u64,
        /// When enough may be there. Where the clock is not known to be right it is
        /// power-on time, and may turn out shorter. `None`: other processes have taken
        /// what is left, and may give it back at any time.
        refill_in: Option<Duration>,
    },
    /// The reserve: what is left is kept for critical traffic.
    Reserve {
        /// Bytes that are left for normal traffic.
        left: u64,
        /// When enough may be there, as for [`Denied::Cap`].
        refill_in: Option<Duration>,
    },
    /// It is more than a whole allowance: waiting does not help.
    NeverFits {
        /// The most that traffic of this kind can ever reserve.
        most: u64,
        /// Whether it would fit as critical traffic.
        fits_as: Option<Criticality>,
    },
    /// It cannot be counted, because the usage file cannot be read or written.
    Storage {
        /// Why, for people.
        reason: String,
    },
}

impl Denied {
    /// The name of what is in the way, lower case with underscores.
    pub fn name(&self) -> &'static str {
        match self {
            Denied::Cap { .. } => "cap",
            Denied::Reserve { .. } => "reserve",
            Denied::NeverFits { .. } => "never_fits",
            Denied::Storage { .. } => "storage",
        }
    }

    /// When enough may be there, where that can be told.
    pub fn refill_in(&self) -> Option<Duration> {
        match self {
            Denied::Cap { refill_in, .. } | Denied::Reserve { refill_in, .. } => *refill_in,
            Denied::NeverFits { .. } | Denied::Storage { .. } => None,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denied::Cap { left, .. } => {
                write!(f, "the data cap is reached: {left} bytes are left")?;
            }
            Denied::Reserve { left, .. } => {
                write!(
                    f,
                    "the rest of the data cap is kept for critical records: {left} bytes are left for others"
                )?;
            }
            Denied::NeverFits { most, fits_as } => {
                write!(f, "it is larger than the {most} bytes that the data cap ever allows")?;
                if let Some(kind) = fits_as {
                    write!(f, ", and would fit as {kind}")?;
                }
            }
            Denied::Storage { reason } => write!(f, "the data cap cannot be counted: {reason}")?,
        }
        match self.refill_in() {
            Some(wait) => {
                write!(f, ", more may be there in {} minutes", wait.as_secs().div_ceil(60))
            }
            None => Ok(()),
        }
    }
}

impl std::error::Error for Denied {}
