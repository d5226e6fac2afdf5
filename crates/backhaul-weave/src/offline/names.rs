//! Which project a folder belongs to, where its name does not say so.

use std::path::{Component, Path, PathBuf};

use backhaul_store::Disk;
use serde_json::json;

use super::{STATE, whole_file};
use crate::error::TraceError;
use crate::kind::Kind;
use crate::project::ProjectId;

/// In the folder of a project whose name was too long for it: `{"entity", "project"}`.
const NAME_FILE: &str = "project.json";

/// Notes the project's name in its folder, which is there, where the folder's is not enough.
pub(super) fn note(disk: &dyn Disk, folder: &Path, project: &ProjectId) -> Result<(), TraceError> {
    let path = folder.join(NAME_FILE);
    if !ProjectId::is_cut(&project.folder()) || whole_file::read(disk, &path)?.is_some() {
        return Ok(());
    }
    let name = json!({"entity": project.entity(), "project": project.project()});
    whole_file::replace(disk, &path, name.to_string().as_bytes())
}

/// The project that a folder `entity/project` below `dir` belongs to.
pub(super) fn of_folder(
    disk: &dyn Disk,
    dir: &Path,
    folder: &Path,
) -> Result<Option<ProjectId>, TraceError> {
    if let Some(project) = ProjectId::of_folder(folder) {
        return Ok(Some(project));
    }
    if let Some(noted) = whole_file::read(disk, &dir.join(folder).join(NAME_FILE))? {
        let noted = serde_json::from_slice(&noted).unwrap_or(serde_json::Value::Null);
        let names = noted["entity"].as_str().zip(noted["project"].as_str());
        let project = names.and_then(|(entity, project)| ProjectId::new(entity, project).ok());
        return Ok(project.filter(|project| project.folder() == folder));
    }
    of_prototype(disk, dir, folder)
}

/// The prototype gave folders the names that projects have, whatever those are.
fn of_prototype(
    disk: &dyn Disk,
    dir: &Path,
    folder: &Path,
) -> Result<Option<ProjectId>, TraceError> {
    let mut names = folder.iter().filter_map(|name| name.to_str());
    let (Some(entity), Some(project)) = (names.next(), names.next()) else { return Ok(None) };
    let entries = list(disk, &dir.join(folder))?;
    let has_data = entries.iter().any(|entry| entry.is_dir && Kind::of_name(&entry.name).is_some());
    Ok(ProjectId::new(entity, project).ok().filter(|_| has_data))
}

/// The folder in which the prototype would have kept a project's data, where that is another.
pub(super) fn folder_of_prototype(dir: &Path, project: &ProjectId) -> Option<PathBuf> {
    let folder: PathBuf = [project.entity(), project.project()].iter().collect();
    let is_plain = |name: &str| {
        let mut components = Path::new(name).components();
        let first = components.next();
        matches!(first, Some(Component::Normal(_))) && components.next().is_none()
    };
    let is_inside = is_plain(project.entity())
        && is_plain(project.project())
        && !folder.to_string_lossy().contains('\0');
    (is_inside && folder != project.folder()).then(|| dir.join(folder))
}

/// The projects that have a folder in `dir`, in order.
pub(crate) fn projects(disk: &dyn Disk, dir: &Path) -> Result<Vec<ProjectId>, TraceError> {
    let folders = |path: &Path| -> Result<Vec<String>, TraceError> {
        let entries = list(disk, path)?.into_iter();
        Ok(entries.filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
    };
    let mut projects = Vec::new();
    for entity in folders(dir)?.into_iter().filter(|name| name != STATE) {
        for project in folders(&dir.join(&entity))? {
            projects.extend(of_folder(disk, dir, &Path::new(&entity).join(project))?);
        }
    }
    projects.sort();
    projects.dedup();
    Ok(projects)
}

/// What is in a folder; nothing where it is not there.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<backhaul_store::Entry>, TraceError> {
    match disk.list(dir) {
        Err(error) if is_nothing_there(&error) => Ok(Vec::new()),
        listed => listed.map_err(|error| whole_file::failed("list a folder", dir, error)),
    }
}

fn is_nothing_there(error: &std::io::Error) -> bool {
    // A name that the file system does not take is in no folder either.
    const ENAMETOOLONG: i32 = 36;
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(ENAMETOOLONG)
}
