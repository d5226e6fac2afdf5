//! What an operator does to all records of a kind.

use std::ops::ControlFlow;

use super::{CourierState, Known};
use crate::error::Result;
use crate::id::Position;
use crate::ledger::{Settled, State};
use crate::spool::Spool;
use crate::status::{Standing, standing_of};

/// Records settled together, for one flush of the ledger. In the folder layout each of
/// them may still cost a file that is written and flushed, and others who need the
/// ledger wait meanwhile.
const AT_ONCE: usize = 100;

impl Spool {
    /// Puts all rejected records back among the waiting, and says how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while another process delivers from
    /// this spool.
    pub fn requeue_all(&self) -> Result<u64> {
        self.settle_all(Standing::Failed, &Settled::new(State::Requeued))
    }

    /// Drops all records that wait, or all that were rejected, and says how many there
    /// were: they are never sent. There is nothing to drop of those that are settled.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while another process delivers from
    /// this spool.
    pub fn drop_all(&self, standing: Standing, reason: &str) -> Result<u64> {
        if standing == Standing::Settled {
            return Ok(0);
        }
        self.settle_all(standing, &Settled::new(State::Dropped).reason(reason))
    }

    fn settle_all(&self, standing: Standing, settled: &Settled) -> Result<u64> {
        let mut positions = Vec::new();
        self.each(Some(standing), &mut |entry| {
            positions.push(entry.id.position);
            ControlFlow::Continue(())
        })?;
        let mut count = 0;
        for positions in positions.chunks(AT_ONCE) {
            self.inner.check_writable()?;
            let mut courier = self.inner.courier();
            courier.require(&self.inner)?;
            // What a courier of this process settled since is left as it is.
            let settlements: Vec<(Position, Settled)> = positions
                .iter()
                .filter(|position| courier.stands(**position, standing))
                .map(|position| (*position, settled.clone()))
                .collect();
            courier.settle(&self.inner, &settlements);
            if settled.state == State::Requeued {
                courier.look_again_at(&settlements);
            }
            count += settlements.len() as u64;
        }
        Ok(count)
    }
}

impl CourierState {
    fn stands(&self, position: Position, standing: Standing) -> bool {
        let account = self.account(position.chain);
        let now = account.map(|account| standing_of(account, position.sequence.0));
        now.unwrap_or(Standing::Pending) == standing
    }

    /// Reading in order has stepped over records that had failed.
    fn look_again_at(&mut self, requeued: &[(Position, Settled)]) {
        for (position, _) in requeued {
            self.cursor(position.chain).waiting.insert(position.sequence.0, Known::default());
        }
    }
}
