//! Attachments: whether those that records name are there, and whole.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Examination, Finding};
use crate::attachments::{digest_of, path_of, stored};
use crate::context::read_whole;
use crate::error::Result;
use crate::record::parse_line;
use crate::spool::Inner;

/// Stands in each line of a record that names an attachment.
const NAMES_SOME: &[u8] = b"\"attachments\":[";

/// Notes the attachments that records name.
pub(super) fn note_named(lines: &[u8], named: &mut BTreeSet<String>) {
    let names_some = |line: &&[u8]| line.windows(NAMES_SOME.len()).any(|it| it == NAMES_SOME);
    // Most records name none, and are not read for it.
    if !names_some(&lines) {
        return;
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n').filter(names_some) {
        named.extend(parse_line(line).map(|record| record.facts.attachments).unwrap_or_default());
    }
}

pub(super) fn examine(
    inner: &Inner,
    examination: &mut Examination,
    named: &BTreeSet<String>,
    told: &mut dyn FnMut(u64),
) -> Result<()> {
    let context = &inner.context;
    let stored = stored(context)?;
    for digest in named {
        let path = path_of(context, digest);
        let found = match stored.get(digest) {
            None => "no file".to_owned(),
            Some(len) => {
                told(*len);
                match digest_of(&read_whole(&*context.disk, &path)?) {
                    found if found == *digest => continue,
                    found => format!("bytes with the SHA-256 {found}"),
                }
            }
        };
        examination.findings.push(Finding {
            path: path.strip_prefix(&context.dir).unwrap_or(Path::new(digest)).to_owned(),
            offset: None,
            found,
            expected: "the attachment that records name".to_owned(),
            remedy: None,
            lost: 0,
        });
    }
    Ok(())
}
