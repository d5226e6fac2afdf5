//! What goes wrong with the usage file.

use std::fmt;
use std::io;
use std::path::Path;

/// Why nothing can be counted, in words that name the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble(pub(crate) String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was being done, and to what.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &str, path: &Path) -> Result<T, Trouble>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &str, path: &Path) -> Result<T, Trouble> {
        self.map_err(|error| Trouble(format!("cannot {doing} ({}): {error}", path.display())))
    }
}
