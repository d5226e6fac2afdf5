//! Whether the folders can be used: there, ours, closed to others, with room.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use backhaul_store::{Disk as _, OsDisk, Space};
use backhaul_weave::{OfflineOptions, OfflineTraceServer};
use rustix::fs::{Access, access};

use super::Patient;
use super::finding::Finding;
use crate::config::{ByteSize, WEAVE};
use crate::data_dir::DataDir;

/// Files of a spool, and of one that is rotated, cleaned and repaired meanwhile.
const LEAST_INODES: u64 = 100;
/// Times the floor: below it room runs out soon.
const SCARCE: u64 = 2;

pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let Patient { config, data_dir, .. } = patient;
    let mut findings = folder("data dir", data_dir.path(), |_| config.offline.min_free.0);
    let weave = config.weave.dir.clone().unwrap_or_else(|| data_dir.path().join(WEAVE));
    let options = config.weave.options(&config.offline);
    if weave.exists() {
        findings.extend(folder("weave dir", &weave, |space| floor(&options, space)));
    } else {
        findings.push(Finding::ok(
            "weave dir",
            format!("{}: not there yet, it comes with the first trace", weave.display()),
        ));
    }
    findings.extend(OfflineTraceServer::default_dir().and_then(|usual| elsewhere(&weave, &usual)));
    findings
}

/// What is left free of a file system with Weave's data.
fn floor(options: &OfflineOptions, space: &Space) -> u64 {
    options.free_bytes_floor(space.total_bytes)
}

/// The folder that there is, or the one that it would be made in.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

/// Everything about one folder, the worst first; one finding where all is well.
fn folder(check: &str, path: &Path, floor: impl FnOnce(&Space) -> u64) -> Vec<Finding> {
    let shown = path.display();
    if path.exists() && !path.is_dir() {
        let advice = "name a folder, with --data-dir or --weave-dir, or move the file away";
        return vec![Finding::problem(check, format!("{shown} is a file"), advice)];
    }
    let there = existing(path);
    let mut findings: Vec<Finding> =
        [usable(check, there), closed(check, path)].into_iter().flatten().collect();
    let space = OsDisk.space(there);
    match &space {
        Ok(space) => findings.extend(room(check, there, space, floor(space))),
        Err(error) => findings.push(Finding::problem(
            check,
            format!("{}: the file system does not say how full it is: {error}", there.display()),
            "look at the medium: `dmesg` says what happened to it",
        )),
    }
    if findings.is_empty() {
        let free = ByteSize(space.map_or(0, |space| space.free_bytes));
        let yet = if path.exists() { "" } else { ", not there yet" };
        findings.push(Finding::ok(check, format!("{shown}{yet}: {free} free")));
    }
    findings
}

/// Whether this user may read and write it.
fn usable(check: &str, path: &Path) -> Option<Finding> {
    let error = access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).err()?;
    let error = io::Error::from(error);
    let owner = path.metadata().map_or(0, |found| found.uid());
    let advice = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable, or name a folder elsewhere with --data-dir or --weave-dir".into()
        }
        _ => format!("run this as its owner, user id {owner}, or give it to yourself: `chown -R`"),
    };
    Some(Finding::problem(check, format!("{}: {error}", path.display()), advice))
}

/// Whether it is this user's, and nobody else's to read.
fn closed(check: &str, path: &Path) -> Option<Finding> {
    let found = path.metadata().ok()?;
    let (mode, owner) = (found.mode() & 0o777, found.uid());
    let own = rustix::process::geteuid().as_raw();
    let shown = path.display();
    if owner != own {
        return Some(Finding::warning(
            check,
            format!("{shown} belongs to user id {owner}, and this is {own}"),
            "run commands as its owner: what another one makes there the owner may not be able to write",
        ));
    }
    (mode & 0o077 != 0).then(|| {
        Finding::warning(
            check,
            format!("{shown} is open to other users of this machine (mode {mode:o})"),
            format!("`chmod 700 {shown}`"),
        )
    })
}

fn room(check: &str, path: &Path, space: &Space, floor: u64) -> Option<Finding> {
    let shown = path.display();
    let advice = "deliver and `backhaul clean`, make room, or move the data to a medium of its own; \
                  a cap (weave_cap, max_queue_size_mb) bounds what is stored";
    let Space { free_bytes, free_inodes, .. } = *space;
    let (free, least) = (ByteSize(free_bytes), ByteSize(floor));
    if free_bytes < floor {
        let found = format!("{shown}: {free} free, and {least} have to stay: nothing is stored");
        return Some(Finding::problem(check, found, advice));
    }
    if free_inodes < LEAST_INODES {
        let found = format!("{shown}: no more than {free_inodes} files can be made");
        return Some(Finding::problem(check, found, advice));
    }
    (free_bytes < floor.saturating_mul(SCARCE)).then(|| {
        let found = format!("{shown}: {free} free, of which {least} have to stay");
        Finding::warning(check, found, advice)
    })
}

/// Weave's data that lies where it is usual, and not where it is looked for.
fn elsewhere(weave: &Path, usual: &Path) -> Option<Finding> {
    let has_projects = |dir: &Path| !DataDir::weave_spools(dir).is_empty();
    let is_other = weave.canonicalize().ok() != usual.canonicalize().ok();
    (is_other && has_projects(usual)).then(|| {
        let usual: PathBuf = usual.to_owned();
        Finding::warning(
            "weave dir",
            format!("there is data in {} as well, which is not looked at here", usual.display()),
            format!("to deliver that: `backhaul sync --weave-dir {}`", usual.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::finding::Level;
    use super::*;

    fn levels(path: &Path) -> Vec<Level> {
        folder("data dir", path, |_| 0).into_iter().map(|finding| finding.level).collect()
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_has_to_be_ours_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o700);
        assert_eq!(levels(dir.path()), [Level::Ok]);
        assert_eq!(levels(&dir.path().join("not/yet")), [Level::Ok]);
        set_mode(dir.path(), 0o750);
        assert_eq!(levels(dir.path()), [Level::Warning]);
        set_mode(dir.path(), 0o700);
        // Root may use it all the same.
        if std::os::unix::fs::chown(dir.path(), Some(4711), None).is_ok() {
            assert_eq!(levels(dir.path()), [Level::Warning]);
        }
    }

    #[test]
    fn a_file_and_a_folder_that_cannot_be_written_are_problems() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(levels(&file), [Level::Problem]);
        // Nobody can write there, root neither.
        let finding = usable("data dir", Path::new("/proc/self/attr"))
            .or_else(|| usable("data dir", Path::new("/sys/kernel/nothing")));
        assert_eq!(finding.unwrap().level, Level::Problem);
    }

    #[test]
    fn room_is_compared_with_the_floor() {
        let level = |free_bytes, free_inodes| {
            let space = Space { free_bytes, free_inodes, total_bytes: 1000 };
            room("data dir", Path::new("/"), &space, 100).map(|finding| finding.level)
        };
        assert_eq!(level(99, 1000), Some(Level::Problem));
        assert_eq!(level(150, 1000), Some(Level::Warning));
        assert_eq!(level(500, 99), Some(Level::Problem));
        assert_eq!(level(500, 1000), None);
    }

    #[test]
    fn data_where_it_is_usual_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (here, usual) = (dir.path().join("here"), dir.path().join("usual"));
        assert_eq!(elsewhere(&here, &usual), None);
        std::fs::create_dir_all(usual.join("e/p/calls/state")).unwrap();
        std::fs::write(usual.join("e/p/calls/state/identity.json"), "{}").unwrap();
        assert_eq!(elsewhere(&here, &usual).unwrap().level, Level::Warning);
        assert_eq!(elsewhere(&usual, &usual), None);
    }
}
