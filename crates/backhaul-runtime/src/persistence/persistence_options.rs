//! How contexts are kept.

use backhaul_store::Flush;

use super::persistence_error::{PersistenceError, PersistenceErrorKind};

/// How contexts are kept.
///
/// ```
/// use backhaul_runtime::persistence::PersistenceOptions;
/// let options = PersistenceOptions { checkpoint_interval: 100, ..PersistenceOptions::default() };
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PersistenceOptions {
    /// A checkpoint is written every so many patches, and at the end of a run. Default: 10, as
    /// the CEMAF document shows. Nothing is lost between two: the journal has each patch. More
    /// spares the disk where contexts are large, and makes recovery read more.
    pub checkpoint_interval: u64,
    /// Checkpoints kept of each run, and runs kept that have ended: the newest. Default: 5, as
    /// upstream. At least 2: one may be damaged.
    pub keep: usize,
    /// Runs kept that were interrupted and never went on: the newest. Default: 100.
    pub keep_interrupted: usize,
    /// Patches kept in the history of a context: the newest. Default: 100. The history is in
    /// every checkpoint and at the start of every run's journal: 1,000 patches of an agent that
    /// runs each minute would write half a gigabyte a day.
    pub history_limit: usize,
    /// What survives of a step once it was taken. Default: [`Flush::Always`], everything.
    pub flush: Flush,
    /// For tests of tests: steps are acknowledged before they are on disk.
    #[doc(hidden)]
    pub sabotage_skip_journal: bool,
}

impl Default for PersistenceOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: 10,
            keep: 5,
            keep_interrupted: 100,
            history_limit: 100,
            flush: Flush::Always,
            sabotage_skip_journal: false,
        }
    }
}

impl PersistenceOptions {
    /// Whether the options make sense.
    ///
    /// # Errors
    /// [`PersistenceErrorKind::InvalidOption`], naming the option, what it is and what it may be.
    pub fn check(&self) -> Result<(), PersistenceError> {
        let least = [
            ("checkpoint_interval", self.checkpoint_interval, 1),
            ("keep", self.keep as u64, 2),
            ("keep_interrupted", self.keep_interrupted as u64, 1),
        ];
        for (name, value, least) in least {
            if value < least {
                let message = format!("{name} is {value}: expected at least {least}");
                return Err(PersistenceError::new(PersistenceErrorKind::InvalidOption, message));
            }
        }
        Ok(())
    }
}
