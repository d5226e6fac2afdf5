//! A port that is kept whether or not anybody listens at it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// While nobody listens, a bound socket keeps the port, so that no other test is given it.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    listener: Option<TcpListener>,
    kept: Option<OwnedFd>,
}

impl Port {
    /// Takes a free port of 127.0.0.1 and listens at it.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        let mut port = Self { address, listener: None, kept: Some(socket) };
        port.listen()?;
        Ok(port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// None while connections are refused.
    pub(crate) fn listener(&self) -> Option<&TcpListener> {
        self.listener.as_ref()
    }

    pub(crate) fn listen(&mut self) -> io::Result<()> {
        if let Some(socket) = self.kept.take() {
            listen(&socket, BACKLOG)?;
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            self.listener = Some(listener);
        }
        Ok(())
    }

    /// Has connections refused. The port is free for a moment, because a socket cannot
    /// be bound beside one that listens.
    pub(crate) fn refuse(&mut self) -> io::Result<()> {
        if self.listener.take().is_some() {
            self.kept = Some(bound(self.address)?);
        }
        Ok(())
    }
}

fn bound(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // A process that a test starts must not inherit it.
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}
