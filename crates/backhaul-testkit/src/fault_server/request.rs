//! A request as a server got it.

use std::io::{self, BufRead, Read as _};
use std::time::Instant;

use flate2::read::MultiGzDecoder;

use crate::http_head::{Framing, HttpHead};

/// More than any test sends.
const LONGEST_HEAD: u64 = 64 << 10;

/// A request, whole.
#[derive(Debug, Clone)]
pub struct Request {
    head: HttpHead,
    body: Vec<u8>,
    wire_bytes: usize,
    received: Instant,
}

impl Request {
    /// The first line: `POST /v1/runs HTTP/1.1`.
    pub fn line(&self) -> &str {
        &self.head.line
    }

    /// `POST`, for instance.
    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// The path with its query.
    pub fn path(&self) -> &str {
        self.head.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of a name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// All headers, in order.
    pub fn headers(&self) -> &[(String, String)] {
        &self.head.headers
    }

    /// The body, decompressed where it came in gzip. What is no gzip although it says so
    /// stays as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Bytes of the body as it came, without the sizes of chunks.
    pub fn wire_bytes(&self) -> usize {
        self.wire_bytes
    }

    /// When the last byte had come.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// Puts a request together.
    pub(crate) fn new(head: HttpHead, body: Vec<u8>) -> Self {
        let wire_bytes = body.len();
        let body = match head.header("content-encoding") {
            Some("gzip") => decompressed(&body).unwrap_or(body),
            _ => body,
        };
        Self { head, body, wire_bytes, received: Instant::now() }
    }
}

fn decompressed(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(body).read_to_end(&mut plain)?;
    Ok(plain)
}

/// Reads a head. `None`: the client has nothing more to ask.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<HttpHead>> {
    let mut head = Vec::new();
    let mut reader = reader.take(LONGEST_HEAD);
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return match head.is_empty() {
                true => Ok(None),
                false => Err(broken_off()),
            };
        }
    }
    Ok(Some(HttpHead::parse(&head)))
}

/// Reads a body to its end.
pub(crate) fn read_body(reader: &mut impl BufRead, head: &HttpHead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match head.request_framing() {
        Framing::Length(length) => read_exactly(reader, length, &mut body)?,
        Framing::UntilClose => {
            reader.read_to_end(&mut body)?;
        }
        Framing::Chunked => loop {
            let line = read_line(reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            match u64::from_str_radix(size, 16).map_err(io::Error::other)? {
                0 => break,
                size => read_exactly(reader, size, &mut body)?,
            }
            read_line(reader)?;
        },
    }
    if head.request_framing() == Framing::Chunked {
        while !read_line(reader)?.is_empty() {}
    }
    Ok(body)
}

fn read_exactly(reader: &mut impl BufRead, count: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let got = reader.take(count).read_to_end(body)?;
    if got as u64 == count { Ok(()) } else { Err(broken_off()) }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Err(broken_off()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn broken_off() -> io::Error {
    io::Error::from(io::ErrorKind::UnexpectedEof)
}
