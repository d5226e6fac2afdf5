//! A bundle: what waits or failed on one device, in one file that people carry to another
//! machine. A tar of `.jsonl.gz` and attachments; the bytes are described in docs/format.md.

mod export;
mod import;
mod reader;
mod standing;
mod writer;

use std::path::{Component, Path};

use backhaul_store::Naming;
use serde::{Deserialize, Serialize};

pub(crate) use self::export::{Exported, export};
pub(crate) use self::import::{drop_carried, import_into, import_resting};
pub(crate) use self::reader::Bundle;

/// What the manifest calls the format.
const FORMAT: &str = "backhaul-bundle";
const VERSION: u32 = 1;
/// The last entry: a bundle without it was cut short.
const MANIFEST: &str = "manifest.json";

/// The content of the manifest.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    spools: Vec<SpoolInBundle>,
}

/// What there is of a spool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpoolInBundle {
    /// As `backhaul queue list` calls it.
    pub(crate) name: String,
    naming: Naming,
    pub(crate) records: u64,
    /// In the order in which they stand in the bundle.
    files: Vec<FileInBundle>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct FileInBundle {
    path: String,
    part: Part,
    bytes: u64,
    sha256: String,
}

/// What a file of a bundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Records, one a line.
    Records,
    /// Where records stand that do not simply wait, one a line.
    Standing,
    /// The bytes that records name, under their digest.
    Attachment,
    /// What else lies in a folder of Weave's.
    Project,
}

/// Whether a path stays below the folder that it is put together with.
fn is_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|it| matches!(it, Component::Normal(_)))
}
