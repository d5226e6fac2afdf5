//! Says how many open runs have a journal that lacks something, and why.

use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// One for all journals of a queue. Cheap to clone; all clones are one alarm.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournalAlarm {
    lacking: Arc<Mutex<Lacking>>,
}

#[derive(Debug, Default)]
struct Lacking {
    runs: usize,
    /// What the disk said last.
    why: String,
}

/// Counts its run for as long as it is there.
#[derive(Debug)]
pub(crate) struct RaisedAlarm(JournalAlarm);

impl JournalAlarm {
    pub(crate) fn raise(&self, why: String) -> RaisedAlarm {
        let mut lacking = lock(&self.lacking);
        lacking.runs += 1;
        lacking.why = why;
        RaisedAlarm(self.clone())
    }

    /// Open runs whose journals lack something.
    pub(crate) fn runs(&self) -> usize {
        lock(&self.lacking).runs
    }

    /// Why they do, where any does.
    pub(crate) fn trouble(&self) -> Option<String> {
        let lacking = lock(&self.lacking);
        (lacking.runs > 0).then(|| lacking.why.clone())
    }
}

impl Drop for RaisedAlarm {
    fn drop(&mut self) {
        lock(&self.0.lacking).runs -= 1;
    }
}
