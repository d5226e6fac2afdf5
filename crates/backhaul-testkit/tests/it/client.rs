//! A client of a few lines.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything here takes on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub(crate) struct Client(pub(crate) TcpStream);

/// An answer, as far as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) text: String,
    /// Why no more came. `None`: the server closed the connection.
    pub(crate) error: Option<io::ErrorKind>,
}

impl Heard {
    pub(crate) fn status(&self) -> Option<u16> {
        self.text.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Posts a body and hears the answer, which has to have a length.
    pub(crate) fn post(&mut self, body: &str) -> Heard {
        self.send(&post(body));
        self.hear()
    }

    /// One answer with a `Content-Length`, or what came of it.
    pub(crate) fn hear(&mut self) -> Heard {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let mut error = None;
        while let Some(missing) = missing(&bytes) {
            let most = missing.min(buffer.len());
            match self.0.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(why) => {
                    error = Some(why.kind());
                    break;
                }
            }
        }
        Heard { text: String::from_utf8(bytes).unwrap(), error }
    }

    /// Everything until the connection ends.
    pub(crate) fn hear_all(&mut self) -> Heard {
        let mut bytes = Vec::new();
        let error = self.0.read_to_end(&mut bytes).err().map(|error| error.kind());
        Heard { text: String::from_utf8(bytes).unwrap(), error }
    }

    /// Hears nothing for a moment: neither bytes nor an end.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let heard = self.0.read(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn say_no_more(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

/// A request with a body.
pub(crate) fn post(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// How many bytes of an answer are missing; one, as long as that is not known.
fn missing(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end.map(|at| at + 4) else { return Some(1) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    (end + length).checked_sub(bytes.len()).filter(|missing| *missing > 0)
}

/// Waits until something is so.
pub(crate) fn wait_for(what: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENCE, "it never came to be");
        std::thread::sleep(Duration::from_millis(1));
    }
}
