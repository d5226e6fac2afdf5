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

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        // A reason counts for who has something that waits.
        let [one, other_one] =
            [&self, &other].map(|it| it.reason.clone().filter(|_| it.records > 0));
        Self { records: self.records + other.records, reason: one.or(other_one) }
    }
}
