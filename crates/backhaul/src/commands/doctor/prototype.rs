//! What the prototype of Weave's offline mode has left in the folder.

use std::path::Path;

use backhaul_store::{OsDisk, is_segment};

use super::finding::Finding;
use crate::data_dir::DataDir;

/// What a file of the prototype is called that was looked at, and not read as a whole.
const KEPT: &str = ".prototype";

/// What was not taken over yet, and what could not be.
pub(super) fn check(weave: &Path) -> Vec<Finding> {
    const CHECK: &str = "old weave data";
    let (mut new, mut kept) = (0_u64, 0_u64);
    let folders = DataDir::weave_folders(weave);
    let files = folders.iter().flat_map(|path| std::fs::read_dir(path).into_iter().flatten());
    for path in files.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_data = name.ends_with(".jsonl.gz") || name.ends_with(".jsonl");
        if name.ends_with(KEPT) {
            kept += 1;
        } else if is_data && !name.contains(".synced.") {
            new += u64::from(is_segment(&OsDisk, &path).is_ok_and(|is_segment| !is_segment));
        }
    }
    let mut findings = Vec::new();
    if new > 0 {
        findings.push(Finding::warning(
            CHECK,
            format!("{new} files of Weave's own offline mode were not taken over yet"),
            "`backhaul sync` takes them over and delivers them; so does a gateway that delivers",
        ));
    }
    if kept > 0 {
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
    use backhaul_weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer};

    use super::*;

    #[test]
    fn files_of_the_prototype_are_told_from_ours() {
        let dir = tempfile::tempdir().unwrap();
        let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
        let server = OfflineTraceServer::open(dir.path(), options).unwrap();
        let data = serde_json::json!({"project_id": "e/p", "id": "1"});
        let call = Entry::of_value(EntryType::CallStart, &data);
        server.log(&"e/p".parse().unwrap(), &[call]).unwrap();
        assert_eq!(check(dir.path()), []);
        let folder = dir.path().join("e/p/calls");
        std::fs::write(folder.join("20250101_0000.jsonl"), "{\"type\": \"call_start\"}\n").unwrap();
        std::fs::write(folder.join("20250101_0001.synced.jsonl"), "{}\n").unwrap();
        assert!(check(dir.path())[0].found.starts_with("1 files"));
        std::fs::write(folder.join("20250101_0002.jsonl.gz.0123.prototype"), "x").unwrap();
        assert_eq!(check(dir.path()).len(), 2);
    }
}
