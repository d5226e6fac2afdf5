//! What logs by the library, in the process of the test.

use backhaul::weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId};
use backhaul_testkit::Prng;
use serde_json::json;

use super::debts::doubled;
use super::held::Held;
use super::seed;
use super::stage::Stage;

/// Some of everything, as a library logs it.
pub(super) struct Logger {
    server: OfflineTraceServer,
    project: ProjectId,
    random: Prng,
    calls: Vec<String>,
    feedback: Vec<String>,
    versions: usize,
}

impl Logger {
    pub(super) fn new(stage: &Stage) -> Self {
        let server =
            OfflineTraceServer::open(stage.data_dir().join("weave"), OfflineOptions::default());
        Self {
            server: server.unwrap(),
            project: "local/scenario".parse().unwrap(),
            random: Prng::new(seed()),
            calls: Vec::new(),
            feedback: Vec::new(),
            versions: 0,
        }
    }

    /// The ids of the calls that were logged.
    pub(super) fn calls(&self) -> &[String] {
        &self.calls
    }

    pub(super) fn feedback(&self) -> &[String] {
        &self.feedback
    }

    /// So many calls, and one of everything else.
    pub(super) fn log(&mut self, calls: usize) {
        self.versions += 1;
        let object = json!({
            "project_id": "local/scenario", "object_id": "library", "val": {"n": self.versions},
        });
        self.server.create_object(&self.project, &object).unwrap();
        let rows = json!({"project_id": "local/scenario", "rows": [{"n": self.versions}]});
        self.server.create_table(&self.project, &rows).unwrap();
        let content = self.versions.to_string();
        self.server.create_file(&self.project, "n.txt", None, content.as_bytes()).unwrap();
        let entries: Vec<Entry> = (0..calls).flat_map(|_| self.call()).collect();
        self.server.log(&self.project, &entries).unwrap();
    }

    /// A call, whose start and end come apart now and then, and feedback to it.
    fn call(&mut self) -> Vec<Entry> {
        let [id, trace, feedback] = [(); 3].map(|()| uuid::Uuid::now_v7().to_string());
        let (started_at, ended_at) = ("2026-11-22T10:00:00.000001Z", "2026-11-22T10:00:01.5Z");
        let start = json!({
            "project_id": "local/scenario", "id": id, "op_name": "measure", "trace_id": trace,
            "started_at": started_at, "attributes": {}, "inputs": {"n": self.calls.len()},
        });
        let end = json!({
            "project_id": "local/scenario", "id": id, "ended_at": ended_at, "output": 1,
            "summary": {},
        });
        let reaction = json!({
            "project_id": "local/scenario", "id": feedback,
            "weave_ref": format!("weave:///local/scenario/call/{id}"),
            "feedback_type": "wandb.note.1", "payload": {"note": "as expected"},
        });
        let mut entries = if self.random.chance(0.5) {
            let mut complete = start;
            complete.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
            vec![Entry::of_value(EntryType::CallComplete, &complete)]
        } else {
            let both = [(EntryType::CallStart, start), (EntryType::CallEnd, end)];
            both.iter().map(|(entry_type, data)| Entry::of_value(*entry_type, data)).collect()
        };
        entries.push(Entry::of_value(EntryType::FeedbackCreate, &reaction));
        self.calls.push(id);
        self.feedback.push(feedback);
        entries
    }

    /// What a server lacks or has twice of it.
    pub(super) fn unpaid(&self, held: &Held) -> Vec<String> {
        let mut unpaid = doubled(held);
        let (calls, feedback) = (held.calls_by_id(), held.feedback_by_id());
        let ended = |id: &str| calls.get(id).is_some_and(|call| !call[0]["ended_at"].is_null());
        let lost = self.calls.iter().filter(|id| !ended(id));
        unpaid.extend(lost.map(|id| format!("call {id} is missing, or its end")));
        let lost = self.feedback.iter().filter(|id| !feedback.contains_key(id.as_str()));
        unpaid.extend(lost.map(|id| format!("feedback {id} is missing")));
        let versions = held.versions();
        if versions["library"].len() != self.versions {
            unpaid.push(format!("{} versions, not {}", versions["library"].len(), self.versions));
        }
        let newest = versions["library"].iter().find(|one| one["is_latest"] == 1).unwrap();
        if newest["val"]["n"] != self.versions {
            unpaid.push(format!("the latest version is {newest}"));
        }
        unpaid
    }
}
