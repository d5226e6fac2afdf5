//! What goes over the control socket, in JSON.

use serde::{Deserialize, Serialize};

use crate::model_report::ModelReport;
use crate::offline::OutageReport;
use crate::report::SpoolReport;

/// How everything stands: the answer to `GET /v1/status`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Overview {
    pub(crate) process: u32,
    pub(crate) outage: Option<OutageReport>,
    pub(crate) spool: SpoolReport,
    /// Models that were asked through this process, the primary first.
    #[serde(default)]
    pub(crate) models: Vec<ModelReport>,
}

/// Which records to put back among the waiting.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retry {
    /// `normal/42`, or whole ids.
    pub(crate) ids: Vec<String>,
    /// All that failed.
    pub(crate) all: bool,
}

/// Which records to drop.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discard {
    pub(crate) ids: Vec<String>,
}

/// Which calls of tools were done, as a person has found out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Done {
    pub(crate) ids: Vec<String>,
}

/// Where a copy of the spool is to be made before it is mended.
#[cfg(feature = "cli")]
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repair {
    pub(crate) backup: std::path::PathBuf,
}

/// Which records of a bundle are meant.
#[cfg(feature = "cli")]
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bundled {
    /// The file, with its whole path.
    pub(crate) file: std::path::PathBuf,
    /// What the bundle calls the spool.
    pub(crate) spool: String,
}

/// What became of the named records.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// So many were put back, or dropped.
    pub(crate) changed: u64,
    /// Those that were left as they are.
    pub(crate) unchanged: Vec<Unchanged>,
}

/// A record that was left as it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unchanged {
    pub(crate) id: String,
    /// `pending`, `settled` or `absent`.
    pub(crate) state: String,
}

/// How old delivered data has to be to be removed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clean {
    pub(crate) older_than_seconds: u64,
}

/// What was removed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cleaned {
    pub(crate) records: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Cleaned {
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl From<backhaul_store::Cleaned> for Cleaned {
    fn from(cleaned: backhaul_store::Cleaned) -> Self {
        let backhaul_store::Cleaned { records, files, bytes } = cleaned;
        Self { records, files, bytes }
    }
}

impl From<backhaul_weave::Cleaned> for Cleaned {
    fn from(cleaned: backhaul_weave::Cleaned) -> Self {
        let backhaul_weave::Cleaned { records, files, bytes } = cleaned;
        Self { records, files, bytes }
    }
}

/// A sync that is asked for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sync {
    /// Where to, if the one who asks has said so: it has to be where this process
    /// delivers to.
    pub(crate) runs_url: Option<String>,
}

/// An outage that is asked for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TurnOn {
    /// None: until it is turned off.
    pub(crate) for_seconds: Option<u64>,
}

/// Whether there is an outage now: the answer to all of `/v1/outage`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switched {
    pub(crate) outage: Option<OutageReport>,
}
