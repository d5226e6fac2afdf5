//! A copy of a folder, before something is changed in it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Context as _;

/// Copies files and folders, durably; sockets are left out.
///
/// # Errors
/// Names the file that cannot be copied. What was copied stays.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot copy {} to {}", from.display(), to.display());
    copy_folder(from, to).with_context(cannot)?;
    let above = to.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}
