//! Which records a courier offers first.

use std::sync::Arc;

use backhaul_store::Chooser;

use crate::prioritizer::{Describe, FailingRule, SyncPrioritizer};

/// What goes first; without a prioritizer the oldest of the most urgent lane.
#[derive(Default)]
pub(crate) struct Priority {
    prioritizer: Option<SyncPrioritizer>,
    describe: Option<Describe>,
    /// Made of the two once: the spool knows it again.
    chooser: Option<Arc<dyn Chooser>>,
}

impl Priority {
    pub(crate) fn prioritize(&mut self, prioritizer: SyncPrioritizer) {
        self.prioritizer = Some(prioritizer);
        self.make_chooser();
    }

    pub(crate) fn describe(&mut self, describe: Describe) {
        self.describe = Some(describe);
        self.make_chooser();
    }

    pub(crate) fn chooser(&self) -> Option<Arc<dyn Chooser>> {
        self.chooser.clone()
    }

    pub(crate) fn failing_rules(&self) -> Vec<FailingRule> {
        self.prioritizer.as_ref().map(SyncPrioritizer::failing_rules).unwrap_or_default()
    }

    fn make_chooser(&mut self) {
        let Some(prioritizer) = self.prioritizer.clone() else { return };
        let described = match &self.describe {
            Some(describe) => prioritizer.describing(Arc::clone(describe)),
            None => prioritizer,
        };
        self.chooser = Some(Arc::new(described));
    }
}
