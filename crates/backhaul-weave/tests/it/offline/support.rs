//! A folder on a simulated disk, and what is in it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use backhaul_store::{Disk, Options, Standing, StoredRecord};
use backhaul_testkit::{ManualClock, SimDisk};
use backhaul_weave::{
    Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId, TraceError,
};
use serde_json::{Value, json};

pub(crate) const DIR: &str = "/home/me/.weave/offline";

/// Small files, so that a few dozen records span several; and no thread of their own.
pub(crate) fn options() -> OfflineOptions {
    OfflineOptions {
        max_file_size: 16 << 10,
        min_free_bytes: Some(0),
        store: Options {
            first_extent_bytes: 4 << 10,
            maintenance_thread: false,
            machine: Some("this machine".to_owned()),
            ..Options::default()
        },
        ..OfflineOptions::default()
    }
}

pub(crate) fn open(disk: &SimDisk) -> OfflineTraceServer {
    open_on(Arc::new(disk.clone()), options(), &ManualClock::new()).unwrap()
}

pub(crate) fn open_on(
    disk: Arc<dyn Disk>,
    options: OfflineOptions,
    clock: &ManualClock,
) -> Result<OfflineTraceServer, TraceError> {
    OfflineTraceServer::open_on(DIR, options, disk, Arc::new(clock.clone()))
}

/// A folder on the real disk.
pub(crate) fn open_at(dir: &Path) -> OfflineTraceServer {
    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    OfflineTraceServer::open(dir, options).unwrap()
}

pub(crate) fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

pub(crate) fn call(id: &str) -> Entry {
    Entry::of_value(EntryType::CallStart, &json!({"id": id, "op_name": "f", "inputs": {}}))
}

pub(crate) fn object(name: &str, value: &Value) -> Value {
    json!({"project_id": "me/mine", "object_id": name, "val": value})
}

/// All records of a kind, chain by chain.
pub(crate) fn records(
    server: &OfflineTraceServer,
    project: &ProjectId,
    kind: Kind,
) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    if let Some(spool) = server.spool(project, kind).unwrap() {
        let visit = &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        };
        spool.each_from(&BTreeMap::new(), visit).unwrap();
    }
    records
}

pub(crate) fn entries(server: &OfflineTraceServer, project: &ProjectId, kind: Kind) -> Vec<Entry> {
    records(server, project, kind).iter().map(|record| Entry::of_record(record).unwrap()).collect()
}

/// The ids of all calls' records, in order of the files.
pub(crate) fn call_ids(server: &OfflineTraceServer, project: &ProjectId) -> Vec<String> {
    let calls = entries(server, project, Kind::Calls);
    calls.iter().map(|entry| entry.value()["id"].as_str().unwrap().to_owned()).collect()
}

/// Settles all that waits of a kind, as if a server had it.
pub(crate) fn deliver(server: &OfflineTraceServer, project: &ProjectId, kind: Kind) {
    if let Some(spool) = server.spool(project, kind).unwrap() {
        spool.drop_all(Standing::Pending, "delivered").unwrap();
    }
}

pub(crate) fn deliver_all(server: &OfflineTraceServer, project: &ProjectId) {
    Kind::ALL.into_iter().for_each(|kind| deliver(server, project, kind));
}

/// The names of files in a folder of a real disk, sorted.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
