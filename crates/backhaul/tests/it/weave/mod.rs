//! Weave's collector from outside: what real clients sent is sent again, real clients log to
//! it, and what is on disk is counted.

mod clients;
mod hostile;
mod many;
mod online;
mod refusals;
mod replay;
mod writes;

use std::ops::ControlFlow;
use std::path::Path;

use backhaul::store::{Spool, StoredRecord};
use backhaul::weave::{Entry, EntryType, Kind};
use serde_json::Value;

use crate::support::{Hub, Reply, command, header};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A collector without a real server anywhere.
fn offline(data_dir: &Path) -> Hub {
    collector(data_dir, NOWHERE)
}

/// A collector before the server at `url`.
fn collector(data_dir: &Path, url: &str) -> Hub {
    let mut serve = command(&["serve", "--weave-url", url, "--wandb-url", url]);
    serve.env_remove("WANDB_ENTITY").env_remove("WANDB_API_KEY").env("HOME", data_dir);
    Hub::try_start(&mut serve, data_dir)
}

impl Hub {
    fn post_json(&self, path: &str, body: &str) -> Reply {
        // As clients up to 0.52.42 do: without a Content-Type.
        self.request("POST", path, &[], body.as_bytes())
    }

    /// The JSON of a 200.
    #[track_caller]
    fn answer(&self, path: &str, body: &Value) -> Value {
        let reply = self.post_json(path, &body.to_string());
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.json()
    }
}

/// A file as the parts of a form, and the header that says so.
fn form(parts: &[(&str, &[u8])]) -> (Vec<(String, String)>, Vec<u8>) {
    let mut body = Vec::new();
    for (head, content) in parts {
        let head = format!("--cut\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend(b"--cut--\r\n");
    (vec![header("Content-Type", "multipart/form-data; boundary=cut")], body)
}

/// What is on disk of one kind of a project's data.
fn logged(data_dir: &Path, project: &str, kind: Kind) -> Vec<StoredRecord> {
    let folder = data_dir.join("weave").join(project).join(kind.name());
    let mut records = Vec::new();
    if let Ok(spool) = Spool::open_read_only(folder) {
        let visit = &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        };
        spool.each_from(&Default::default(), visit).unwrap();
    }
    records
}

/// The same, as entries.
fn entries(data_dir: &Path, project: &str, kind: Kind) -> Vec<Entry> {
    let records = logged(data_dir, project, kind);
    records.iter().map(|record| Entry::of_record(record).unwrap()).collect()
}

/// How many there are of each type, over all kinds, but for the record of the project.
fn counts(data_dir: &Path, project: &str) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let all = Kind::ALL.into_iter().flat_map(|kind| entries(data_dir, project, kind));
    for entry in all.filter(|entry| entry.entry_type() != EntryType::Project) {
        let name = entry.entry_type().name();
        match counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name.to_owned(), 1)),
        }
    }
    counts.sort();
    counts
}

/// The values of an answer of one a line, which comes in chunks.
fn lines(reply: &Reply) -> Vec<Value> {
    assert!(reply.head.contains("transfer-encoding: chunked"), "{}", reply.head);
    let (mut text, mut rest) = (String::new(), reply.body.as_str());
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
}
