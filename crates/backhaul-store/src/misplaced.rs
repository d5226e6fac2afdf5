//! Folders where the spool has files, and files where it has folders: put aside, so that the
//! spool opens.

use std::path::Path;

use crate::context::{QUARANTINE, STATE};
use crate::disk::Disk;
use crate::error::{IoContext, Result};

/// Folders of a spool.
const FOLDERS: [&str; 7] =
    [QUARANTINE, "pending", "synced", "failed", "meta", "attachments", "running"];

/// Renames what is of the wrong kind. Nothing in it is changed.
pub(crate) fn set_aside(disk: &dyn Disk, dir: &Path) -> Result<()> {
    for entry in disk.list(dir).doing("list the spool folder", dir)? {
        if !entry.is_dir && FOLDERS.contains(&entry.name.as_str()) {
            rename(disk, &dir.join(&entry.name), dir, &format!("{}.file", entry.name))?;
        }
    }
    let (state, quarantine) = (dir.join(STATE), dir.join(QUARANTINE));
    let entries = disk.list(&state).doing("list the state folder", &state)?;
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        disk.create_dir_all(&quarantine).doing("create the quarantine folder", &quarantine)?;
        let name = format!("{STATE}.{}.folder", entry.name);
        rename(disk, &state.join(&entry.name), &quarantine, &name)?;
    }
    Ok(())
}

/// Renames to a name that is free, unless somebody else was first.
fn rename(disk: &dyn Disk, from: &Path, folder: &Path, name: &str) -> Result<()> {
    let taken = disk.list(folder).doing("list a folder", folder)?;
    let is_free = |name: &String| taken.iter().all(|entry| entry.name != *name);
    let mut names = (1..).map(|number| format!("{name}.{number}"));
    let name = names.find(is_free).unwrap_or_else(|| name.to_owned());
    let to = folder.join(name);
    match disk.rename(from, &to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        renamed => {
            tracing::error!(from = %from.display(), to = %to.display(), "what stands where the spool has something else is put aside");
            renamed.doing("put aside what is in the spool's way", from)
        }
    }
}
