//! A connection whose bytes are counted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use url::{Host, Url};

use super::probe::{ProbeBytes, ProbeError, ProbeErrorKind};
use crate::bandwidth::wire_bytes;
use crate::causes::with_causes;

/// Two questions, for addresses of IPv4 and IPv6, and their answers. An estimate.
const LOOKUP_BYTES: u64 = 500;
/// A packet without payload: headers of IPv6 and TCP.
const BARE_PACKET: u64 = 72;
/// What one attempt to connect takes: three packets, whether they are answered or repeated.
const OPENING: u64 = 3 * BARE_PACKET;
/// Two ends, and their acknowledgements.
const CLOSING: u64 = 4 * BARE_PACKET;

/// Another address is tried beside one that has not answered for so long (RFC 8305, 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// A host has one or two addresses of each kind; the more are tried, the more it costs.
const MOST_ADDRESSES: usize = 4;
/// What a server that sends more than is read can have under way, uncounted. Enough for a
/// chain of certificates.
const RECEIVE_BUFFER: u32 = 16 << 10;

/// Connects to the host of a URL: whichever of its addresses answers first.
pub(super) async fn dial(url: &Url, bytes: &Arc<ProbeBytes>) -> Result<Counted, ProbeError> {
    let addresses = resolve(url, bytes).await?;
    let mut attempts = JoinSet::new();
    for (address, turn) in addresses.into_iter().take(MOST_ADDRESSES).zip(0..) {
        let bytes = Arc::clone(bytes);
        attempts.spawn(async move {
            tokio::time::sleep(NEXT_ADDRESS * turn).await;
            connect(address, bytes).await
        });
    }
    let mut failure = ProbeError::new(ProbeErrorKind::Dns, "it has no address");
    while let Some(attempt) = attempts.join_next().await {
        match attempt.map_err(io::Error::from).flatten() {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = ProbeError::new(ProbeErrorKind::Connect, error.to_string()),
        }
    }
    Err(failure)
}

async fn resolve(url: &Url, bytes: &ProbeBytes) -> Result<Vec<SocketAddr>, ProbeError> {
    let port = url.port_or_known_default().unwrap_or_default();
    match url.host() {
        Some(Host::Ipv4(ip)) => Ok(vec![(ip, port).into()]),
        Some(Host::Ipv6(ip)) => Ok(vec![(ip, port).into()]),
        Some(Host::Domain(name)) => {
            bytes.add(LOOKUP_BYTES);
            // Where it is given up, its thread goes on until the resolver does so too.
            let found = lookup_host((name, port)).await;
            Ok(found.map_err(|error| dns_error(name, &error))?.collect())
        }
        None => Ok(Vec::new()),
    }
}

fn dns_error(name: &str, error: &io::Error) -> ProbeError {
    ProbeError::new(ProbeErrorKind::Dns, format!("{name}: {}", with_causes(error)))
}

async fn connect(address: SocketAddr, bytes: Arc<ProbeBytes>) -> io::Result<Counted> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    bytes.add(OPENING);
    let stream = socket.connect(address).await?;
    bytes.add(CLOSING);
    stream.set_nodelay(true)?;
    Ok(Counted { stream, bytes })
}

/// A TCP connection that counts what goes over it.
pub(super) struct Counted {
    stream: TcpStream,
    bytes: Arc<ProbeBytes>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.bytes.add(wire_bytes(buffer.filled().len().saturating_sub(before) as u64));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, buffer))?;
        self.bytes.add(wire_bytes(written as u64));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
