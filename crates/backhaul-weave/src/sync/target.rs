//! The project that a project's data goes to, and what it is called there.

use serde_json::Value;

use super::digests::Digests;
use crate::project::ProjectId;
use crate::refs;

/// Where a project's data goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The project as it is called here.
    pub(super) local: ProjectId,
    /// As it is called there: projects that were logged without an entity have one there.
    pub(super) real: ProjectId,
}

impl Target {
    /// Rewrites what a record says so that it holds for the server: the project that it is
    /// for, and its references.
    pub(super) fn rewrite(&self, digests: &Digests, value: &mut Value) {
        if let Some(project) = value.get_mut("project_id") {
            *project = self.real.to_string().into();
        }
        self.rewrite_refs(digests, value);
    }

    /// Rewrites references: projects without an entity, and digests that are others there.
    pub(super) fn rewrite_refs(&self, digests: &Digests, value: &mut Value) {
        if self.local == self.real && !digests.has_any(&self.local) {
            return;
        }
        refs::rewrite(value, &mut |project, rest| {
            let theirs = rest_there(digests, project, rest);
            let real = self.real_name_of(project);
            if real.is_none() && theirs.is_none() {
                return None;
            }
            let real = real.unwrap_or_else(|| project.to_string());
            Some(format!("{}{real}/{}", refs::SCHEME, theirs.as_deref().unwrap_or(rest)))
        });
    }

    /// `None`: it is called the same.
    fn real_name_of(&self, project: &ProjectId) -> Option<String> {
        if *project == self.local {
            return (self.real != self.local).then(|| self.real.to_string());
        }
        let is_ours = |project: &ProjectId| project.entity() == ProjectId::NO_ENTITY;
        let both = is_ours(project) && is_ours(&self.local);
        both.then(|| format!("{}/{}", self.real.entity(), project.project()))
    }
}

/// What follows the project in a reference, with the server's digests: that of the version or
/// the table, and those of rows, which stand behind `id`. `None`: all are the same.
fn rest_there(digests: &Digests, project: &ProjectId, rest: &str) -> Option<String> {
    let mut parts: Vec<String> = rest.split('/').map(ToOwned::to_owned).collect();
    let mut changed = false;
    let mut replace = |part: &mut String, before: &str, ours: &str| {
        if let Some(theirs) = digests.of(project, ours) {
            *part = format!("{before}{theirs}");
            changed = true;
        }
    };
    if let [kind, name, ..] = &mut *parts {
        match (&**kind, name.clone().rsplit_once(':')) {
            ("table", _) => replace(name, "", &name.clone()),
            (_, Some((object, ours))) => replace(name, &format!("{object}:"), ours),
            _ => {}
        }
    }
    for pair in parts.get_mut(2..).unwrap_or_default().chunks_exact_mut(2) {
        if let [key, row] = pair
            && key == "id"
        {
            replace(row, "", &row.clone());
        }
    }
    changed.then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn references_hold_for_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let digests = Digests::open(dir.path(), &"http://server".parse().unwrap()).unwrap();
        let local: ProjectId = "mine".parse().unwrap();
        let map = ["v", "t", "r"].map(|name| (name.to_owned(), name.repeat(2)));
        digests.note(&local, BTreeMap::from(map)).unwrap();
        let target = Target { local, real: "me/mine".parse().unwrap() };
        for (here, there) in [
            ("weave:///offline/mine/op/f:v", "weave:///me/mine/op/f:vv"),
            ("weave:///offline/mine/object/f:x/attr/a", "weave:///me/mine/object/f:x/attr/a"),
            (
                "weave:///offline/mine/object/data:v/attr/rows/id/r/key/id",
                "weave:///me/mine/object/data:vv/attr/rows/id/rr/key/id",
            ),
            ("weave:///offline/mine/table/t", "weave:///me/mine/table/tt"),
            ("weave:///offline/mine/table/t/id/r", "weave:///me/mine/table/tt/id/rr"),
            ("weave:///offline/mine/call/v", "weave:///me/mine/call/v"),
            ("weave:///offline/other/op/f:v", "weave:///me/other/op/f:v"),
            ("weave:///else/mine/op/f:v", "weave:///else/mine/op/f:v"),
            ("about weave:///offline/mine/op/f:v", "about weave:///offline/mine/op/f:v"),
            ("weave:///offline/mine", "weave:///offline/mine"),
        ] {
            let mut value = json!({"project_id": "mine", "deep": [{"ref": here}]});
            target.rewrite(&digests, &mut value);
            assert_eq!(value, json!({"project_id": "me/mine", "deep": [{"ref": there}]}));
        }
    }
}
