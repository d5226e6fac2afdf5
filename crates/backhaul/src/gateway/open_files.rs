//! The limit on open files: each connection is one, and each spool of Weave's that is
//! delivered from takes about eight.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files of the database, the runtime and some spools.
const OTHER_FILES: u64 = 500;

/// The limit that there was before this process raised it.
pub(crate) struct OpenFiles {
    before: Rlimit,
    raised: Rlimit,
}

impl OpenFiles {
    /// Raises the limit as far as the system lets: how many projects a device has shows later.
    pub(crate) fn raise(connections: usize) -> Self {
        let before = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        set(&raised);
        let wanted = connections as u64 + OTHER_FILES;
        if let Some(most) = before.maximum.filter(|most| *most < wanted) {
            tracing::warn!(most, wanted, "there may not be enough open files: raise `ulimit -Hn`");
        }
        Self { before, raised }
    }

    /// Does something with the limit that there was: what is started then has it.
    pub(crate) fn as_before<T>(&self, start: impl FnOnce() -> T) -> T {
        set(&self.before);
        let started = start();
        set(&self.raised);
        started
    }
}

fn set(limit: &Rlimit) {
    if let Err(error) = setrlimit(Resource::Nofile, *limit) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}
