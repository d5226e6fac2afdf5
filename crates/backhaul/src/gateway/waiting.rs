//! What a gateway leaves behind.

/// Records that are stored and not delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) records: u64,
    /// What is in the way, in words.
    pub(crate) reason: Option<String>,
}

impl Waiting {
    pub(crate) fn new(records: u64, reason: Option<String>) -> Self {
        Self { records, reason }
    }
}
