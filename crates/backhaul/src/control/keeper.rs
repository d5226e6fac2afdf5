//! What an operator does to a spool, whoever has it open.

use std::time::Duration;

use backhaul_runtime::tool_queue::{Decision, ToolQueue};
use backhaul_store::{ErrorKind, Position, Settled, Spool, Standing, State};
use serde_json::Value;

use super::message::{Changed, Cleaned, Unchanged};
use crate::record_name::RecordName;

/// Why a record was dropped.
const BY_OPERATOR: &str = "removed by an operator";
/// Who has a spool open, and changes it for others.
pub(crate) struct Keeper {
    spool: Spool,
    cleaner: Cleaner,
    /// The queue whose calls are in the spool.
    tools: Option<ToolQueue>,
}

/// Removes delivered data of a spool that is as old as this.
type Cleaner = Box<dyn Fn(&Spool, Duration) -> anyhow::Result<Cleaned> + Send + Sync>;

impl Keeper {
    pub(crate) fn new(spool: Spool) -> Self {
        let cleaner: Cleaner = Box::new(|spool, older_than| Ok(spool.clean(older_than)?.into()));
        Self { spool, cleaner, tools: None }
    }

    /// Of calls of tools that wait.
    pub(crate) fn of_tools(queue: ToolQueue) -> Self {
        Self { tools: Some(queue.clone()), ..Self::new(queue.spool().clone()) }
    }

    /// Has `cleaner` remove delivered data: for what has to be noted of it first, or goes with
    /// it.
    #[must_use]
    pub(crate) fn cleaning_with(
        self,
        cleaner: impl Fn(&Spool, Duration) -> anyhow::Result<Cleaned> + Send + Sync + 'static,
    ) -> Self {
        Self { cleaner: Box::new(cleaner), ..self }
    }

    pub(crate) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Puts all failed records back among the waiting.
    pub(crate) fn retry_all(&self) -> backhaul_store::Result<Changed> {
        Ok(Changed { changed: self.spool().requeue_all()?, unchanged: Vec::new() })
    }

    /// Puts failed and held records back among the waiting.
    pub(crate) fn retry(&self, names: &[RecordName]) -> backhaul_store::Result<Changed> {
        self.each(names, |position, _| self.spool().requeue(position))
    }

    /// Drops records that wait or failed: they are never sent.
    pub(crate) fn drop_records(&self, names: &[RecordName]) -> backhaul_store::Result<Changed> {
        let dropped = Settled::new(State::Dropped).reason(BY_OPERATOR);
        let changed = self.each(names, |position, standing| {
            if standing == Standing::Settled {
                return Ok(false);
            }
            self.spool().settle(&[(position, dropped.clone())])?;
            Ok(true)
        })?;
        if changed.changed > 0 {
            tracing::info!(dropped = changed.changed, "records were removed by an operator");
        }
        Ok(changed)
    }

    /// Settles calls of tools, of which nobody knew whether they were done: they were.
    pub(crate) fn done(&self, names: &[RecordName]) -> anyhow::Result<Changed> {
        let Some(queue) = &self.tools else {
            anyhow::bail!("only calls of tools can be said to be done: say --spool tools");
        };
        let changed = self.each(names, |position, standing| {
            let (entry, _) = self.spool().get(position)?;
            if standing != Standing::Pending || entry.held != Some(State::Unknown) {
                return Ok(false);
            }
            let decided = queue.decide(&position.to_string(), Decision::WasDone(Value::Null));
            match decided {
                Ok(()) => Ok(true),
                Err(error) => error.store_error().map_or(Ok(false), |error| Err(error.clone())),
            }
        })?;
        Ok(changed)
    }

    /// Removes delivered data that is as old as this.
    pub(crate) fn clean(&self, older_than: Duration) -> anyhow::Result<Cleaned> {
        let cleaned = (self.cleaner)(&self.spool, older_than)?;
        let Cleaned { records, files, bytes } = cleaned;
        tracing::info!(records, files, bytes, "delivered data was removed by an operator");
        Ok(cleaned)
    }

    /// Takes records of a bundle.
    #[cfg(feature = "cli")]
    pub(crate) fn import(
        &self,
        file: &std::path::Path,
        spool: &str,
    ) -> anyhow::Result<backhaul_store::Imported> {
        let bundle = crate::bundle::Bundle::open(file)?;
        crate::bundle::import_into(&self.spool, &bundle, bundle.spool(spool)?, &|| {})
    }

    /// Drops the records of a bundle, which were carried away.
    #[cfg(feature = "cli")]
    pub(crate) fn drop_carried(
        &self,
        file: &std::path::Path,
        spool: &str,
    ) -> anyhow::Result<Changed> {
        let bundle = crate::bundle::Bundle::open(file)?;
        let changed = crate::bundle::drop_carried(&self.spool, &bundle, bundle.spool(spool)?)?;
        Ok(Changed { changed, unchanged: Vec::new() })
    }

    /// Mends the spool, after it was copied.
    #[cfg(feature = "cli")]
    pub(crate) fn repair(&self, backup: &std::path::Path) -> anyhow::Result<()> {
        crate::backup::copy(self.spool.dir(), backup)?;
        self.spool.repair()?;
        Ok(())
    }

    fn each(
        &self,
        names: &[RecordName],
        change: impl Fn(Position, Standing) -> backhaul_store::Result<bool>,
    ) -> backhaul_store::Result<Changed> {
        let mut changed = Changed::default();
        for name in names {
            let state = match self.spool().get(name.position) {
                Ok((entry, _)) if name.is(&entry) => {
                    if change(name.position, entry.standing)? {
                        changed.changed += 1;
                        continue;
                    }
                    entry.standing.name()
                }
                Ok(_) => "absent",
                Err(error) if error.kind() == ErrorKind::NotFound => "absent",
                Err(error) => return Err(error),
            };
            changed.unchanged.push(Unchanged { id: name.to_string(), state: state.to_owned() });
        }
        Ok(changed)
    }
}
