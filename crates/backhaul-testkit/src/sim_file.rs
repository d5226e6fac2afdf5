//! An open file of a simulated disk.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;

use backhaul_store::DiskFile;

use crate::sim_disk::SimDisk;
use crate::sim_snapshot::FlushPoint;
use crate::sim_state::Handle;

thread_local! {
    /// Set while a faulty disk calls a flush that must fail. By thread, because
    /// `DiskFile` has no door for it and the wrapper does not know what it wraps.
    static FLUSH_FAILS: Cell<bool> = const { Cell::new(false) };
}

/// Runs a flush that a simulated disk fails as Linux does. Other disks flush as ever.
pub(crate) fn with_failing_flush<T>(flush: impl FnOnce() -> T) -> T {
    FLUSH_FAILS.set(true);
    let answer = flush();
    FLUSH_FAILS.set(false);
    answer
}

#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    handle: Handle,
    path: PathBuf,
}

impl SimFile {
    pub(crate) fn new(disk: SimDisk, handle: Handle, path: PathBuf) -> Self {
        Self { disk, handle, path }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.handle);
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.state().read(self.handle, buffer, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state().write(self.handle, data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.state().len(self.handle)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.state().set_len(self.handle, len)
    }

    fn flush(&self) -> io::Result<()> {
        let fails = FLUSH_FAILS.replace(false);
        self.disk.call_hook(|| FlushPoint::File(self.path.clone()));
        let mut state = self.disk.state();
        state.flush_count += 1;
        if fails { state.fail_flush(self.handle) } else { state.flush(self.handle, &self.path) }
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.disk.state().try_lock(self.handle)
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        self.disk.state().try_lock_shared(self.handle)
    }
}
