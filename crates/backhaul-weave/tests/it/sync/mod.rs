//! Delivery to Weave's own trace servers. What counts is what the server holds afterwards.

mod arrival;
mod broken_off;
mod changes;
mod digests;
mod marked;
mod order;
mod put_off;
mod refused;
mod running;
mod twice;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backhaul_sync::header::{self, HeaderMap, HeaderValue};
use backhaul_sync::{Method, SyncOptions, Transport};
use backhaul_testkit::{FaultLink, WeaveServer};
use backhaul_weave::{
    Credentials, Entry, EntryType, Kind, OfflineDataSyncer, OfflineOptions, OfflineTraceServer,
    ProjectId, Remote, SyncStatistics,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A project of a real server, and a folder of its own.
pub(crate) struct World {
    shared: Arc<Shared>,
    folder: TempDir,
    pub(crate) project: ProjectId,
    /// The numbers of its calls begin behind it: the server has the ids of all projects in one.
    base: usize,
}

/// It takes seconds to start: those of one version share it.
struct Shared {
    server: WeaveServer,
    _folder: TempDir,
    worlds: AtomicUsize,
}

pub(crate) fn remote(url: &str) -> Remote {
    let credentials = Credentials::new(Some("key".into()));
    let transport = Transport::new(Duration::from_secs(30)).unwrap();
    Remote::new(transport, Some(url), Some(url), credentials).unwrap()
}

/// Waits that are worth nobody's time.
pub(crate) fn quickly() -> SyncOptions {
    let wait = Duration::from_millis(20);
    SyncOptions {
        backoff_initial: wait,
        backoff_max: wait * 4,
        backoff_jitter: false,
        ..SyncOptions::default()
    }
}

impl World {
    pub(crate) fn new(version: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = WeaveServer::start(version, &folder.path().join("weave.db")).unwrap();
        let worlds = AtomicUsize::new(0);
        Self::of(Arc::new(Shared { server, _folder: folder, worlds }))
    }

    /// Another project, with a folder of its own, of the same server.
    pub(crate) fn beside(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }

    fn of(shared: Arc<Shared>) -> Self {
        let number = shared.worlds.fetch_add(1, Ordering::SeqCst);
        let project = ProjectId::new("local", &format!("p{number}")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { shared, folder, project, base: number * 1_000 }
    }

    pub(crate) fn url(&self) -> String {
        self.shared.server.url()
    }

    /// A link to the server that fails when it is told to.
    pub(crate) fn link(&self) -> FaultLink {
        FaultLink::to(([127, 0, 0, 1], self.shared.server.port()).into()).unwrap()
    }

    pub(crate) fn id(&self, number: usize) -> String {
        format!("01920000-0000-7000-8000-{:012}", self.base + number)
    }

    /// A reference into the project.
    pub(crate) fn reference(&self, rest: &str) -> String {
        format!("weave:///{}/{rest}", self.project)
    }

    /// A table that no other project has.
    pub(crate) fn table(&self, rows: &[i32]) -> Value {
        let row = |number: &i32| json!({"z": number, "a": self.base});
        let rows: Vec<Value> = rows.iter().map(row).collect();
        json!({"project_id": self.project.to_string(), "rows": rows})
    }

    /// The folder, as the next process finds it.
    pub(crate) fn offline(&self) -> OfflineTraceServer {
        OfflineTraceServer::open(self.folder.path(), OfflineOptions::default()).unwrap()
    }

    pub(crate) fn syncer_of(&self, offline: &OfflineTraceServer) -> OfflineDataSyncer {
        let remote = remote(&self.url());
        OfflineDataSyncer::of_server(remote, offline.clone(), quickly()).unwrap()
    }

    /// Has a process of its own deliver everything.
    pub(crate) async fn sync(&self) -> SyncStatistics {
        self.syncer_of(&self.offline()).sync().await.unwrap()
    }

    pub(crate) fn log(&self, offline: &OfflineTraceServer, entries: &[(EntryType, Value)]) {
        let entries: Vec<Entry> =
            entries.iter().map(|(kind, data)| Entry::of_value(*kind, data)).collect();
        offline.log(&self.project, &entries).unwrap();
    }

    pub(crate) fn start(&self, number: usize, op_name: &str) -> (EntryType, Value) {
        let start = json!({
            "project_id": self.project.to_string(),
            "id": self.id(number),
            "op_name": op_name,
            "trace_id": self.id(900_000_000 + number),
            "started_at": "2026-01-02T03:04:05.678901Z",
            "attributes": {},
            "inputs": {"number": number},
        });
        (EntryType::CallStart, start)
    }

    pub(crate) fn end(&self, number: usize) -> (EntryType, Value) {
        let end = json!({
            "project_id": self.project.to_string(),
            "id": self.id(number),
            "ended_at": "2026-01-02T03:04:06.000001Z",
            "output": {"answer": number},
            "summary": {},
        });
        (EntryType::CallEnd, end)
    }

    pub(crate) fn rename(&self, number: usize, name: &str) -> (EntryType, Value) {
        let project = self.project.to_string();
        let rename =
            json!({"project_id": project, "call_id": self.id(number), "display_name": name});
        (EntryType::CallUpdate, rename)
    }

    pub(crate) fn deletion(&self, numbers: &[usize]) -> (EntryType, Value) {
        let ids: Vec<String> = numbers.iter().map(|number| self.id(*number)).collect();
        let project = self.project.to_string();
        (EntryType::CallsDelete, json!({"project_id": project, "call_ids": ids}))
    }

    pub(crate) fn note(&self, number: usize, of_call: usize) -> (EntryType, Value) {
        let note = json!({
            "project_id": self.project.to_string(),
            "id": self.id(500_000_000 + number),
            "weave_ref": self.reference(&format!("call/{}", self.id(of_call))),
            "feedback_type": "wandb.note.1",
            "payload": {"note": format!("note {number}")},
        });
        (EntryType::FeedbackCreate, note)
    }

    pub(crate) fn publish(&self, offline: &OfflineTraceServer, name: &str, value: Value) -> String {
        let project = self.project.to_string();
        let object = json!({"project_id": project, "object_id": name, "val": value});
        offline.create_object(&self.project, &object).unwrap()
    }

    // --- What the server holds ---------------------------------------------------

    pub(crate) async fn ask(&self, path: &str, question: Value) -> Value {
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]);
        let body = question.to_string().into_bytes().into();
        let remote = remote(&self.url());
        let answer = remote.send(Method::POST, path, headers, body, 1 << 30, None).await.unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// All calls, by id.
    pub(crate) async fn calls(&self) -> Vec<Value> {
        self.calls_of(&self.project).await
    }

    pub(crate) async fn calls_of(&self, project: &ProjectId) -> Vec<Value> {
        let asked = json!({"project_id": project.to_string()});
        let said = self.ask("/calls/query", asked).await;
        let mut calls = said["calls"].as_array().unwrap().clone();
        calls.sort_by_key(|call| call["id"].to_string());
        calls
    }

    /// All versions of an object: digest, and whether it is the latest.
    pub(crate) async fn versions(&self, name: &str) -> Vec<(String, bool)> {
        let project = self.project.to_string();
        let asked = json!({"project_id": project, "filter": {"object_ids": [name]}});
        let said = self.ask("/objs/query", asked).await;
        let versions = said["objs"].as_array().unwrap().iter();
        versions
            .map(|one| (one["digest"].as_str().unwrap().to_owned(), one["is_latest"] == 1))
            .collect()
    }

    /// The notes that there are, each as often as it is there.
    pub(crate) async fn notes(&self) -> Vec<String> {
        let asked = json!({"project_id": self.project.to_string()});
        let said = self.ask("/feedback/query", asked).await;
        let rows = said["result"].as_array().unwrap().iter();
        let mut notes: Vec<String> =
            rows.map(|row| row["payload"]["note"].as_str().unwrap().to_owned()).collect();
        notes.sort();
        notes
    }
}

/// The numbers of the one project that was synced, in the order of kinds.
pub(crate) fn numbers(statistics: &SyncStatistics) -> Vec<(u64, u64)> {
    let (_, kinds) = statistics.first_key_value().unwrap();
    Kind::ALL.iter().map(|kind| kinds[kind]).collect()
}

#[track_caller]
pub(crate) fn ids(calls: &[Value]) -> Vec<&str> {
    calls.iter().map(|call| call["id"].as_str().unwrap()).collect()
}
