//! Which version of each object was stored last.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use backhaul_store::Spool;

use crate::entry::{DIGEST_LABEL, OBJECT_LABEL};

/// By the object's name, the digest of the version that was stored last.
#[derive(Debug, Default)]
pub(super) struct Newest {
    digests: HashMap<String, String>,
}

impl Newest {
    /// Takes over what a spool holds.
    pub(super) fn read(&mut self, spool: &Spool) -> backhaul_store::Result<()> {
        spool.each_from(&BTreeMap::new(), &mut |record| {
            let labels = &record.facts.labels;
            if let (Some(name), Some(digest)) = (labels.get(OBJECT_LABEL), labels.get(DIGEST_LABEL))
            {
                self.note(name, digest);
            }
            ControlFlow::Continue(())
        })
    }

    pub(super) fn is(&self, name: &str, digest: &str) -> bool {
        self.digests.get(name).is_some_and(|newest| newest == digest)
    }

    pub(super) fn note(&mut self, name: &str, digest: &str) {
        self.digests.insert(name.to_owned(), digest.to_owned());
    }
}
