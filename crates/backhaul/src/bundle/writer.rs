//! Writes the file of a bundle.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use backhaul_store::{Carried, Naming};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::standing::Standing;
use super::{FORMAT, FileInBundle, MANIFEST, Manifest, Part, SpoolInBundle, VERSION};

/// Bytes of lines in one file of records, so that neither side needs much memory.
const LINES_AT_ONCE: usize = 16 << 20;

/// A bundle that is being written. Its file has its name when it is whole.
pub(super) struct Writer {
    path: PathBuf,
    unfinished: PathBuf,
    tar: tar::Builder<File>,
    spools: Vec<SpoolInBundle>,
}

impl Writer {
    /// # Errors
    /// Where there is such a file already, and where it cannot be made.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            bail!("{} is there already: remove it, or name another with --to", path.display());
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let file = File::create(&unfinished);
        let file = file.with_context(|| format!("cannot write {}", unfinished.display()))?;
        Ok(Self {
            path: path.to_owned(),
            unfinished,
            tar: tar::Builder::new(file),
            spools: Vec::new(),
        })
    }

    pub(super) fn spool(&mut self, name: &str) -> SpoolWriter<'_> {
        SpoolWriter {
            bundle: self,
            name: name.to_owned(),
            lines: Vec::new(),
            standings: Vec::new(),
            records: 0,
            newest: 0,
            files: Vec::new(),
        }
    }

    /// Gives the file its name, durably. How many bytes it has.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        let spools = std::mem::take(&mut self.spools);
        let manifest = Manifest { format: FORMAT.to_owned(), version: VERSION, spools };
        let cannot = format!("cannot write {}", self.unfinished.display());
        self.append(MANIFEST, &serde_json::to_vec_pretty(&manifest)?, 0).context(cannot.clone())?;
        let named = || {
            self.tar.finish()?;
            let file = self.tar.get_ref();
            file.sync_all()?;
            std::fs::rename(&self.unfinished, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok::<_, io::Error>(file.metadata()?.len())
        };
        let mut named = named;
        named().context(cannot)
    }

    fn append(&mut self, path: &str, bytes: &[u8], modified: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(modified);
        self.tar.append_data(&mut header, path, bytes)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Gone already where the bundle is whole.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// The part of a bundle that is of one spool.
pub(super) struct SpoolWriter<'a> {
    bundle: &'a mut Writer,
    name: String,
    lines: Vec<u8>,
    standings: Vec<u8>,
    records: u64,
    /// When the newest record was stored, in seconds since 1970.
    newest: u64,
    files: Vec<FileInBundle>,
}

impl SpoolWriter<'_> {
    pub(super) fn record(&mut self, carried: &Carried) -> anyhow::Result<()> {
        self.lines.extend(carried.record.to_line()?);
        self.records += 1;
        let stored = u64::try_from(carried.record.stamp.wall.as_micros() / 1_000_000).unwrap_or(0);
        self.newest = self.newest.max(stored);
        if let Some(settled) = &carried.settled {
            serde_json::to_writer(&mut self.standings, &Standing::new(carried.record.id, settled))?;
            self.standings.push(b'\n');
        }
        if self.lines.len() >= LINES_AT_ONCE { self.write_lines() } else { Ok(()) }
    }

    fn write_lines(&mut self) -> anyhow::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let number = 1 + self.files.len();
        let bytes = gzip(&std::mem::take(&mut self.lines))?;
        self.file(&format!("records-{number:06}.jsonl.gz"), Part::Records, &bytes)
    }

    /// The bytes that records name.
    pub(super) fn attachment(&mut self, digest: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.end_of_records()?;
        self.file(&format!("attachments/{digest}"), Part::Attachment, bytes)
    }

    pub(super) fn project(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.end_of_records()?;
        self.file(name, Part::Project, bytes)
    }

    fn end_of_records(&mut self) -> anyhow::Result<()> {
        self.write_lines()?;
        if self.standings.is_empty() {
            return Ok(());
        }
        let bytes = gzip(&std::mem::take(&mut self.standings))?;
        self.file("standing.jsonl.gz", Part::Standing, &bytes)
    }

    fn file(&mut self, name: &str, part: Part, bytes: &[u8]) -> anyhow::Result<()> {
        let path = format!("{}/{name}", self.name);
        let written = self.bundle.append(&path, bytes, self.newest);
        written.with_context(|| format!("cannot write {}", self.bundle.unfinished.display()))?;
        let (bytes, sha256) = (bytes.len() as u64, super::reader::hex(&Sha256::digest(bytes)));
        self.files.push(FileInBundle { path, part, bytes, sha256 });
        Ok(())
    }

    /// Ends the spool's part.
    pub(super) fn finish(mut self, naming: Naming) -> anyhow::Result<()> {
        self.end_of_records()?;
        let Self { name, records, files, .. } = self;
        self.bundle.spools.push(SpoolInBundle { name, naming, records, files });
        Ok(())
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}
