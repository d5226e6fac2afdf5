//! Bytes, by how much they matter.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// Whether traffic may use the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Criticality {
    /// It leaves the reserve alone.
    #[default]
    Normal,
    /// It may use the whole allowance.
    Critical,
}

impl Criticality {
    /// The name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Criticality::Normal => "normal",
            Criticality::Critical => "critical",
        }
    }
}

impl fmt::Display for Criticality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes of both kinds. Sums and differences stop at the ends of their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) normal: u64,
    pub(crate) critical: u64,
}

impl Amount {
    pub(crate) fn of(kind: Criticality, bytes: u64) -> Self {
        match kind {
            Criticality::Normal => Self { normal: bytes, critical: 0 },
            Criticality::Critical => Self { normal: 0, critical: bytes },
        }
    }

    pub(crate) fn get(self, kind: Criticality) -> u64 {
        match kind {
            Criticality::Normal => self.normal,
            Criticality::Critical => self.critical,
        }
    }

    /// Only what is of this kind.
    pub(crate) fn only(self, kind: Criticality) -> Self {
        Self::of(kind, self.get(kind))
    }

    pub(crate) fn total(self) -> u64 {
        self.normal.saturating_add(self.critical)
    }

    pub(crate) fn is_zero(self) -> bool {
        self.total() == 0
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            normal: self.normal.saturating_add(other.normal),
            critical: self.critical.saturating_add(other.critical),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            normal: self.normal.saturating_sub(other.normal),
            critical: self.critical.saturating_sub(other.critical),
        }
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
