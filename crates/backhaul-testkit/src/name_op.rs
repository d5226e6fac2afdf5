//! Changes of names that no directory sync has made durable yet.

use std::ffi::{OsStr, OsString};

use crate::sim_state::{Names, NodeId};

/// One change, in the order in which it was made.
#[derive(Debug, Clone)]
pub(crate) enum NameOp {
    /// `name` now stands for `node`.
    Link { dir: NodeId, name: OsString, node: NodeId },
    /// `name` is gone. `joined`: a journal commits it together with the
    /// operation before it (the two halves of a move between directories).
    Unlink { dir: NodeId, name: OsString, node: NodeId, joined: bool },
    /// A rename inside one directory: both names change, or neither.
    Rename { dir: NodeId, from: OsString, to: OsString, node: NodeId },
}

impl NameOp {
    /// The directory whose sync makes it durable.
    pub(crate) fn dir(&self) -> NodeId {
        match self {
            Self::Link { dir, .. } | Self::Unlink { dir, .. } | Self::Rename { dir, .. } => *dir,
        }
    }

    /// The file or directory that it is about.
    pub(crate) fn node(&self) -> NodeId {
        match self {
            Self::Link { node, .. } | Self::Unlink { node, .. } | Self::Rename { node, .. } => {
                *node
            }
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self, Self::Unlink { joined: true, .. })
    }

    /// Replays the change on `names`, where earlier ones may have been lost: a
    /// name that stands for something else by now is left alone.
    pub(crate) fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { name, node, .. } => {
                names.insert(name.clone(), *node);
            }
            Self::Unlink { name, node, .. } => {
                if names.get(name) == Some(node) {
                    names.remove(name);
                }
            }
            Self::Rename { from, to, node, .. } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                    names.insert(to.clone(), *node);
                }
            }
        }
    }

    /// What remains of the change once `name` in `dir` stands durably for `owner`.
    pub(crate) fn without(self, dir: NodeId, name: &OsStr, owner: NodeId) -> Option<Self> {
        if self.dir() != dir || self.node() == owner {
            return Some(self);
        }
        match self {
            Self::Link { name: linked, .. } if linked == name => None,
            Self::Rename { dir, from, to, node } if to == name => {
                Some(Self::Unlink { dir, name: from, node, joined: false })
            }
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: NodeId = 1;
    const OLD: NodeId = 2;
    const NEW: NodeId = 3;

    fn link(name: &str, node: NodeId) -> NameOp {
        NameOp::Link { dir: DIR, name: name.into(), node }
    }

    fn unlink(name: &str, node: NodeId) -> NameOp {
        NameOp::Unlink { dir: DIR, name: name.into(), node, joined: false }
    }

    fn rename(from: &str, to: &str, node: NodeId) -> NameOp {
        NameOp::Rename { dir: DIR, from: from.into(), to: to.into(), node }
    }

    fn after(ops: &[NameOp]) -> Vec<(String, NodeId)> {
        let mut names = Names::new();
        ops.iter().for_each(|op| op.apply(&mut names));
        names.into_iter().map(|(name, node)| (name.into_string().unwrap(), node)).collect()
    }

    #[test]
    fn a_rename_is_skipped_when_its_source_was_lost_or_is_another_file() {
        assert_eq!(after(&[rename("a", "b", NEW)]), []);
        let moved = [link("a", OLD), rename("a", "b", OLD)];
        assert_eq!(after(&moved), [("b".to_owned(), OLD)]);
        let other = [link("a", OLD), rename("a", "b", NEW)];
        assert_eq!(after(&other), [("a".to_owned(), OLD)]);
    }

    #[test]
    fn an_unlink_spares_a_name_that_is_another_file_by_now() {
        assert_eq!(after(&[link("a", OLD), unlink("a", OLD)]), []);
        assert_eq!(after(&[link("a", NEW), unlink("a", OLD)]), [("a".to_owned(), NEW)]);
    }

    #[test]
    fn a_durable_owner_of_a_name_outlives_earlier_operations() {
        let durable = |ops: Vec<NameOp>| {
            let left = ops.into_iter().filter_map(|op| op.without(DIR, OsStr::new("a"), OLD));
            let mut all = vec![link("a", OLD)];
            all.extend(left);
            after(&all)
        };
        let owned = [("a".to_owned(), OLD)];
        assert_eq!(durable(vec![link("a", NEW)]), owned);
        assert_eq!(durable(vec![unlink("a", NEW)]), owned);
        assert_eq!(durable(vec![link("b", NEW), rename("b", "a", NEW)]), owned);
        assert_eq!(durable(vec![link("b", NEW)]).len(), 2);
    }
}
