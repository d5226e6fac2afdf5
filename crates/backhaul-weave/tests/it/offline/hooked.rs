//! A simulated disk on which something else happens in the middle of a call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use backhaul_store::{Disk, DiskFile, Entry, Open, Space};
use backhaul_testkit::SimDisk;

type Hook = (PathBuf, Box<dyn FnOnce() + Send>);

/// A [`SimDisk`] that calls a hook, once, before a path is opened and after something was
/// renamed to it.
#[derive(Clone, Default)]
pub(crate) struct Hooked {
    disk: SimDisk,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Hooked {
    pub(crate) fn at(&self, path: PathBuf, hook: impl FnOnce() + Send + 'static) {
        *self.hook.lock().unwrap() = Some((path, Box::new(hook)));
    }

    pub(crate) fn has_called(&self) -> bool {
        self.hook.lock().unwrap().is_none()
    }

    fn call(&self, path: &Path) {
        let hook = self.hook.lock().unwrap().take_if(|(at, _)| at == path);
        // The lock is free by now: what the hook does may be looked at too.
        if let Some((_, hook)) = hook {
            hook();
        }
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Disk for Hooked {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.call(path);
        self.disk.open(path, how)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        self.call(to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}
