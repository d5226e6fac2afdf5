//! Records that were carried away are dropped where they came from.

use super::{Carried, Naming};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Position;
use crate::ledger::{Settled, State};
use crate::spool::Spool;

/// Records settled at a time.
const AT_ONCE: usize = 1_000;

impl Spool {
    /// Drops records that were carried away, with this reason: those that wait or failed are
    /// never sent from here. How many those were.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where they are records of another spool,
    /// [`ErrorKind::Busy`] while another process delivers from this one, and the first error
    /// of `carried`. What came before is dropped.
    pub fn drop_carried(
        &self,
        naming: &Naming,
        carried: impl IntoIterator<Item = Result<Carried>>,
        reason: &str,
    ) -> Result<u64> {
        let dropped = Settled::new(State::Dropped).reason(reason);
        let before = self.books()?.dropped;
        let mut settlements = Vec::new();
        for carried in carried {
            settlements.push((self.own(naming, &carried?)?, dropped.clone()));
            if settlements.len() >= AT_ONCE {
                self.settle(&std::mem::take(&mut settlements))?;
            }
        }
        self.settle(&settlements)?;
        Ok(self.books()?.dropped - before)
    }

    /// The place of a record of this spool.
    fn own(&self, naming: &Naming, carried: &Carried) -> Result<Position> {
        let id = carried.record.id;
        if naming.is_of(id) && self.inner.context.identity.record_id(id.position) == id {
            return Ok(id.position);
        }
        let message = format!("the record {id} is not of this spool: it was exported elsewhere");
        Err(Error::at(ErrorKind::InvalidInput, &self.inner.context.dir, message))
    }
}
