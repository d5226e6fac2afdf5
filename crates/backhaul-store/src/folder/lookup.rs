//! Which files may hold records with a label, told without reading them.

use std::collections::BTreeSet;

use super::{FolderStore, META, NAME_LABEL, name};
use crate::error::{IoContext, Result};
use crate::id::{Position, Sequence};

impl FolderStore {
    /// Where the records are that have `label` with one of `values`, in order, and
    /// perhaps a few others: a name may say the kind of a record without the label.
    ///
    /// Names tell the one label that stands in them, for a name that was cut by its
    /// digest. Any other label stands in a sidecar: all that have one are given.
    pub(crate) fn candidates(&self, label: &str, values: &BTreeSet<&str>) -> Result<Vec<Position>> {
        if label == NAME_LABEL {
            let wanted = name::WantedHints::new(values);
            return Ok(self.positions(&|name| wanted.may_be_of(name)));
        }
        let sidecars = self.sidecar_names()?;
        Ok(self.positions(&|name| sidecars.contains(name)))
    }

    fn positions(&self, is_wanted: &dyn Fn(&str) -> bool) -> Vec<Position> {
        let catalog = self.lock();
        let files = catalog.iter().flat_map(|(chain, list)| {
            list.files.iter().map(|(sequence, file)| (*chain, *sequence, file))
        });
        files
            .filter(|(_, _, file)| is_wanted(&file.name))
            .map(|(chain, sequence, _)| Position { chain, sequence: Sequence(sequence) })
            .collect()
    }

    fn sidecar_names(&self) -> Result<BTreeSet<String>> {
        let dir = self.context.path(META);
        match self.context.disk.list(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            listed => {
                let entries = listed.doing("list a folder of the spool", &dir)?;
                Ok(entries.into_iter().map(|entry| entry.name).collect())
            }
        }
    }
}
