//! Mends what can be mended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Examination;
use crate::attachments::is_alone;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Store;
use crate::spool::Spool;

impl Spool {
    /// Mends what [`examine`](Spool::examine) finds, as far as that can be: damaged segments
    /// are written anew with their sound records, what is lost is counted, a ledger with
    /// unreadable lines is begun anew. Bytes that are taken out go to `quarantine/`. Gives what
    /// is still to be said of the spool.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process has the spool open, and where the disk
    /// refuses: what is not mended then is mended the next time.
    pub fn repair(&self) -> Result<Examination> {
        let inner = &*self.inner;
        inner.check_process()?;
        inner.check_writable()?;
        inner.courier().require(inner)?;
        if !is_alone(inner)? {
            return Err(Error::at(
                ErrorKind::Busy,
                &inner.context.dir,
                "another process has the spool open: stop it first",
            ));
        }
        self.flush()?;
        let found = self.examine(&mut |_| {})?;
        if let Store::Segments(store) = &inner.store {
            let paths: BTreeSet<&PathBuf> = found.findings.iter().map(|one| &one.path).collect();
            for name in paths.into_iter().filter_map(|path| path.to_str()) {
                store.seal_anew(name)?;
            }
        }
        inner.courier().check_all(inner)?;
        inner.flush_ledger_anew()?;
        self.examine(&mut |_| {})
    }
}
