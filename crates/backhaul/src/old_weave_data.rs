//! What the prototype of Weave's offline mode has left in a folder.

use std::fmt;
use std::path::{Path, PathBuf};

use backhaul_store::{OsDisk, is_segment};

use crate::config::{ByteSize, Config};
use crate::data_dir::DataDir;
use crate::printer::Printer;

/// What a file of the prototype is called that was looked at, and not read as a whole.
const KEPT: &str = ".prototype";

/// What takes it over.
pub(crate) const ADVICE: &str =
    "`backhaul sync` takes them over and delivers them; so does a gateway that delivers";

/// Files of the prototype in a folder of Weave's data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OldWeaveData {
    dir: PathBuf,
    /// Those that were not taken over yet, and their bytes.
    pub(crate) new: u64,
    bytes: u64,
    /// Those that could not be read as a whole, and were kept.
    pub(crate) kept: u64,
}

impl OldWeaveData {
    pub(crate) fn in_folder(dir: &Path) -> Self {
        let mut found = Self { dir: dir.to_owned(), ..Self::default() };
        let folders = DataDir::weave_folders(dir);
        let files = folders.iter().flat_map(|path| std::fs::read_dir(path).into_iter().flatten());
        for path in files.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_data = name.ends_with(".jsonl.gz") || name.ends_with(".jsonl");
            if name.ends_with(KEPT) {
                found.kept += 1;
            } else if is_data
                && !name.contains(".synced.")
                && is_segment(&OsDisk, &path).is_ok_and(|is_segment| !is_segment)
            {
                found.new += 1;
                found.bytes += path.metadata().map_or(0, |file| file.len());
            }
        }
        found
    }

    /// Says of what was not taken over yet that it is not shown, and what to do.
    pub(crate) fn hint(printer: Printer, config: &Config) {
        let found = config.weave.dir.as_deref().map(Self::in_folder);
        if let Some(found) = found.filter(|found| found.new > 0) {
            printer.talk(format_args!("not shown here: {found}; {ADVICE}"));
        }
    }
}

impl fmt::Display for OldWeaveData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dir, new, bytes, .. } = self;
        let (dir, bytes) = (dir.display(), ByteSize(*bytes));
        write!(
            f,
            "{new} files ({bytes}) of Weave's own offline mode in {dir} were not taken over yet"
        )
    }
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
        let found = || OldWeaveData::in_folder(dir.path());
        assert_eq!((found().new, found().kept), (0, 0));
        let folder = dir.path().join("e/p/calls");
        std::fs::write(folder.join("20250101_0000.jsonl"), "{\"type\": \"call_start\"}\n").unwrap();
        std::fs::write(folder.join("20250101_0001.synced.jsonl"), "{}\n").unwrap();
        assert!(found().to_string().starts_with("1 files (23 B) of"), "{}", found());
        std::fs::write(folder.join("20250101_0002.jsonl.gz.0123.prototype"), "x").unwrap();
        assert_eq!((found().new, found().kept), (1, 1));
    }
}
