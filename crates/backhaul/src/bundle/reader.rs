//! Reads the file of a bundle.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use backhaul_store::{Carried, Error, Naming, Settled, parse_line};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::standing::Standing;
use super::{FORMAT, FileInBundle, MANIFEST, Manifest, Part, SpoolInBundle, VERSION, is_below};

/// Longest line that is taken for a record.
const LONGEST_LINE: u64 = 1 << 30;

/// A bundle that is whole: each of its files has the bytes that were written.
pub(crate) struct Bundle {
    path: PathBuf,
    spools: Vec<SpoolInBundle>,
    places: BTreeMap<String, Place>,
}

/// Where a file stands in the bundle.
struct Place {
    offset: u64,
    bytes: u64,
    sha256: String,
}

impl Bundle {
    /// Opens a bundle, and reads it once to see that it is whole.
    ///
    /// # Errors
    /// Says what is wrong with it, and what to do.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
        let no_bundle = || format!("{shown} is no bundle that `backhaul queue export` wrote");
        let (places, manifest) = contents(file).with_context(no_bundle)?;
        let Some(manifest) = manifest else {
            bail!("{shown} has no {MANIFEST}: it is no bundle, or was cut short; copy it again");
        };
        let manifest = read_manifest(&manifest).with_context(no_bundle)?;
        let bundle = Self { path: path.to_owned(), spools: manifest.spools, places };
        bundle.check()?;
        Ok(bundle)
    }

    fn check(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        for SpoolInBundle { name, files, .. } in &self.spools {
            if !is_below(name) {
                bail!("{shown} names a spool {name:?}, which leads out of the folder");
            }
            for FileInBundle { path, bytes, sha256, .. } in files {
                let Some(place) = self.places.get(path) else {
                    bail!("{shown} lacks its file {path}: copy it again");
                };
                if (&place.bytes, &place.sha256) != (bytes, sha256) {
                    bail!(
                        "{shown} is damaged in {path}: it has {} bytes of SHA-256 {}, expected \
                         {bytes} of {sha256}; copy it again",
                        place.bytes,
                        place.sha256
                    );
                }
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The part of a bundle that is of this spool.
    ///
    /// # Errors
    /// Says which spools there are.
    pub(crate) fn spool(&self, name: &str) -> anyhow::Result<&SpoolInBundle> {
        self.spools.iter().find(|part| part.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.spools.iter().map(|part| part.name.as_str()).collect();
            anyhow!("{} has no spool {name}: it has {}", self.path.display(), names.join(" and "))
        })
    }

    pub(crate) fn spools(&self) -> &[SpoolInBundle] {
        &self.spools
    }

    /// The records of a spool, with where they stand.
    pub(super) fn records<'a>(
        &'a self,
        spool: &'a SpoolInBundle,
    ) -> anyhow::Result<impl Iterator<Item = backhaul_store::Result<Carried>> + 'a> {
        let mut standings = self.standings(spool)?;
        let lines = spool.parts(Part::Records).flat_map(|file| self.lines(&file.path));
        Ok(lines.map(move |line| {
            let line = line.map_err(|error| Error::io("read a bundle", &self.path, error))?;
            let record = parse_line(&line)?;
            let settled = standings.remove(&record.id.to_string());
            Ok(Carried { record, settled })
        }))
    }

    fn standings(&self, spool: &SpoolInBundle) -> anyhow::Result<BTreeMap<String, Settled>> {
        let mut standings = BTreeMap::new();
        for file in spool.parts(Part::Standing) {
            for line in self.lines(&file.path) {
                let standing: Standing =
                    serde_json::from_slice(&line?).with_context(|| file.path.clone())?;
                standings.insert(standing.id.clone(), standing.settled()?);
            }
        }
        Ok(standings)
    }

    /// The bytes that records of a spool name, each with its name.
    pub(super) fn attachments<'a>(
        &'a self,
        spool: &'a SpoolInBundle,
    ) -> impl Iterator<Item = anyhow::Result<(&'a str, Vec<u8>)>> + 'a {
        spool.parts(Part::Attachment).map(|file| Ok((file.name(), self.bytes(&file.path)?)))
    }

    /// What else belongs into the folder of the spool's project, each with its name.
    pub(super) fn of_project<'a>(
        &'a self,
        spool: &'a SpoolInBundle,
    ) -> impl Iterator<Item = anyhow::Result<(&'a str, Vec<u8>)>> + 'a {
        spool.parts(Part::Project).map(|file| Ok((file.name(), self.bytes(&file.path)?)))
    }

    fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path).and_then(|mut file| file.read_to_end(&mut bytes))?;
        Ok(bytes)
    }

    fn file(&self, path: &str) -> io::Result<impl Read + use<>> {
        let place = self.places.get(path).ok_or(io::ErrorKind::NotFound)?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(place.offset))?;
        Ok(file.take(place.bytes))
    }

    /// The lines of a compressed file, with their newlines.
    fn lines(&self, path: &str) -> Box<dyn Iterator<Item = io::Result<Vec<u8>>> + '_> {
        let file = match self.file(path) {
            Ok(file) => file,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let mut lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
        Box::new(std::iter::from_fn(move || {
            let mut line = Vec::new();
            match lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(_) => Some(Ok(line)),
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

impl SpoolInBundle {
    pub(super) fn naming(&self) -> &Naming {
        &self.naming
    }

    fn parts(&self, part: Part) -> impl Iterator<Item = &FileInBundle> {
        self.files.iter().filter(move |file| file.part == part)
    }
}

impl FileInBundle {
    /// The last part of the path.
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Where the files of a tar stand, and the manifest's bytes.
type Contents = (BTreeMap<String, Place>, Option<Vec<u8>>);

fn contents(file: File) -> anyhow::Result<Contents> {
    let mut places = BTreeMap::new();
    let mut manifest = None;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| anyhow!("a path in it is no text"))?;
        if path == MANIFEST {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            manifest = Some(bytes);
            continue;
        }
        let (bytes, sha256) = digest(&mut entry)?;
        let offset = entry.raw_file_position();
        places.insert(path, Place { offset, bytes, sha256 });
    }
    Ok((places, manifest))
}

/// How many bytes there are, and their SHA-256.
fn digest(bytes: &mut impl Read) -> io::Result<(u64, String)> {
    let (mut digest, mut count) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = bytes.read(&mut buffer)?;
        if read == 0 {
            return Ok((count, hex(&digest.finalize())));
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        count += read as u64;
    }
}

fn read_manifest(bytes: &[u8]) -> anyhow::Result<Manifest> {
    let said: serde_json::Value = serde_json::from_slice(bytes).context(MANIFEST)?;
    let (format, version) = (&said["format"], said["version"].as_u64().unwrap_or(0));
    if format != FORMAT {
        bail!("{MANIFEST}: format is {format}, expected {FORMAT:?}");
    }
    if version != u64::from(VERSION) {
        bail!(
            "{MANIFEST}: version is {version}, this program knows {VERSION}: use a newer backhaul"
        );
    }
    serde_json::from_value(said).context(MANIFEST)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
