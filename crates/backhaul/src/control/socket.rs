//! The socket's file: who may use it, and how it is found.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use axum::serve::Listener;
use backhaul_store::{Disk, DiskFile, Open, OsDisk};
use rustix::fs::{Mode, OFlags};
use tokio::net::unix::{SocketAddr, UCred};
use tokio::net::{UnixListener, UnixStream};

use crate::exit::OrUsage as _;

/// The socket, in the data dir.
pub(crate) const SOCKET: &str = "control.sock";
/// The name under which it is made, before it is ready.
const NEW: &str = "control.sock.new";
/// Locked by the process that the socket belongs to.
const LOCK: &str = "control.lock";

/// Bytes of a path in `sockaddr_un`, which ends with a zero: `unix(7)`.
const LONGEST_PATH: usize = 107;

/// A socket that takes connections of its owner and of root.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    _lock: Box<dyn DiskFile>,
}

impl ControlSocket {
    /// Makes the socket of a data dir, in place of one that a dead process left.
    ///
    /// # Errors
    /// Of usage where another process serves the data dir. Else where the file system takes
    /// no socket, or something that is none stands in its place.
    pub(crate) fn bind(data_dir: &Path) -> anyhow::Result<Self> {
        let lock_path = data_dir.join(LOCK);
        let lock = OsDisk
            .open(&lock_path, Open::Create)
            .with_context(|| format!("cannot open {}", lock_path.display()))?;
        if !lock.try_lock().context("cannot lock the control socket")? {
            return Err(anyhow::anyhow!(
                "another process serves from {}: stop it, or give this one a --data-dir of its own",
                data_dir.display()
            ))
            .or_usage();
        }
        let path = data_dir.join(SOCKET);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!("{} is no socket: move it away", path.display())
            }
            _ => {}
        }
        let listener = bind_at(data_dir, &path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        Ok(Self { listener, path, _lock: lock })
    }
}

/// Whoever finds the socket under its name finds it ready, and its own.
fn bind_at(data_dir: &Path, path: &Path) -> io::Result<UnixListener> {
    let new = data_dir.join(NEW);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&Address::of(data_dir, NEW)?.path)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It is ours for as long as the lock is.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listener for ControlSocket {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            match stream.peer_cred() {
                Ok(peer) if may_control(&peer) => return (stream, address),
                Ok(peer) => {
                    let uid = peer.uid();
                    tracing::warn!(uid, "another user was turned away from the control socket");
                }
                Err(error) => tracing::debug!(%error, "a connection says not who it is of"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Connects to the process that serves a data dir. `Ok(None)`: there is none.
///
/// # Errors
/// Of usage where the socket is another user's.
pub(crate) async fn connect(data_dir: &Path) -> anyhow::Result<Option<UnixStream>> {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    let path = data_dir.join(SOCKET);
    let address = match Address::of(data_dir, SOCKET) {
        Err(error) if error.kind() == NotFound => return Ok(None),
        address => address.with_context(|| format!("cannot reach {}", path.display()))?,
    };
    let stream = match UnixStream::connect(&address.path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => return Ok(None),
        Err(error) if error.kind() == PermissionDenied => {
            return Err(anyhow::anyhow!(
                "{} belongs to another user: run this as its owner or as root",
                path.display()
            ))
            .or_usage();
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot reach {}", path.display()));
        }
    };
    let peer = stream.peer_cred().context("the control socket says not whose it is")?;
    let owner = std::fs::metadata(data_dir).map(|found| found.uid());
    if !may_control(&peer) && owner.ok() != Some(peer.uid()) {
        bail!(
            "{} is served by user id {}, who is not the owner of the data dir: this is not asked",
            path.display(),
            peer.uid()
        );
    }
    Ok(Some(stream))
}

/// The process's own user, and root.
fn may_control(peer: &UCred) -> bool {
    peer.uid() == rustix::process::geteuid().as_raw() || peer.uid() == 0
}

/// A path in the data dir that a socket can be named by.
struct Address {
    path: PathBuf,
    /// Has to be open while the path is used.
    _folder: Option<OwnedFd>,
}

impl Address {
    /// A path that is too long is said by way of the open folder.
    fn of(data_dir: &Path, name: &str) -> io::Result<Self> {
        let path = data_dir.join(name);
        if path.as_os_str().len() <= LONGEST_PATH {
            return Ok(Self { path, _folder: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(data_dir, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }
}
