//! The data dir, and the spools in it.

use std::path::{Path, PathBuf};

use crate::config::Config;
pub(crate) use crate::config::{OFFLINE, TOOLS, WEAVE};
use anyhow::bail;
use backhaul_store::{ErrorKind, Spool};
use backhaul_weave::{Kind, ProjectId};

use crate::exit;

/// The spool of received run records.
pub(crate) const RUNS: &str = "runs";

/// The variable that names the data dir, for messages.
const VARIABLE: &str = "BACKHAUL_DATA_DIR";

/// Names of spools that are said where another one was asked for.
const MOST_NAMES: usize = 8;

/// What makes a folder a spool's.
const IDENTITY: &str = "state/identity.json";

/// Spools by their names, and why others cannot be read.
pub(crate) type ReadOnly = (Vec<(String, Spool)>, Vec<anyhow::Error>);

/// Where everything of one backhaul lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The folder of the agent's spool.
    offline: PathBuf,
    /// The folder of Weave's data, which may lie elsewhere.
    weave: Option<PathBuf>,
}

impl DataDir {
    /// The data dir of a configuration.
    ///
    /// # Errors
    /// Where none is named and there is no home folder.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let Some(path) = config.data_dir.clone() else {
            bail!("there is no home folder: say --data-dir, or set {VARIABLE}");
        };
        Ok(Self {
            offline: config.offline.storage_path.clone().unwrap_or_else(|| path.join(OFFLINE)),
            weave: config.weave.dir.clone(),
            path,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The data dir of one of its spools: the folder above, where somebody named the
    /// folder of a spool as the data dir.
    pub(crate) fn of_spool<'a>(&'a self, spool: &'a Path) -> &'a Path {
        let is_named = spool == self.path;
        spool.parent().filter(|_| is_named).unwrap_or(&self.path)
    }

    /// The folder, which need not be there yet.
    ///
    /// # Errors
    /// Where a file is in its place.
    pub(crate) fn for_writing(&self) -> anyhow::Result<PathBuf> {
        self.check_is_no_file()?;
        Ok(self.path.clone())
    }

    /// Where the spool of this name lies, or would lie. One that is called otherwise is that
    /// of an agent, which was named as a data dir.
    pub(crate) fn place_of(&self, spool: &str) -> PathBuf {
        if let Some((folder, kind)) = of_weave(spool) {
            let weave = self.weave.clone().unwrap_or_else(|| self.path.join(WEAVE));
            return weave.join(folder).join(kind.name());
        }
        match spool {
            RUNS | TOOLS => self.path.join(spool),
            _ => self.offline.clone(),
        }
    }

    fn check_is_no_file(&self) -> anyhow::Result<()> {
        if self.path.exists() && !self.path.is_dir() {
            bail!(
                "the data dir {} is a file: name a folder with --data-dir or {VARIABLE}",
                self.path.display()
            );
        }
        Ok(())
    }

    /// What is in the place of a spool and is none, in words.
    pub(crate) fn broken_spools(&self) -> Vec<String> {
        let remark = |path: PathBuf| {
            let place = path.display();
            if path.is_file() {
                return Some(format!("{place} is a file: expected the folder of a spool"));
            }
            let is_broken = !path.join(IDENTITY).is_file() && holds_files(&path);
            is_broken.then(|| {
                format!("{place} holds files, but no {IDENTITY}: what is in it cannot be read")
            })
        };
        let of_weave = self.weave.as_deref().and_then(unreadable);
        let places =
            [self.path.join(RUNS), self.offline.clone(), self.path.join(TOOLS)].into_iter();
        places.filter_map(remark).chain(of_weave).collect()
    }

    /// The folders of the spools that are there, by name: `runs`, `offline`, `tools`,
    /// `weave/ENTITY/PROJECT/KIND`, and the data dir itself where it is a spool's folder.
    ///
    /// # Errors
    /// Where there is no data dir, and nothing of Weave's elsewhere.
    pub(crate) fn spools(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        self.check_is_no_file()?;
        let present = self.present();
        if !self.path.is_dir() && present.is_empty() {
            bail!(
                "there is no data dir at {}{}: name another with --data-dir or {VARIABLE}, or make \
                 it with `backhaul serve`",
                self.path.display(),
                self.and_no_weave()
            );
        }
        Ok(present)
    }

    /// What is to be said beside that there is nothing: Weave's data may lie elsewhere.
    fn and_no_weave(&self) -> String {
        let elsewhere = self.weave.as_deref().filter(|weave| !weave.starts_with(&self.path));
        elsewhere.map_or_else(String::new, |weave| {
            format!(", and nothing of Weave's in {} (--weave-dir)", weave.display())
        })
    }

    /// The same, of a data dir that need not be there yet.
    pub(crate) fn present(&self) -> Vec<(String, PathBuf)> {
        let own = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let own = own.file_name().map_or("spool".to_owned(), |name| name.display().to_string());
        let candidates = [
            (RUNS.to_owned(), self.path.join(RUNS)),
            (OFFLINE.to_owned(), self.offline.clone()),
            (TOOLS.to_owned(), self.path.join(TOOLS)),
            (own, self.path.clone()),
        ];
        let of_weave = self.weave.as_deref().map(weave_candidates).unwrap_or_default();
        candidates.into_iter().chain(of_weave).filter(|(_, path)| is_spool(path)).collect()
    }

    /// The folders of the spools that are in a folder of Weave's data.
    pub(crate) fn weave_spools(dir: &Path) -> Vec<(String, PathBuf)> {
        weave_candidates(dir).into_iter().filter(|(_, path)| is_spool(path)).collect()
    }

    /// The folders in which kinds of Weave's data may lie, whoever has put it there.
    pub(crate) fn weave_folders(dir: &Path) -> Vec<PathBuf> {
        weave_candidates(dir).into_iter().map(|(_, path)| path).collect()
    }

    /// The spools that are there, or the one asked for, open for reading; and why others
    /// are not.
    ///
    /// # Errors
    /// Where there is none, or none that can be read.
    pub(crate) fn open_read_only(&self, wanted: Option<&str>) -> anyhow::Result<ReadOnly> {
        let (mut open, mut unreadable) = (Vec::new(), Vec::new());
        for (name, path) in self.choose(wanted)? {
            match Spool::open_read_only(&path) {
                Ok(spool) => open.push((name, spool)),
                // Removed since it was found.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    unreadable.push(exit::of_store(error, format!("cannot read the spool {name}")));
                }
            }
        }
        match unreadable.pop() {
            Some(error) if open.is_empty() => Err(error),
            last => Ok((open, unreadable.into_iter().chain(last).collect())),
        }
    }

    /// The folders of all spools, or of the one asked for; `weave`, `weave/ENTITY` and
    /// `weave/ENTITY/PROJECT` name all below them.
    ///
    /// # Errors
    /// Where there is none; says which there are.
    pub(crate) fn choose(&self, wanted: Option<&str>) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let found = self.spools()?;
        let place = self.path.display();
        if found.is_empty() {
            bail!(
                "there is no spool in {place}{}: one comes with the first record of `backhaul serve` \
                 or of an agent; look elsewhere with --data-dir",
                self.and_no_weave()
            );
        }
        let Some(wanted) = wanted else { return Ok(found) };
        let mut names: Vec<&str> = found.iter().map(|(name, _)| shown_as(name)).collect();
        names.dedup();
        let more = names.split_off(names.len().min(MOST_NAMES)).len();
        let more = (more > 0).then(|| format!(" and {more} more, see `backhaul status`"));
        let names = names.join(" and ") + &more.unwrap_or_default();
        let chosen: Vec<_> =
            found.iter().filter(|(name, _)| is_chosen(name, Some(wanted))).cloned().collect();
        if chosen.is_empty() {
            bail!("there is no spool {wanted} in {place}, there is {names}: say --spool with that");
        }
        Ok(chosen)
    }
}

/// Whether a spool is the one that was asked for, or below it. Projects of Weave's may be
/// called by their own names, whatever their folders are called.
pub(crate) fn is_chosen(spool: &str, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted.map(|wanted| wanted.trim_end_matches('/')) else { return true };
    let is_below = |wanted: &str| {
        let rest = spool.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_below(wanted) || by_folder(wanted).is_some_and(|wanted| is_below(&wanted))
}

/// `weave/ENTITY/PROJECT…` with the names of its folders.
fn by_folder(wanted: &str) -> Option<String> {
    let (entity, rest) = wanted.strip_prefix(WEAVE)?.strip_prefix('/')?.split_once('/')?;
    let (project, kind) = match rest.rsplit_once('/') {
        Some((project, kind)) if Kind::of_name(kind).is_some() => (project, Some(kind)),
        _ => (rest, None),
    };
    let folder = ProjectId::new(entity, project).ok()?.folder();
    let kind = kind.map(|kind| format!("/{kind}")).unwrap_or_default();
    Some(format!("{WEAVE}/{}{kind}", folder.display()))
}

/// What spools are shown under where kinds of data of one project of Weave's are one.
pub(crate) fn shown_as(spool: &str) -> &str {
    let project = of_weave(spool).and_then(|_| spool.rsplit_once('/'));
    project.map_or(spool, |(project, _)| project)
}

/// The project's folder and the kind of data of a spool of Weave's. `None`: it is another's.
pub(crate) fn of_weave(spool: &str) -> Option<(&Path, Kind)> {
    let (folder, kind) = spool.strip_prefix(WEAVE)?.strip_prefix('/')?.rsplit_once('/')?;
    Some((Path::new(folder), Kind::of_name(kind)?))
}

fn is_spool(path: &Path) -> bool {
    path.join(IDENTITY).is_file()
}

/// The name of a spool of Weave's.
pub(crate) fn weave_spool(project: &ProjectId, kind: Kind) -> String {
    format!("{WEAVE}/{}/{kind}", project.folder().display())
}

/// Why a folder that is there cannot be looked into.
fn unreadable(folder: &Path) -> Option<String> {
    let error = std::fs::read_dir(folder).err()?;
    let is_there = error.kind() != std::io::ErrorKind::NotFound;
    is_there.then(|| format!("{} cannot be read: {error}", folder.display()))
}

/// Where spools of Weave's data may be.
fn weave_candidates(dir: &Path) -> Vec<(String, PathBuf)> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        folders.sort();
        folders
    };
    let mut candidates = Vec::new();
    for project in folders(dir).iter().flat_map(|entity| folders(entity)) {
        let Some(name) = project.strip_prefix(dir).ok().and_then(Path::to_str) else { continue };
        let spool = |kind: Kind| (format!("{WEAVE}/{name}/{kind}"), project.join(kind.name()));
        candidates.extend(Kind::ALL.map(spool));
    }
    candidates
}

/// Whether there is a file in the folder, or in a folder in it.
fn holds_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let kind = entry.file_type();
        kind.is_ok_and(|kind| kind.is_file() || (kind.is_dir() && holds_files(&entry.path())))
    })
}
