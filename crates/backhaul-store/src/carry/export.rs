//! What waits or failed, read to be carried away.

use std::ops::ControlFlow;

use super::Carried;
use super::naming::{Gathered, Naming};
use crate::error::Result;
use crate::ledger::{Account, Settled, State};
use crate::record::StoredRecord;
use crate::spool::Spool;
use crate::status::{Standing, skip_to, standing_of};

impl Spool {
    /// Calls `visit` for each record that waits or failed, chain by chain, in order, until it
    /// breaks, and tells how the records are named. They stay as they are; any process may
    /// read them so, while another one delivers.
    ///
    /// # Errors
    /// Where the disk does not give them. What is damaged is stepped over.
    pub fn each_carried(
        &self,
        visit: &mut dyn FnMut(Carried) -> ControlFlow<()>,
    ) -> Result<Naming> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        let mut gathered = Gathered::default();
        for (chain, (first, next)) in self.inner.store.chains() {
            let account = self.inner.account(chain, first);
            let skip = |from| {
                let pending = skip_to(&account, Some(Standing::Pending), from, next);
                pending.min(skip_to(&account, Some(Standing::Failed), from, next))
            };
            let mut visit = |record: StoredRecord| {
                let sequence = record.id.position.sequence.0;
                if standing_of(&account, sequence) == Standing::Settled {
                    return ControlFlow::Continue(());
                }
                gathered.note(record.id);
                visit(Carried { settled: settled(&account, sequence), record })
            };
            if self.inner.read_chain(chain, first..next, &skip, &mut visit)?.is_break() {
                break;
            }
        }
        let identity = &self.inner.context.identity;
        Ok(gathered.naming(identity.device().to_string(), identity.epochs()))
    }
}

/// Where a record stands that does not simply wait.
fn settled(account: &Account, sequence: u64) -> Option<Settled> {
    if let Some(failure) = account.failed.get(&sequence) {
        let settled = Settled::new(State::Rejected).reason(&failure.reason);
        return Some(Settled { status: failure.status, ..settled });
    }
    let attempts = account.open.get(&sequence)?;
    let state = attempts.held.or(attempts.is_begun.then_some(State::Started))?;
    let reason = attempts.last_error.clone().filter(|_| state == State::Unknown);
    Some(Settled { reason, ..Settled::new(state) })
}
