//! What becomes of a record that no data cap holds.

use std::fmt;

/// What is done for a record that is larger than a whole allowance of the data cap. In
/// any case it waits, is reported, and is tried again every hour: it goes once the cap is
/// raised or removed.
///
/// ```
/// use backhaul_sync::{Oversized, SyncOptions};
///
/// let options = SyncOptions { oversized: Oversized::Summary, ..SyncOptions::default() };
/// assert_eq!(options.oversized.name(), "summary");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Oversized {
    /// No more than that.
    #[default]
    Wait,
    /// A summary of it is sent meanwhile, once, where one can be made
    /// ([`SyncManager::summarize_with`](crate::SyncManager::summarize_with)).
    Summary,
}

impl Oversized {
    /// All that can be done.
    pub const ALL: [Oversized; 2] = [Oversized::Wait, Oversized::Summary];

    /// The name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Oversized::Wait => "wait",
            Oversized::Summary => "summary",
        }
    }
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
