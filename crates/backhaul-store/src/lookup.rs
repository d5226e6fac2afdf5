//! Finding records by what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::error::Result;
use crate::layout::Store;
use crate::record::StoredRecord;
use crate::segment::Read;
use crate::spool::Spool;

impl Spool {
    /// Calls `visit` for each record on disk that has `label` with one of `values`,
    /// whatever became of it, chain by chain, oldest first, until it breaks.
    ///
    /// In the folder layout `run_id` stands in the files' names, and only records that
    /// match are read; for another label, those with facts beside their files. In the
    /// segment layout every record is read, once for all values.
    ///
    /// ```
    /// # use std::{collections::BTreeSet, ops::ControlFlow};
    /// # use backhaul_store::{Options, Record, Spool};
    /// # let dir = std::env::temp_dir().join(format!("backhaul-find-{}", std::process::id()));
    /// # let spool = Spool::open(&dir, Options::default())?;
    /// spool.append(Record::new("run", b"{}".to_vec()).label("run_id", "run_001"))?;
    /// let mut found = 0;
    /// spool.each_labelled("run_id", &BTreeSet::from(["run_001", "run_002"]), &mut |record| {
    ///     assert_eq!(record.facts.labels["run_id"], "run_001");
    ///     found += 1;
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(found, 1);
    /// # drop(spool); std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), backhaul_store::Error>(())
    /// ```
    pub fn each_labelled(
        &self,
        label: &str,
        values: &BTreeSet<&str>,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut visit_match = |record: StoredRecord| {
            let value = record.facts.labels.get(label);
            if value.is_some_and(|value| values.contains(&**value)) {
                visit(record)
            } else {
                ControlFlow::Continue(())
            }
        };
        let Store::Folder(store) = &self.inner.store else {
            return self.each_from(&BTreeMap::new(), &mut visit_match);
        };
        self.inner.check_process()?;
        self.inner.catch_up()?;
        for position in store.candidates(label, values)? {
            if let Read::Record(record) = store.read(position.chain, position.sequence.0)?
                && visit_match(*record).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
