//! What nodes that run at the same time do to one context.

use std::fmt;

use backhaul_agent::{ContextPatch, PatchOperation};
use serde_json::{Map, Value};

/// Two nodes that ran at the same time, neither of which saw what the other one gave, have
/// changed the same part of the context.
///
/// Two additions to one list are no conflict, nor are merges of different keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConflict {
    /// The dot path that both changed; where one path leads into the other, the longer one.
    pub path: String,
    /// The node that ended first.
    pub first: String,
    /// The node that ended last.
    pub last: String,
}

impl fmt::Display for NodeConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, first, last } = self;
        write!(f, "`{first}` and `{last}` ran at the same time, and both changed `{path}`")
    }
}

/// Where nodes that ran at the same time both put an object, the later one goes into the earlier
/// one, key by key.
pub(super) fn deepen(patches: &mut [ContextPatch], conflicts: &[NodeConflict]) {
    for patch in patches {
        let meets = |conflict: &NodeConflict| {
            let rest = conflict.path.strip_prefix(&patch.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_object = patch.operation == PatchOperation::Set && patch.value.is_object();
        if is_object && conflicts.iter().any(meets) {
            patch.operation = PatchOperation::Merge;
        }
    }
}

/// The changes of a run, in their order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    made: Vec<Made>,
}

#[derive(Debug)]
struct Made {
    node_id: String,
    touched: Vec<Touched>,
}

/// A place in the context that a node changes.
#[derive(Debug)]
struct Touched {
    path: String,
    is_append: bool,
}

impl Changes {
    /// How many there are: what a node that begins now has seen.
    pub(super) fn count(&self) -> usize {
        self.made.len()
    }

    /// Where a node that saw the first `seen` changes meets one that it did not see.
    pub(super) fn conflicts(
        &self,
        seen: usize,
        node_id: &str,
        patches: &[ContextPatch],
    ) -> Vec<NodeConflict> {
        let unseen = self.made.get(seen..).unwrap_or_default();
        if unseen.is_empty() {
            return Vec::new();
        }
        let touched = touched_by(patches);
        let mut conflicts = Vec::new();
        for made in unseen {
            for (one, other) in
                made.touched.iter().flat_map(|one| touched.iter().map(move |other| (one, other)))
            {
                conflicts.extend(met(one, other).map(|path| NodeConflict {
                    path: path.to_owned(),
                    first: made.node_id.clone(),
                    last: node_id.to_owned(),
                }));
            }
        }
        conflicts
    }

    pub(super) fn add(&mut self, node_id: &str, patches: &[ContextPatch]) {
        if !patches.is_empty() {
            let touched = touched_by(patches);
            self.made.push(Made { node_id: node_id.to_owned(), touched });
        }
    }
}

fn touched_by(patches: &[ContextPatch]) -> Vec<Touched> {
    let mut touched = Vec::with_capacity(patches.len());
    for patch in patches {
        match (patch.operation, &patch.value) {
            (PatchOperation::Merge, Value::Object(changes)) => {
                add_merged(&mut touched, &patch.path, changes);
            }
            (operation, _) => touched.push(Touched {
                path: patch.path.clone(),
                is_append: operation == PatchOperation::Append,
            }),
        }
    }
    touched
}

/// A merge goes into objects, and changes what is at their ends. No patch nests deep enough for
/// this to harm the stack.
fn add_merged(touched: &mut Vec<Touched>, parent: &str, changes: &Map<String, Value>) {
    for (key, value) in changes {
        let path = format!("{parent}.{key}");
        match value {
            Value::Object(inner) if !inner.is_empty() => add_merged(touched, &path, inner),
            _ => touched.push(Touched { path, is_append: false }),
        }
    }
}

/// The path at which two changes meet.
fn met<'a>(one: &'a Touched, other: &'a Touched) -> Option<&'a str> {
    if one.is_append && other.is_append && one.path == other.path {
        return None;
    }
    let (short, long) = if one.path.len() <= other.path.len() {
        (&one.path, &other.path)
    } else {
        (&other.path, &one.path)
    };
    let rest = long.strip_prefix(short.as_str())?;
    (rest.is_empty() || rest.starts_with('.')).then_some(long)
}
