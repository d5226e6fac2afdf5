//! What a trace server holds of the scenario's project, by its own answers.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

const PROJECT: &str = "local/scenario";
/// `api:reference-key`.
const AUTHORIZATION: &str = "Basic YXBpOnJlZmVyZW5jZS1rZXk=";

pub(super) struct Held {
    port: u16,
    pub(super) calls: Vec<Value>,
    pub(super) feedback: Vec<Value>,
    pub(super) objects: Vec<Value>,
}

impl Held {
    pub(super) fn ask(port: u16) -> Self {
        let list = |path, field: &str| {
            let answer: Value = serde_json::from_str(&asked(port, path, json!({}))).unwrap();
            answer[field].as_array().unwrap().clone()
        };
        let calls = asked(port, "/calls/stream_query", json!({}));
        Self {
            port,
            calls: calls.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            feedback: list("/feedback/query", "result"),
            objects: list("/objs/query", "objs"),
        }
    }

    /// How many calls there are of each id.
    pub(super) fn calls_by_id(&self) -> BTreeMap<&str, Vec<&Value>> {
        by(&self.calls, "id")
    }

    pub(super) fn feedback_by_id(&self) -> BTreeMap<&str, Vec<&Value>> {
        by(&self.feedback, "id")
    }

    /// The versions of each object and op.
    pub(super) fn versions(&self) -> BTreeMap<&str, Vec<&Value>> {
        by(&self.objects, "object_id")
    }

    pub(super) fn has_file(&self, digest: &str) -> bool {
        post(self.port, "/file/content", json!({"digest": digest})).0 == 200
    }

    pub(super) fn has_table(&self, digest: &str) -> bool {
        let answer = asked(self.port, "/table/query", json!({"digest": digest}));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["rows"].as_array().is_some_and(|rows| !rows.is_empty())
    }
}

fn by<'a>(items: &'a [Value], field: &str) -> BTreeMap<&'a str, Vec<&'a Value>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        found.entry(item[field].as_str().unwrap()).or_default().push(item);
    }
    found
}

#[track_caller]
fn asked(port: u16, path: &str, body: Value) -> String {
    let (status, answer) = post(port, path, body);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// Status and body that a server answers about the project.
pub(super) fn post(port: u16, path: &str, mut body: Value) -> (u16, String) {
    body["project_id"] = json!(PROJECT);
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: {AUTHORIZATION}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // Files are not text, and nobody reads them here.
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
