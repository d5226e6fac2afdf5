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

/// The folder of a spool that the socket is in.
const STATE: &str = "state";
/// The socket.
const SOCKET: &str = "control.sock";
/// The name under which it is made, before it is ready.
const NEW: &str = "control.sock.new";
/// Locked by the process that the socket belongs to.
const LOCK: &str = "control.lock";

/// Bytes of a path in `sockaddr_un`, which ends with a zero: `unix(7)`.
const LONGEST_PATH: usize = 107;

/// A socket that takes connections of its owner and of root.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    _lock: Box<dyn DiskFile>,
}

impl Socket {
    /// Makes the socket of a spool, in place of one that a dead process left. `Ok(None)`:
    /// it belongs to another process, which lives.
    ///
    /// # Errors
    /// Where the file system takes no socket, or something that is none stands in its place.
    pub(crate) fn bind(spool: &Path) -> anyhow::Result<Option<Self>> {
        let folder = spool.join(STATE);
        let lock_path = folder.join(LOCK);
        let lock = OsDisk
            .open(&lock_path, Open::Create)
            .with_context(|| format!("cannot open {}", lock_path.display()))?;
        if !lock.try_lock().context("cannot lock the control socket")? {
            return Ok(None);
        }
        let path = folder.join(SOCKET);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!("{} is no socket: move it away", path.display())
            }
            _ => {}
        }
        let listener = bind_at(&folder, &path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        Ok(Some(Self { listener, path, _lock: lock }))
    }
}

/// Whoever finds the socket under its name finds it ready, and its own.
fn bind_at(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let new = folder.join(NEW);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&Address::of(folder, NEW)?.path)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It is ours for as long as the lock is.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listener for Socket {
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

/// Connects to the process that a spool belongs to. `Ok(None)`: there is none, or none that
/// listens.
///
/// # Errors
/// Of usage where the socket is another user's.
pub(crate) async fn connect(spool: &Path) -> anyhow::Result<Option<UnixStream>> {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    let folder = spool.join(STATE);
    let path = folder.join(SOCKET);
    let address = match Address::of(&folder, SOCKET) {
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
    let owner = std::fs::metadata(&folder).map(|found| found.uid());
    if !may_control(&peer) && owner.ok() != Some(peer.uid()) {
        bail!(
            "{} is served by user id {}, who is not the owner of the spool: this is not asked",
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

/// A path that a socket can be named by.
struct Address {
    path: PathBuf,
    /// Has to be open while the path is used.
    _open: Option<OwnedFd>,
}

impl Address {
    /// A path that is too long is said by way of the open folder.
    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= LONGEST_PATH {
            return Ok(Self { path, _open: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(folder, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()));
        Ok(Self { path, _open: Some(open) })
    }
}
