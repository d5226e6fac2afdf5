//! The patches that made a context what it is.

use std::sync::Arc;

use imbl::Vector;

use crate::patch::ContextPatch;

/// Patches, oldest first; a clone shares them, and adding one copies none.
///
/// The limit is how a history is kept, not what is in it: two that differ in nothing else
/// are equal.
#[derive(Clone, Default)]
pub(crate) struct PatchHistory {
    patches: Vector<Arc<ContextPatch>>,
    /// How many are kept; all of them without it.
    limit: Option<usize>,
}

impl PatchHistory {
    pub(crate) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Arc<ContextPatch>> + ExactSizeIterator {
        self.patches.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.patches.len()
    }

    /// Adds the newest patch, and drops the oldest where there are too many.
    pub(crate) fn push(&mut self, patch: Arc<ContextPatch>) {
        self.patches.push_back(patch);
        self.shorten();
    }

    /// An empty history with the same limit.
    pub(crate) fn emptied(&self) -> Self {
        Self { patches: Vector::new(), limit: self.limit }
    }

    /// The newest `limit` patches; as many are kept of what comes.
    pub(crate) fn limited(&self, limit: usize) -> Self {
        let mut limited = Self { patches: self.patches.clone(), limit: Some(limit) };
        limited.shorten();
        limited
    }

    fn shorten(&mut self) {
        let excess = self.limit.map_or(0, |limit| self.patches.len().saturating_sub(limit));
        for _ in 0..excess {
            self.patches.pop_front();
        }
    }
}

impl FromIterator<ContextPatch> for PatchHistory {
    fn from_iter<I: IntoIterator<Item = ContextPatch>>(patches: I) -> Self {
        Self { patches: patches.into_iter().map(Arc::new).collect(), limit: None }
    }
}

impl PartialEq for PatchHistory {
    fn eq(&self, other: &Self) -> bool {
        self.patches == other.patches
    }
}
