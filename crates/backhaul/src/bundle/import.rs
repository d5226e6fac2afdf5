//! Takes a bundle into a data dir.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use backhaul_store::{Attachment, Imported, Spool};
use backhaul_weave::OfflineTraceServer;

use super::SpoolInBundle;
use super::export::PROJECT;
use super::reader::Bundle;
use crate::config::Config;
use crate::data_dir;
use crate::exit;

/// Takes records of a bundle into a spool that is open.
///
/// # Errors
/// As of [`Spool::import`], and where an attachment cannot be stored.
pub(crate) fn import_into(
    spool: &Spool,
    bundle: &Bundle,
    part: &SpoolInBundle,
    told: &dyn Fn(),
) -> anyhow::Result<Imported> {
    // Held, so that nobody removes them before the records that name them are there.
    let mut attachments: Vec<Attachment> = Vec::new();
    let of_weave = data_dir::of_weave(&part.name).is_some();
    for attachment in bundle.attachments(part) {
        let (digest, bytes) = attachment?;
        match of_weave {
            false => attachments.push(spool.attach(&bytes)?),
            true if spool.dir().join(digest).is_file() => {}
            true => bail!("the file {digest} is not here: stop the process that has it open"),
        }
    }
    let records = bundle.records(part)?.inspect(|_| told());
    let imported = spool.import(part.naming(), records)?;
    drop(attachments);
    Ok(imported)
}

/// Drops the records of a bundle from the spool that they were exported from. How many there
/// still were.
///
/// # Errors
/// As of [`Spool::drop_carried`].
pub(crate) fn drop_carried(
    spool: &Spool,
    bundle: &Bundle,
    part: &SpoolInBundle,
) -> anyhow::Result<u64> {
    let reason = format!("carried away in {}", bundle.path().display());
    Ok(spool.drop_carried(part.naming(), bundle.records(part)?, &reason)?)
}

/// Takes records of a bundle into the spool in this folder, which nobody has open, or which
/// is not there yet.
///
/// # Errors
/// As of [`import_into`], and where the spool cannot be opened.
pub(crate) fn import_resting(
    path: &Path,
    bundle: &Bundle,
    part: &SpoolInBundle,
    config: &Config,
    told: &dyn Fn(),
) -> anyhow::Result<Imported> {
    let cannot = |error| exit::of_store(error, format!("cannot open the spool {}", part.name));
    // A cap is for what this device stores: what is carried has to arrive.
    let options = backhaul_store::Options { max_bytes: None, ..config.offline.spool_options() };
    let Some((folder, kind)) = data_dir::of_weave(&part.name) else {
        let spool = Spool::open_to_import(path, options, part.naming()).map_err(cannot)?;
        return import_into(&spool, bundle, part, told);
    };
    let project = path.parent().unwrap_or(path);
    std::fs::create_dir_all(project).with_context(|| format!("{}", project.display()))?;
    for file in bundle.of_project(part) {
        let (name, bytes) = file?;
        if name == PROJECT && !project.join(PROJECT).exists() {
            std::fs::write(project.join(PROJECT), bytes)?;
        }
    }
    // Made with its names before anybody else makes it.
    drop(Spool::open_to_import(path, options, part.naming()).map_err(cannot)?);
    let dir = path.ancestors().nth(3).unwrap_or(path);
    let server = OfflineTraceServer::open(dir, config.weave.options(&config.offline))?;
    let found = server.projects()?.into_iter().find(|it| it.folder() == folder);
    let project = found.ok_or_else(|| anyhow!("{} is no project of Weave's", part.name))?;
    let files = bundle.attachments(part).map(|file| {
        let (digest, bytes) = file.map_err(|error| std::io::Error::other(format!("{error:#}")))?;
        Ok((digest.to_owned(), bytes))
    });
    let held = server.receive_files(&project, files)?;
    let spool = server.spool(&project, kind)?;
    let spool = spool.ok_or_else(|| anyhow!("there is no spool {} any more", part.name))?;
    let imported = import_into(&spool, bundle, part, told)?;
    drop(held);
    Ok(imported)
}
