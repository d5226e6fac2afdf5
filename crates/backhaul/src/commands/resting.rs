//! Spools that nobody serves, opened by the commands that change them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backhaul_runtime::tool_queue::ToolQueue;
use backhaul_store::{ErrorKind, Layout, Spool};
use backhaul_weave::OfflineTraceServer;

use crate::config::{Config, OfflineConfig};
use crate::control::Keeper;
use crate::data_dir::{self, RUNS, TOOLS};
use crate::exit;
use crate::hub::{self, FOLDER, Hub};

/// Long enough that a hub which is opened to be cleaned forgets no key that the one who
/// serves it would remember.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Opens a spool as a configuration says. An agent's queue also takes over the runs that a
/// crash cut short.
///
/// # Errors
/// Where another process has it open in a way that excludes this one, or it cannot be read
/// or written.
pub(super) fn open_spool(name: &str, path: &Path, config: &Config) -> anyhow::Result<Spool> {
    if let Some((folder, kind)) = data_dir::of_weave(name)
        && let Some(dir) = path.ancestors().nth(3)
    {
        let server = OfflineTraceServer::open(dir, config.weave.options(&config.offline))?;
        let project = server.projects()?.into_iter().find(|it| it.folder() == folder);
        let spool = project.and_then(|project| server.spool(&project, kind).transpose());
        return spool
            .with_context(|| format!("there is no spool {name} any more"))?
            .map_err(Into::into);
    }
    let config = &config.offline;
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

/// Opens a resting spool as the one who keeps it does.
///
/// # Errors
/// As for [`open_spool`].
pub(super) fn keeper(name: &str, path: &Path, config: &Config) -> anyhow::Result<Keeper> {
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
        return Ok(Arc::new(Hub::open(options, config.offline.spool_options())?).keeper());
    }
    if name == TOOLS {
        let queue = ToolQueue::builder(path).open();
        return Ok(Keeper::of_tools(
            queue.with_context(|| format!("cannot open the spool {name}"))?,
        ));
    }
    Ok(Keeper::new(open_spool(name, path, config)?))
}
