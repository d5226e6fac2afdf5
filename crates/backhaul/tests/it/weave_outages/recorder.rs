//! A proxy that writes down what was asked and answered.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A request that was answered.
pub(super) struct Exchange {
    pub(super) path: String,
    pub(super) request: Vec<u8>,
    pub(super) status: u16,
    pub(super) answer: Vec<u8>,
}

/// What stands between agents and a gateway. It lives as long as the test's process.
pub(super) struct Recorder {
    address: SocketAddr,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Recorder {
    /// In front of a gateway, which may come and go.
    pub(super) fn before(gateway: SocketAddr) -> Self {
        Self::lying_before(gateway, u64::MAX)
    }

    /// One that itself answers each `nth` write of calls with a 200, and tells the gateway
    /// nothing: as a gateway would look that acknowledges what it has not stored.
    pub(super) fn lying_before(gateway: SocketAddr, nth: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let exchanges = Arc::new(Mutex::default());
        let writes = Arc::new(AtomicU64::new(0));
        let record = Arc::clone(&exchanges);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (record, writes) = (Arc::clone(&record), Arc::clone(&writes));
                std::thread::spawn(move || relay(&client, gateway, &record, nth, &writes));
            }
        });
        Self { address, exchanges }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was answered so far.
    pub(super) fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.exchanges.lock().unwrap())
    }
}

/// One request per connection, so that its end is the answer's. Where the gateway gives no
/// whole answer the client gets none.
fn relay(
    mut client: &TcpStream,
    gateway: SocketAddr,
    record: &Mutex<Vec<Exchange>>,
    nth: u64,
    writes: &AtomicU64,
) -> io::Result<()> {
    let (path, head, request) = read_request(client)?;
    let is_lie = path.contains("/call") && writes.fetch_add(1, Ordering::Relaxed) % nth == nth - 1;
    let answer = if is_lie {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_vec()
    } else {
        ask(gateway, &head, &request)?
    };
    let (status, body) = parsed(&answer).ok_or(io::ErrorKind::InvalidData)?;
    // What the gateway has answered is a promise, whether the client lives to hear it or not.
    record.lock().unwrap().push(Exchange { path, request, status, answer: body });
    client.write_all(&answer)
}

/// Path, head for the gateway, and body.
fn read_request(client: &TcpStream) -> io::Result<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        assert!(!lower.starts_with("transfer-encoding:"), "no client has sent chunks so far");
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok((path, head, body))
}

fn ask(gateway: SocketAddr, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer that is whole.
fn parsed(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + 4..)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    if length.is_some_and(|length: usize| length != body.len()) {
        return None;
    }
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_vec()))
}
