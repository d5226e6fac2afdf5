//! Segments, and whether they hold what the ledger says was acknowledged.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::attachments::note_named;
use super::{Examination, Finding};
use crate::error::Result;
use crate::id::Chain;
use crate::segment::{SegmentFault, SegmentStore, Wrong};
use crate::spool::Inner;

pub(super) fn examine(
    inner: &Inner,
    store: &SegmentStore,
    examination: &mut Examination,
    named: &mut BTreeSet<String>,
    told: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut ends: Vec<(Chain, u64)> = Vec::new();
    for (chain, segment) in store.segments() {
        let before = ends.last().filter(|(of, _)| *of == chain).map_or(1, |(_, end)| *end);
        let missing = waiting(inner, chain, before, segment.first());
        if missing > 0 {
            let (first, last) = (before, segment.first() - 1);
            let path = PathBuf::from(&segment.name);
            examination.findings.push(missing_file(path, chain, first, last, missing));
        }
        let verified = store.verify(&segment, &mut |lines| note_named(lines, named))?;
        examination.files += 1;
        examination.bytes += verified.bytes;
        examination.records += verified.records;
        told(verified.bytes);
        for fault in verified.faults {
            examination.findings.push(finding(inner, chain, &segment.name, fault));
        }
        ends.push((chain, segment.next));
    }
    Ok(())
}

/// Records of a stretch that wait or failed, as far as the ledger knows.
fn waiting(inner: &Inner, chain: Chain, first: u64, next: u64) -> u64 {
    let account = inner.account(chain, 1);
    let waiting = account.unsettled_between(first, next).into_iter();
    let failed = account.failed.range(first..next.max(first)).count() as u64;
    waiting.map(|(first, end)| end - first).sum::<u64>() + failed
}

fn missing_file(path: PathBuf, chain: Chain, first: u64, last: u64, lost: u64) -> Finding {
    Finding {
        path,
        offset: None,
        found: format!("the records {chain}/{first} to {chain}/{last} before it are in no file"),
        expected: "the segment that held them".to_owned(),
        remedy: Some(format!("{lost} records are counted as damaged")),
        lost,
    }
}

fn finding(inner: &Inner, chain: Chain, name: &str, fault: SegmentFault) -> Finding {
    let anew = "the file is written anew with its sound records, its bytes go to quarantine/";
    let (found, expected, remedy, lost) = match fault.what {
        Wrong::Head => {
            ("a first page that says nothing".to_owned(), "a head page", anew.to_owned(), 0)
        }
        Wrong::Index => (
            "an index that is not whole".to_owned(),
            "the index of a sealed segment",
            anew.to_owned(),
            0,
        ),
        Wrong::Padding => {
            ("a line that is neither blank nor a record".to_owned(), "blanks", anew.to_owned(), 0)
        }
        Wrong::Torn => (
            "bytes of a commit that is not whole".to_owned(),
            "free pages",
            "they go to quarantine/: what stood there was never acknowledged, or was cut off"
                .to_owned(),
            0,
        ),
        Wrong::Lost { first, next } => {
            let lost = waiting(inner, chain, first, next);
            let last = next.saturating_sub(1);
            (
                format!(
                    "bytes that are damaged, in the place of {chain}/{first} to {chain}/{last}"
                ),
                "members whose checksums are right",
                format!("{anew}, and {lost} records are counted as damaged"),
                lost,
            )
        }
    };
    Finding {
        path: PathBuf::from(name),
        offset: Some(fault.offset),
        found,
        expected: expected.to_owned(),
        remedy: Some(remedy),
        lost,
    }
}
