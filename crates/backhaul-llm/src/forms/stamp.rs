//! What an answer is called, and when it began.

/// What an answer is called, and when it began. Forms that want them have them from here, for
/// a model in this process has neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Unlike that of any other answer, up to 50 letters, digits, `-` and `_`: such as a UUID.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
}
