//! What an operator does to a spool, whoever has it open.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::OfflineConfig;
use anyhow::Context as _;
use backhaul_store::{ErrorKind, Layout, Position, Settled, Spool, Standing, State};

use super::message::{Changed, Cleaned, Unchanged};
use crate::data_dir::RUNS;
use crate::exit;
use crate::hub::{self, FOLDER, Hub};
use crate::record_name::RecordName;

/// Why a record was dropped.
const BY_OPERATOR: &str = "removed by an operator";
/// Long enough that a hub which is opened to be cleaned forgets no key that the one who
/// serves it would remember.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Who has a spool open: a hub, which has to remember what it received before the records
/// may go, or nobody else.
pub(crate) enum Keeper {
    Hub(Arc<Hub>),
    Spool(Spool),
}

/// Opens a spool as a configuration says. An agent's queue also takes over the runs that a
/// crash cut short.
///
/// # Errors
/// Where another process has it open in a way that excludes this one, or it cannot be read
/// or written.
pub(crate) fn open_spool(name: &str, path: &Path, config: &OfflineConfig) -> anyhow::Result<Spool> {
    let cannot = |error| exit::of_store(error, format!("cannot open the spool {name}"));
    match Spool::open_read_only(path).map_err(cannot)?.layout() {
        Layout::Folder => {
            let config = OfflineConfig { storage_path: Some(path.to_owned()), ..config.clone() };
            let queue = config.queue()?.open();
            Ok(queue.with_context(|| format!("cannot open the spool {name}"))?.spool().clone())
        }
        Layout::Segments => match Spool::open(path, config.spool_options()) {
            Err(error) if error.kind() == ErrorKind::Busy => {
                Err(error).with_context(|| format!("the spool {name} is in use"))
            }
            opened => opened.map_err(cannot),
        },
    }
}

impl Keeper {
    /// Opens a resting spool as the one who keeps it does.
    ///
    /// # Errors
    /// Where another process has it open in a way that excludes this one, or it cannot be
    /// read or written.
    pub(crate) fn open(name: &str, path: &Path, config: &OfflineConfig) -> anyhow::Result<Self> {
        let data_dir = path.parent().unwrap_or(Path::new("."));
        if path.file_name().is_some_and(|name| name == RUNS) && data_dir.join(FOLDER).is_dir() {
            let options = hub::Options {
                data_dir: data_dir.to_owned(),
                max_bytes: None,
                key_age: FOR_EVER,
                deduplicate: true,
                catch_up: true,
                keep_segments: true,
            };
            return Ok(Keeper::Hub(Arc::new(Hub::open(options, config.spool_options())?)));
        }
        Ok(Keeper::Spool(open_spool(name, path, config)?))
    }

    pub(crate) fn spool(&self) -> &Spool {
        match self {
            Keeper::Hub(hub) => hub.spool(),
            Keeper::Spool(spool) => spool,
        }
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

    /// Removes delivered data that is as old as this.
    pub(crate) fn clean(&self, older_than: Duration) -> anyhow::Result<Cleaned> {
        if let Keeper::Hub(hub) = self {
            // What it has made durable need not stay for its sake.
            hub.snapshot()?;
        }
        let backhaul_store::Cleaned { records, bytes } = self.spool().clean(older_than)?;
        tracing::info!(records, bytes, "delivered data was removed by an operator");
        Ok(Cleaned { records, bytes })
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
