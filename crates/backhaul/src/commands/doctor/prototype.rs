//! What the prototype of Weave's offline mode has left in the folder.

use std::path::Path;

use super::finding::Finding;
use crate::old_weave_data::{ADVICE, OldWeaveData};

/// What was not taken over yet, and what could not be.
pub(super) fn check(weave: &Path) -> Vec<Finding> {
    const CHECK: &str = "old weave data";
    let found = OldWeaveData::in_folder(weave);
    let mut findings = Vec::new();
    if found.new > 0 {
        findings.push(Finding::warning(CHECK, found.to_string(), ADVICE));
    }
    if found.kept > 0 {
        let kept = found.kept;
        findings.push(Finding::warning(
            CHECK,
            format!("{kept} files of Weave's own offline mode could not be read as a whole"),
            "what could be read was taken over; they are kept as they were, called ….prototype",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_over_and_what_was_kept_are_a_warning_each() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("e/p/calls");
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(check(dir.path()), []);
        std::fs::write(folder.join("20250101_0000.jsonl"), "{}\n").unwrap();
        assert_eq!(check(dir.path()).len(), 1);
        std::fs::write(folder.join("20250101_0002.jsonl.gz.0123.prototype"), "x").unwrap();
        assert_eq!(check(dir.path()).len(), 2);
    }
}
