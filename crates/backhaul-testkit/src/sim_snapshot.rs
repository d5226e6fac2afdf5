//! A disk at one moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::crash_image;
use crate::crash_style::CrashStyle;
use crate::prng::Prng;
use crate::sim_disk::SimDisk;
use crate::sim_state::State;

/// What a [`SimDisk`] held at one moment, live and durable. Cheap to take and to
/// clone; nothing that happens to the disk later changes it.
#[derive(Debug, Clone)]
pub struct SimSnapshot {
    state: Arc<State>,
    point: FlushPoint,
}

/// The call that a snapshot was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlushPoint {
    /// A flush of the file that was opened under this path.
    File(PathBuf),
    /// A sync of this directory.
    Dir(PathBuf),
    /// A sync of everything.
    All,
    /// None: the test asked for it ([`SimDisk::snapshot`]).
    Asked,
}

impl SimSnapshot {
    pub(crate) fn new(state: State, point: FlushPoint) -> Self {
        Self { state: Arc::new(state), point }
    }

    /// One disk that a power cut at this moment could leave. It is independent,
    /// everything on it is durable, no lock is held, and of the settings only
    /// the capacity is carried over.
    pub fn crash_image(&self, prng: &mut Prng, style: &CrashStyle) -> SimDisk {
        SimDisk::from_state(crash_image::draw(&self.state, prng, style))
    }

    /// The call before which this was taken.
    pub fn point(&self) -> &FlushPoint {
        &self.point
    }

    /// How many flushes and directory syncs had been called before.
    pub fn flush_index(&self) -> u64 {
        self.state.flush_count + self.state.sync_dir_count
    }

    /// How many operations were not durable.
    pub fn unflushed_ops(&self) -> usize {
        self.state.unflushed_ops()
    }

    /// The live content of a file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> std::io::Result<Vec<u8>> {
        Ok(self.state.file_at(path.as_ref())?.live.to_vec())
    }
}
