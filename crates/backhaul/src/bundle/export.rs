//! Writes what waits into a bundle.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;
use backhaul_store::{Carried, Spool};
use backhaul_weave::{DIGEST_LABEL, Kind};

use super::writer::{SpoolWriter, Writer};
use crate::data_dir;

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    /// Spools by their names, with how many of their records.
    pub(crate) spools: Vec<(String, u64)>,
    /// Bytes of the bundle.
    pub(crate) bytes: u64,
    /// Attachments that cannot be read, in words.
    pub(crate) missing: Vec<String>,
}

/// Writes what waits or failed in spools into the file at `path`. Where that is nothing, no
/// file is written. `told` is told of each record.
///
/// # Errors
/// No file is there then that was not there before.
pub(crate) fn export(
    path: &Path,
    spools: &[(String, Spool)],
    told: &dyn Fn(),
) -> anyhow::Result<Exported> {
    let mut bundle = Writer::create(path)?;
    let mut exported = Exported::default();
    for (name, spool) in spools {
        let mut part = bundle.spool(name);
        let records = write_spool(&mut part, name, spool, told, &mut exported.missing)
            .with_context(|| format!("cannot export the spool {name}"))?;
        if let Some((naming, records)) = records {
            part.finish(naming)?;
            exported.spools.push((name.clone(), records));
        }
    }
    if !exported.spools.is_empty() {
        exported.bytes = bundle.finish()?;
    }
    Ok(exported)
}

type Written = Option<(backhaul_store::Naming, u64)>;

fn write_spool(
    part: &mut SpoolWriter<'_>,
    name: &str,
    spool: &Spool,
    told: &dyn Fn(),
    missing: &mut Vec<String>,
) -> anyhow::Result<Written> {
    let kind = data_dir::of_weave(name).map(|(_, kind)| kind);
    let (mut digests, mut records) = (BTreeSet::new(), 0);
    let mut written = Ok(());
    let naming = spool.each_carried(&mut |carried| {
        note_digests(&mut digests, &carried, kind);
        records += 1;
        told();
        written = part.record(&carried);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    if records == 0 {
        return Ok(None);
    }
    for digest in digests {
        let bytes = match kind {
            Some(_) => std::fs::read(spool.dir().join(&digest)).map_err(anyhow::Error::from),
            None => spool.attachment(&digest).map_err(Into::into),
        };
        match bytes {
            Ok(bytes) => part.attachment(&digest, &bytes)?,
            Err(error) => missing.push(format!("{name}: attachment {digest}: {error:#}")),
        }
    }
    if kind.is_some()
        && let Some(project) = spool.dir().parent()
        && let Ok(names) = std::fs::read(project.join(PROJECT))
    {
        part.project(PROJECT, &names)?;
    }
    Ok(Some((naming, records)))
}

/// In the folder of a project of Weave's whose name is too long for a folder.
pub(super) const PROJECT: &str = "project.json";

/// The bytes that a record names, wherever they are kept.
fn note_digests(digests: &mut BTreeSet<String>, carried: &Carried, kind: Option<Kind>) {
    let facts = &carried.record.facts;
    digests.extend(facts.attachments.iter().cloned());
    if kind == Some(Kind::Files) {
        digests.extend(facts.labels.get(DIGEST_LABEL).cloned());
    }
}
