//! How an answer is given, to a client that may have gone.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_linger, socket_linger};

use super::answer::Act;

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    Close,
}

/// Does what an answer says. The sink leads to the socket.
///
/// # Errors
/// When the client goes away meanwhile.
pub(crate) fn perform(acts: &[Act], socket: &TcpStream, sink: &mut impl Write) -> io::Result<Then> {
    for act in acts {
        match act {
            Act::Send(bytes) => {
                sink.write_all(bytes)?;
                sink.flush()?;
            }
            Act::Pause(time) => stay(socket, Some(*time))?,
            Act::Stall => stay(socket, None)?,
            Act::HangUp => return Ok(Then::Close),
            Act::Reset => {
                // Closing a socket that lingers for no time sends a reset.
                set_socket_linger(socket, Some(Duration::ZERO))?;
                return Ok(Then::Close);
            }
        }
    }
    Ok(Then::GoOn)
}

/// Ends a connection, of which there may be other handles. One that is to be reset must not
/// say farewell before.
pub(crate) fn close(socket: &TcpStream) {
    if socket_linger(socket) != Ok(Some(Duration::ZERO)) {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// Waits for a time, or for ever, as long as the client is there.
fn stay(socket: &TcpStream, time: Option<Duration>) -> io::Result<()> {
    let end = time.map(|time| Instant::now() + time);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // The errors and the end of the connection are told unasked.
        let mut watched = [PollFd::new(socket, PollFlags::RDHUP)];
        match poll(&mut watched, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Err(error) => return Err(error.into()),
        }
    }
}
