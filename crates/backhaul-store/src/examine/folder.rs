//! Records of which each is a file.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Examination, Finding};
use crate::error::Result;
use crate::folder::{FolderStore, Place};
use crate::segment::Read;
use crate::spool::Inner;

pub(super) fn examine(
    inner: &Inner,
    store: &FolderStore,
    examination: &mut Examination,
    named: &mut BTreeSet<String>,
    told: &mut dyn FnMut(u64),
) -> Result<()> {
    for (position, entry) in store.files() {
        examination.files += 1;
        examination.bytes += entry.len;
        told(entry.len);
        match store.read(position.chain, position.sequence.0)? {
            Read::Record(record) => {
                examination.records += 1;
                named.extend(record.facts.attachments);
            }
            Read::LostUpTo(_) | Read::End => {
                let waits = !inner.courier().is_settled(position) || entry.place == Place::Failed;
                examination.findings.push(Finding {
                    path: Path::new(entry.place.folder()).join(&*entry.name),
                    offset: Some(0),
                    found: "a file that holds no JSON object".to_owned(),
                    expected: format!("the record {position}"),
                    remedy: Some("it goes to quarantine/, and counts as damaged".to_owned()),
                    lost: u64::from(waits),
                });
            }
        }
    }
    Ok(())
}
