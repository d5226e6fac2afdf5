//! Requests to a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use backhaul_testkit::WeaveServer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Status and text that the server answers.
fn ask(
    server: &WeaveServer,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Basic {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        STANDARD.encode("api:key"),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Status and body that the server answers to a POST.
pub(crate) fn post(
    server: &WeaveServer,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> (u16, Value) {
    let (status, body) = ask(server, "POST", path, content_type, body);
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

pub(crate) fn post_json(server: &WeaveServer, path: &str, body: &Value) -> (u16, Value) {
    post(server, path, "application/json", body.to_string().as_bytes())
}

pub(crate) fn put_json(server: &WeaveServer, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = ask(server, "PUT", path, "application/json", body.to_string().as_bytes());
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// The same where the answer is one value a line.
pub(crate) fn post_lines(server: &WeaveServer, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = ask(server, "POST", path, "application/json", body.to_string().as_bytes());
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
    (status, body.lines().map(read).collect())
}
