//! One thread per process that looks after all its spools.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::courier::Chains;
use crate::error::Result;
use crate::record::Flush;
use crate::spool::Inner;

/// How often a spool is looked after when nobody asks for it. Short enough for
/// purging and sealing, long enough not to keep a battery device awake.
const IDLE: Duration = Duration::from_secs(1);
/// How often the folder is measured while no other process writes to it: its own
/// growth is counted as it happens.
const MEASURE_ALONE: Duration = Duration::from_secs(600);
/// How often while others do.
const MEASURE_SHARED: Duration = Duration::from_secs(2);
/// The thread's nice value, half way to the lowest priority.
const NICE: i32 = 10;
/// Segments sealed at a time before other spools get their turn.
const SEAL_AT_ONCE: usize = 4;

#[derive(Debug, Default)]
struct Maintainer {
    spools: Mutex<Vec<Weak<Inner>>>,
    asked: Mutex<bool>,
    wake: Condvar,
}

static MAINTAINER: OnceLock<Arc<Maintainer>> = OnceLock::new();

/// Gives a spool to the maintenance thread, which starts with the first one.
pub(crate) fn register(spool: &Arc<Inner>) {
    if !spool.has_maintainer() {
        return;
    }
    let maintainer = MAINTAINER.get_or_init(|| {
        let maintainer = Arc::new(Maintainer::default());
        let of_thread = Arc::clone(&maintainer);
        let started = std::thread::Builder::new()
            .name("backhaul-store".to_owned())
            .spawn(move || of_thread.run());
        if let Err(error) = started {
            tracing::error!(%error, "no maintenance thread: segments are neither sealed nor purged");
        }
        maintainer
    });
    maintainer.spools.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(spool));
}

/// Has the maintenance thread look at its spools now.
pub(crate) fn wake() {
    if let Some(maintainer) = MAINTAINER.get() {
        *maintainer.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        maintainer.wake.notify_one();
    }
}

impl Maintainer {
    fn run(&self) {
        // Producers go first: nothing here is urgent. It is only a wish.
        let _ = rustix::process::setpriority_process(None, NICE);
        loop {
            let spools: Vec<Arc<Inner>> = {
                let mut spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner);
                spools.retain(|spool| spool.strong_count() > 0);
                spools.iter().filter_map(Weak::upgrade).collect()
            };
            let mut shortest = IDLE;
            for spool in spools {
                if let Flush::Every(period) = spool.context.options.flush {
                    shortest = shortest.min(period);
                }
                if let Err(error) = spool.maintain() {
                    tracing::debug!(dir = %spool.context.dir.display(), %error, "maintenance put off");
                }
            }
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let mut asked = self
                .wake
                .wait_timeout_while(asked, shortest, |asked| !*asked)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            *asked = false;
        }
    }
}

impl Inner {
    /// One round of everything that is due.
    pub(crate) fn maintain(self: &Arc<Self>) -> Result<()> {
        if self.check_process().is_err() {
            return Ok(());
        }
        let Some(_open) = self.hold_open() else { return Ok(()) };
        self.committer.commit_if_asked(self);
        let mut result = self.flush_relaxed();
        if let crate::layout::Store::Segments(store) = &self.store {
            {
                // Notices files that somebody removed while they were written to.
                let _paused = self.committer.pause();
                result = result.and(store.refresh());
            }
            result = result.and(store.grow());
            for _ in 0..SEAL_AT_ONCE {
                self.committer.commit_if_asked(self);
                match store.seal_one() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        result = result.and(Err(error));
                        break;
                    }
                }
            }
        }
        let flushed = self.flushed_chains();
        let purged = self.courier().maintain(self, flushed.as_ref());
        result.and(self.measure_again())?;
        self.watch_room()?;
        if purged? { crate::attachments::sweep(self) } else { Ok(()) }
    }

    /// The chains at this moment, if all that was appended is flushed.
    fn flushed_chains(&self) -> Option<Chains> {
        let _paused = self.committer.pause();
        let unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        unflushed.is_empty().then(|| self.store.chains())
    }

    /// Measures the folder from time to time: the ledger grows, people put files
    /// there, and what other processes write is known in no other way.
    fn measure_again(&self) -> Result<()> {
        let now = self.context.clock.now().since_boot;
        let age = now.saturating_sub(*self.measured.lock().unwrap_or_else(PoisonError::into_inner));
        let due =
            age >= MEASURE_ALONE || (age >= MEASURE_SHARED && !crate::attachments::is_alone(self)?);
        if due {
            // Nothing is reserved and not yet written meanwhile.
            let _paused = self.committer.pause();
            self.measure()?;
        }
        Ok(())
    }

    /// Takes over what the folder holds.
    pub(crate) fn measure(&self) -> Result<()> {
        self.context.quota.measure(&*self.context.disk, &self.context.dir)?;
        let now = self.context.clock.now().since_boot;
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    /// Flushes what was acknowledged with [`Flush::Every`], and what a predecessor left.
    fn flush_relaxed(&self) -> Result<()> {
        match self.context.options.flush {
            Flush::Never => Ok(()),
            Flush::Always if self.is_flushed() => Ok(()),
            Flush::Always | Flush::Every(_) => self.flush_store(),
        }
    }
}
