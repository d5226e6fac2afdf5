//! A real server and a folder, with the same in both, and the same questions to them.

use backhaul_testkit::WeaveServer;
use backhaul_weave::{OfflineOptions, OfflineTraceServer, Reads, TraceError};
use serde_json::{Value, json};

use super::logged::{self, PROJECT, Step};
use crate::http::{post_json, post_lines};

/// The real server, and the folder, with the same in both.
pub(super) struct Both {
    pub(super) server: WeaveServer,
    pub(super) ours: OfflineTraceServer,
    pub(super) reads: Reads,
    _folder: tempfile::TempDir,
}

impl Both {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = WeaveServer::start("0.52.42", &folder.path().join("weave.db")).unwrap();
        let ours = OfflineTraceServer::open(folder.path().join("ours"), OfflineOptions::default())
            .unwrap();
        let reads = Reads::of_server(&ours);
        Self { server, ours, reads, _folder: folder }
    }

    pub(super) fn log(&self, steps: &[Step]) {
        for step in steps {
            let (status, answer) = post_json(&self.server, step.path, &step.body);
            assert_eq!(status, 200, "{}: {}: {answer}", step.path, step.body);
        }
        logged::log(&self.ours, steps);
    }

    /// The answers to a request, which both give.
    #[track_caller]
    pub(super) fn answers_are_the_same(
        &self,
        path: &str,
        request: &Value,
        ours: impl FnOnce(&Reads, &Value) -> Result<Value, TraceError>,
    ) -> Value {
        let answer =
            self.compare(path, request, ours).unwrap_or_else(|differs| panic!("{differs}"));
        answer.unwrap_or_else(|| panic!("{path} {request:#}: both refuse it"))
    }

    /// What both answer to a request, `None` where both refuse it; or in what they differ.
    pub(super) fn compare(
        &self,
        path: &str,
        request: &Value,
        ours: impl FnOnce(&Reads, &Value) -> Result<Value, TraceError>,
    ) -> Result<Option<Value>, String> {
        let mut asked = request.clone();
        asked["project_id"] = json!(PROJECT);
        let (status, theirs) = match path {
            "/calls/stream_query" => post_lines(&self.server, path, &asked),
            path => post_json(&self.server, path, &asked),
        };
        let ours = match (status, ours(&self.reads, &asked)) {
            (200, Ok(ours)) => comparable(ours),
            (400.., Err(_)) => return Ok(None),
            (_, ours) => {
                return Err(format!("{path} {request}\nours {ours:?}\ntheirs {status} {theirs}"));
            }
        };
        let theirs = comparable(theirs);
        match backhaul_json::same_in_python(&ours, &theirs) {
            true => Ok(Some(ours)),
            false => Err(format!("{path} {request}\n{}", difference(&ours, &theirs, "answer"))),
        }
    }

    #[track_caller]
    pub(super) fn refuse_both(
        &self,
        path: &str,
        request: &Value,
        ours: impl FnOnce(&Reads, &Value) -> Result<Value, TraceError>,
    ) -> TraceError {
        let mut request = request.clone();
        request["project_id"] = json!(PROJECT);
        let (status, theirs) = post_json(&self.server, path, &request);
        assert!(status >= 400, "{request}: {theirs}");
        ours(&self.reads, &request).unwrap_err()
    }
}

/// Without what two servers cannot share: when things were made, and what a reaction is
/// called in words.
fn comparable(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for key in ["created_at", "alias", "detoned", "detoned_alias"] {
                map.remove(key);
            }
            map.values_mut().for_each(|inner| *inner = comparable(inner.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| *inner = comparable(inner.take())),
        _ => {}
    }
    value
}

/// The first place where two values differ.
fn difference(ours: &Value, theirs: &Value, at: &str) -> String {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            let mut differing = keys.filter(|key| {
                !backhaul_json::same_in_python(&ours[key.as_str()], &theirs[key.as_str()])
                    || one.contains_key(*key) != other.contains_key(*key)
            });
            let key = differing.next().unwrap();
            difference(&ours[key.as_str()], &theirs[key.as_str()], &format!("{at}.{key}"))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            let (index, (one, other)) =
                pairs.find(|(_, (one, other))| !backhaul_json::same_in_python(one, other)).unwrap();
            difference(one, other, &format!("{at}[{index}]"))
        }
        (Value::Array(one), Value::Array(other)) => {
            let ids =
                |list: &[Value]| list.iter().map(|one| one["id"].to_string()).collect::<Vec<_>>();
            format!("{at}: ours {:?}\ntheirs {:?}", ids(one), ids(other))
        }
        _ => format!("{at}: ours {ours}, theirs {theirs}"),
    }
}
