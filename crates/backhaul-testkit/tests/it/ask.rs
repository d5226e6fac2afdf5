//! A question to a model's server, and what came of it.

use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;

use serde_json::Value;

use crate::client::Client;

/// An answer, with its chunks put together.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body is as long as was promised.
    pub(crate) is_whole: bool,
    /// Why no more came. `None`: the server closed the connection.
    pub(crate) error: Option<ErrorKind>,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The data of the events, each as the standard puts it together.
    pub(crate) fn data(&self) -> Vec<String> {
        let text = String::from_utf8(self.body.clone()).unwrap().replace("\r\n", "\n");
        let events = text.split("\n\n").map(|event| {
            let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
            data.map(|it| it.strip_prefix(' ').unwrap_or(it)).collect::<Vec<_>>().join("\n")
        });
        events.filter(|data| !data.is_empty()).collect()
    }

    /// The events that are JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.data().iter().filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    /// What stands at a place of each event, put together.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let texts = self.events();
        texts.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
    }
}

/// Asks, and hears all of the answer.
pub(crate) fn ask(address: SocketAddr, path: &str, body: &str) -> Reply {
    let mut client = Client::to(address);
    client.send(&question(path, body));
    hear(&mut client)
}

/// A request as it is sent; one without a body is a GET.
pub(crate) fn question(path: &str, body: &str) -> String {
    let method = if body.is_empty() { "GET" } else { "POST" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn hear(client: &mut Client) -> Reply {
    let mut bytes = Vec::new();
    let error = client.0.read_to_end(&mut bytes).err().map(|error| error.kind());
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Reply { error, ..Reply::default() };
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let rest = &bytes[end + 4..];
    let (body, is_whole) = if head.to_lowercase().contains("transfer-encoding: chunked") {
        without_chunks(rest)
    } else {
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|it| it.lines().next());
        (rest.to_vec(), length.is_none_or(|length| length.parse() == Ok(rest.len())))
    };
    Reply { head, body, is_whole, error }
}

/// The body as far as it came, and whether it came to its end.
fn without_chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        rest = &rest[at + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 {
            return (body, true);
        }
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
