//! Whether there is a link.

use std::fmt;

/// What is known of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Connectivity {
    /// Nothing is known yet: whoever wants to know has to try.
    #[default]
    Unknown,
    /// Nothing gets through.
    Offline,
    /// What is sent gets through.
    Online,
}

impl Connectivity {
    /// Whether it is known that there is a link.
    pub fn is_online(self) -> bool {
        self == Connectivity::Online
    }

    /// The state's name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Connectivity::Unknown => "unknown",
            Connectivity::Offline => "offline",
            Connectivity::Online => "online",
        }
    }
}

impl fmt::Display for Connectivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
