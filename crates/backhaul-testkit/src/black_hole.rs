//! An address that answers nothing, not even with a refusal.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

/// Longer than the kernel takes to accept a connection on the loopback, and shorter than its
/// first second attempt (1 s).
const SILENCE: Duration = Duration::from_millis(200);

/// More connections than a backlog of none has room for.
const MOST_WAITING: usize = 16;

/// A port of 127.0.0.1 at which connecting takes for ever, as over a link that has died: what
/// listens there has its queue full, and Linux then drops what asks to connect.
///
/// ```
/// use backhaul_testkit::BlackHole;
/// use std::io::ErrorKind;
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// let hole = BlackHole::new()?;
/// let error = TcpStream::connect_timeout(&hole.address(), Duration::from_millis(50)).err();
/// assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::TimedOut));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// Takes a free port and fills its queue.
    ///
    /// # Errors
    /// When there is no port to spare, or the kernel goes on answering.
    pub fn new() -> io::Result<Self> {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // A process that a test starts must not inherit it.
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
        bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = SocketAddr::try_from(getsockname(&listener)?)?;
        listen(&listener, 0)?;
        let mut waiting = Vec::new();
        while let Some(connection) = answered(address)? {
            waiting.push(connection);
            if waiting.len() > MOST_WAITING {
                return Err(io::Error::other(format!(
                    "{address} answers although its queue is full: expected the kernel to drop \
                     connections, as Linux does unless net.ipv4.tcp_abort_on_overflow is set"
                )));
            }
        }
        Ok(Self { address, _listener: listener, _waiting: waiting })
    }

    /// Where nobody answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A connection, where one comes about.
fn answered(address: SocketAddr) -> io::Result<Option<TcpStream>> {
    match TcpStream::connect_timeout(&address, SILENCE) {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}
