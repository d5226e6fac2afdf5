//! What was acknowledged, each of which the server owes exactly once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::held::Held;
use super::recorder::Exchange;

/// When a call began and ended, as far as it was told.
#[derive(Debug, Default)]
struct Times {
    started_at: Option<String>,
    ended_at: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Debts {
    calls: BTreeMap<String, Times>,
    feedback: BTreeSet<String>,
    /// The digests of each object's versions, as they were answered. The server may know them
    /// by others.
    versions: BTreeMap<String, BTreeSet<String>>,
    tables: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Debts {
    /// Those of all that was answered with a 200.
    pub(super) fn of(exchanges: &[Exchange]) -> Self {
        let mut debts = Self::default();
        for exchange in exchanges.iter().filter(|exchange| exchange.status == 200) {
            debts.note(exchange);
        }
        debts
    }

    fn note(&mut self, exchange: &Exchange) {
        let parsed = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let (request, answer) = (parsed(&exchange.request), parsed(&exchange.answer));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let path = exchange.path.rsplit_once('/').unwrap();
        match (path.0.rsplit('/').next().unwrap(), path.1) {
            ("calls", "complete") => items(&request["batch"]).for_each(|call| self.call(call)),
            ("call", "upsert_batch") => items(&request["batch"]).for_each(|item| {
                self.call(&item["req"][item["mode"].as_str().unwrap()]);
            }),
            ("call", mode @ ("start" | "end")) => self.call(&request[mode]),
            ("obj", "create") => {
                let versions = self.versions.entry(text(&request["obj"]["object_id"])).or_default();
                versions.insert(text(&answer["digest"]));
            }
            ("table", "create") if request["table"]["rows"] != json!([]) => {
                self.tables.insert(text(&answer["digest"]));
            }
            ("file" | "files", "create") => {
                self.files.insert(text(&answer["digest"]));
            }
            ("feedback", "create") => {
                self.feedback.insert(text(&answer["id"]));
            }
            ("batch", "create") => {
                self.feedback.extend(items(&answer["res"]).map(|item| text(&item["id"])));
            }
            _ => {}
        }
    }

    fn call(&mut self, told: &Value) {
        let times = self.calls.entry(told["id"].as_str().unwrap().to_owned()).or_default();
        for (field, known) in
            [("started_at", &mut times.started_at), ("ended_at", &mut times.ended_at)]
        {
            if let Some(time) = told[field].as_str() {
                *known = Some(time.to_owned());
            }
        }
    }

    /// How many calls, pieces of feedback, versions, tables and files there are.
    pub(super) fn counts(&self) -> [usize; 5] {
        let versions = self.versions.values().map(BTreeSet::len).sum();
        let [tables, files] = [&self.tables, &self.files].map(BTreeSet::len);
        [self.calls.len(), self.feedback.len(), versions, tables, files]
    }

    /// What of it a server lacks, has twice or has otherwise.
    pub(super) fn unpaid(&self, held: &Held) -> Vec<String> {
        let mut unpaid = doubled(held);
        let calls = held.calls_by_id();
        for (id, times) in &self.calls {
            match calls.get(id.as_str()) {
                None => unpaid.push(format!("call {id} is missing")),
                Some(found) => unpaid.extend(times.differ(found[0])),
            }
        }
        let feedback = held.feedback_by_id();
        let lost = self.feedback.iter().filter(|id| !feedback.contains_key(id.as_str()));
        unpaid.extend(lost.map(|id| format!("feedback {id} is missing")));
        let versions = held.versions();
        for (object, acknowledged) in &self.versions {
            let found = versions.get(object.as_str()).map_or(0, Vec::len);
            if found < acknowledged.len() {
                let wanted = acknowledged.len();
                unpaid.push(format!("{object} has {found} versions, not {wanted}"));
            }
        }
        let lost = self.tables.iter().filter(|digest| !held.has_table(digest));
        unpaid.extend(lost.map(|digest| format!("table {digest} is missing")));
        let lost = self.files.iter().filter(|digest| !held.has_file(digest));
        unpaid.extend(lost.map(|digest| format!("file {digest} is missing")));
        unpaid
    }
}

/// What a server has more than once.
pub(super) fn doubled(held: &Held) -> Vec<String> {
    let twice = |kind: &'static str, found: BTreeMap<&str, Vec<&Value>>| {
        let twice = found.into_iter().filter(|(_, items)| items.len() > 1);
        twice.map(|(id, items)| format!("{kind} {id} is there {} times", items.len())).collect()
    };
    let mut doubled: Vec<String> = twice("call", held.calls_by_id());
    doubled.extend::<Vec<String>>(twice("feedback", held.feedback_by_id()));
    for (object, versions) in held.versions() {
        let digests: BTreeSet<_> = versions.iter().map(|one| one["digest"].as_str()).collect();
        if digests.len() < versions.len() {
            doubled.push(format!("{object} has a version twice"));
        }
    }
    doubled
}

impl Times {
    /// Where a call has other times than were told.
    fn differ(&self, call: &Value) -> Option<String> {
        let is = |field: &str, told: &Option<String>| match told {
            Some(told) => call[field].as_str().map(microseconds) == Some(microseconds(told)),
            None => true,
        };
        let same = is("started_at", &self.started_at) && is("ended_at", &self.ended_at);
        (!same).then(|| format!("{self:?} were told of {call}"))
    }
}

/// A time in UTC in one spelling: `2026-11-22T17:10:53.326000`.
fn microseconds(time: &str) -> String {
    let time = time.trim_end_matches('Z').trim_end_matches("+00:00");
    let (second, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{second}.{fraction:0<6}")
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().unwrap().iter()
}
