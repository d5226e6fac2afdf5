//! What other programs read of our files.

use std::path::Path;
use std::process::{Command, Stdio};

use backhaul_store::Spool;
use backhaul_testkit::SimDisk;

use crate::crash::ROOT;
use crate::members::segment_files;
use crate::support::{Layout, numbers};

/// Reads folders named on standard input, and prints for each how many records
/// Python finds in it.
const PYTHON: &str = r#"
import glob, gzip, json, os, sys
for folder in sys.stdin.read().split("\n"):
    if not folder:
        continue
    count = 0
    for path in glob.glob(os.path.join(folder, "*.jsonl*")):
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
            count += sum(1 for line in lines if line.strip() and json.loads(line)["n"] >= 0)
    for state in ("pending", "synced", "failed"):
        for path in glob.glob(os.path.join(folder, state, "*.json")):
            with open(path, encoding="utf-8") as record:
                count += json.load(record)["n"] >= 0
    print(count)
"#;

/// Recovered images, laid out in a real folder for real programs to read.
pub(crate) struct Exported {
    wanted: usize,
    folder: tempfile::TempDir,
    /// Records in each image, and how they stand there.
    expected: Vec<(usize, Layout)>,
}

impl Exported {
    pub(crate) fn new(wanted: usize) -> Self {
        Self { wanted, folder: tempfile::tempdir().unwrap(), expected: Vec::new() }
    }

    fn image(&self, index: usize) -> std::path::PathBuf {
        self.folder.path().join(index.to_string())
    }

    /// Takes a recovered image while there are less than wanted.
    pub(crate) fn offer(&mut self, image: &SimDisk, spool: &Spool, layout: Layout) {
        if self.expected.len() < self.wanted {
            image.export_to(&self.image(self.expected.len())).unwrap();
            self.expected.push((numbers(spool).len(), layout));
        }
    }

    /// Has the programs read all images, and returns how many there were.
    pub(crate) fn check(&self) -> usize {
        if self.expected.is_empty() {
            return 0;
        }
        let root = ROOT.trim_start_matches('/');
        let folders: Vec<_> =
            (0..self.expected.len()).map(|index| self.image(index).join(root)).collect();
        let by_python = python_counts(&folders);
        for (index, (expected, layout)) in self.expected.iter().enumerate() {
            assert_eq!(by_python[index], *expected, "Python, image {index}");
            match layout {
                Layout::Folder => {}
                Layout::Segments => {
                    assert_eq!(zcat_count(&folders[index]), *expected, "zcat, image {index}");
                }
                Layout::Plain => {
                    assert_eq!(grep_count(&folders[index]), *expected, "grep, image {index}");
                }
            }
        }
        self.expected.len()
    }
}

fn python_counts(folders: &[std::path::PathBuf]) -> Vec<usize> {
    use std::io::Write;
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 has to be installed");
    let list: String = folders.iter().map(|folder| format!("{}\n", folder.display())).collect();
    python.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 failed to read an image");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

fn zcat_count(folder: &Path) -> usize {
    let files = segment_files(folder);
    if files.is_empty() {
        return 0;
    }
    let output = Command::new("zcat").args(&files).output().expect("zcat has to be installed");
    assert!(output.status.success(), "zcat: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout.iter().filter(|&&byte| byte == b'\n').count()
}

/// Lines that are records, beside which there are none that are not blank.
fn grep_count(folder: &Path) -> usize {
    let files = segment_files(folder);
    let count = |pattern: &str| -> usize {
        let mut grep = Command::new("grep");
        let grep = grep.args(["--no-filename", "--text", "--count", pattern, "/dev/null"]);
        let output = grep.args(&files).output().expect("grep has to be installed");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.parse::<usize>().unwrap()).sum()
    };
    let records = count("^{.*}$");
    assert_eq!(count("[^[:blank:]]"), records, "a line is neither blank nor a record");
    records
}
