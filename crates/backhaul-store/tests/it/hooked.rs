//! A disk that calls back before some calls are made, so that a test can come between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use backhaul_store::{Disk, DiskFile, Entry, Open, Options, Space, Spool};
use backhaul_testkit::{ManualClock, SimDisk};

use crate::support::open_at;

/// A disk that tells of calls before they are made.
struct Hooked {
    disk: Arc<dyn Disk>,
    hook: Arc<Hook>,
}

/// Is told what is about to be done (`list`, `flush`, `sync_dir`) and where.
type Callback = Box<dyn FnMut(&str, &Path) -> io::Result<()> + Send>;

#[derive(Default)]
pub(crate) struct Hook(Mutex<Option<Callback>>);

impl Hook {
    pub(crate) fn set(&self, hook: Callback) {
        *self.0.lock().unwrap() = Some(hook);
    }
    /// The hook is away while it runs, and is called until it is set no more.
    fn call(&self, what: &str, path: &Path) -> io::Result<()> {
        let hook = self.0.lock().unwrap().take();
        let Some(mut hook) = hook else { return Ok(()) };
        let result = hook(what, path);
        let mut slot = self.0.lock().unwrap();
        if slot.is_none() {
            *slot = Some(hook);
        }
        result
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

struct HookedFile(Box<dyn DiskFile>, PathBuf, Arc<Hook>);

impl std::fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedFile")
    }
}

impl DiskFile for HookedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn flush(&self) -> io::Result<()> {
        self.2.call("flush", &self.1)?;
        self.0.flush()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}

impl Disk for Hooked {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        Ok(Box::new(HookedFile(file, path.to_owned(), Arc::clone(&self.hook))))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.hook.call("list", path)?;
        self.disk.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.hook.call("sync_dir", path)?;
        self.disk.sync_dir(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.hook.call("sync_all", path)?;
        self.disk.sync_all(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

/// A spool on such a disk, and the hook.
pub(crate) fn hooked(disk: &SimDisk, options: Options, clock: &ManualClock) -> (Spool, Arc<Hook>) {
    hooked_on(Arc::new(disk.clone()), options, clock)
}

/// The same on any disk.
pub(crate) fn hooked_on(
    disk: Arc<dyn Disk>,
    options: Options,
    clock: &ManualClock,
) -> (Spool, Arc<Hook>) {
    let hook = Arc::new(Hook::default());
    let disk = Hooked { disk, hook: Arc::clone(&hook) };
    (open_at(Arc::new(disk), options, clock).unwrap(), hook)
}
