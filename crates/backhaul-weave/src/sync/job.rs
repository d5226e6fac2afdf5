//! One batch on its way, and the requests that it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_store::{Batch, Lane, RecordId, Spool};
use backhaul_sync::header::HeaderMap;
use backhaul_sync::{Answer, Criticality, LinkError, Method};
use bytes::Bytes;
use serde_json::Value;

use super::ahead::Ahead;
use super::fates::Fates;
use super::memory::Memory;
use super::server::{Server, not_written};
use super::target::Target;
use super::{extra_fields, files, metadata, objects, tables};
use crate::entry::{DIGEST_LABEL, Entry, EntryType};
use crate::kind::Kind;
use crate::remote;

/// Most bytes of an answer that says little. A data cap sets all of it aside for as long as a
/// request takes.
pub(super) const SHORT: usize = 64 << 10;
/// Each version of a server refuses some fields, which it names all at once, or one type of
/// item after the other.
const MOST_REPAIRS: usize = 4;

/// What a batch is sent with.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) server: Arc<Server>,
    pub(super) target: Arc<Target>,
    pub(super) spool: Spool,
    pub(super) kind: Kind,
    pub(super) memory: Arc<Mutex<Memory>>,
    criticality: Criticality,
}

impl Job {
    pub(super) fn new(
        server: Arc<Server>,
        target: Arc<Target>,
        spool: Spool,
        kind: Kind,
        memory: Arc<Mutex<Memory>>,
        lane: Lane,
    ) -> Self {
        let criticality = match lane {
            Lane::Critical => Criticality::Critical,
            _ => Criticality::Normal,
        };
        Self { server, target, spool, kind, memory, criticality }
    }

    /// What the records of the kind and those of batches before have left to know.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        // No call leaves it half changed.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_in_doubt(&self, id: &RecordId) -> bool {
        self.memory().doubt.is_about(id)
    }

    /// Sends a request to the trace server.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        answer_bytes: usize,
    ) -> Result<Answer, LinkError> {
        let criticality = Some(self.criticality);
        let remote = &self.server.remote;
        remote.send(method, path, headers, body, answer_bytes, criticality).await
    }

    /// Sends JSON and gives the answer, whatever its status is. Fields that this version of the
    /// server does not know, and refuses, are left out, and nothing else.
    pub(super) async fn send_json(
        &self,
        method: Method,
        path: &str,
        mut body: Value,
        answer_bytes: usize,
    ) -> Result<Answer, LinkError> {
        let mut repairs = 0;
        loop {
            let text = backhaul_json::to_vec(&body, backhaul_json::Style::Compact);
            let headers = remote::json_headers();
            let answer =
                self.send(method.clone(), path, headers, text.into(), answer_bytes).await?;
            let left_out = match answer.status {
                422 if repairs < MOST_REPAIRS => extra_fields::leave_out(&mut body, &answer.body),
                _ => Vec::new(),
            };
            if left_out.is_empty() {
                return Ok(answer);
            }
            repairs += 1;
            let fields = left_out.join(", ");
            tracing::warn!(path, fields, "the server refuses fields: sent without them");
        }
    }

    /// Posts JSON and gives what the server says.
    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, LinkError> {
        self.post_for(path, body, SHORT).await
    }

    /// The same where the server says more: at most so many bytes.
    pub(super) async fn post_for(
        &self,
        path: &str,
        body: Value,
        answer_bytes: usize,
    ) -> Result<Value, LinkError> {
        remote::read(&self.send_json(Method::POST, path, body, answer_bytes).await?)
    }

    /// What an entry says, as the server has to be told.
    pub(super) fn value_of(&self, entry: &Entry) -> Value {
        let mut value = entry.value();
        self.target.rewrite(&self.server.digests, &mut value);
        value
    }

    /// Writes down, before the record is settled, which digests are others there.
    pub(super) async fn note_digests(
        &self,
        digests: BTreeMap<String, String>,
    ) -> Result<(), LinkError> {
        let (server, project) = (Arc::clone(&self.server), self.target.local.clone());
        let noted = tokio::task::spawn_blocking(move || server.digests.note(&project, digests));
        let noted = noted.await.map_err(|error| LinkError::busy(error.to_string()))?;
        noted.map_err(|error| not_written(&error))
    }

    /// The same of a record's own digest.
    pub(super) async fn note_digest(
        &self,
        record: &backhaul_store::StoredRecord,
        said: &Value,
    ) -> Result<(), LinkError> {
        let ours = record.facts.labels.get(DIGEST_LABEL);
        let (Some(ours), Some(theirs)) = (ours, said["digest"].as_str()) else { return Ok(()) };
        self.note_digests(BTreeMap::from([(ours.clone(), theirs.to_owned())])).await
    }

    /// Does something with the spool on a thread that may wait.
    pub(super) async fn with_spool<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Spool) -> backhaul_store::Result<T> + Send + 'static,
    ) -> Result<T, LinkError> {
        let spool = self.spool.clone();
        let looked = tokio::task::spawn_blocking(move || look(&spool)).await;
        let looked = looked.map_err(|error| LinkError::busy(error.to_string()))?;
        looked.map_err(|error| LinkError::busy(format!("the spool cannot be read: {error}")))
    }

    /// What has to be sent before its turn, where the kind's records refer to each other.
    async fn ahead_of(&self, batch: &Batch) -> Result<Ahead, LinkError> {
        match self.kind {
            Kind::Ops | Kind::Objects => Ahead::of(self, batch).await,
            _ => Ok(Ahead::default()),
        }
    }

    /// Delivers records each with requests of its own, in order.
    pub(super) async fn one_by_one(&self, batch: &Batch) -> Fates {
        let mut fates = Fates::new(batch.records.len());
        let mut failures = 0;
        let mut ahead = match self.ahead_of(batch).await {
            Ok(ahead) => ahead,
            Err(error) => {
                fates.fail(&[0], &error, true);
                return fates;
            }
        };
        for (at, offer) in batch.records.iter().enumerate() {
            let id = offer.record.id;
            let entry = match Entry::of_record(&offer.record) {
                Ok(entry) => entry,
                Err(error) => {
                    fates.say(at, unreadable(&error));
                    continue;
                }
            };
            let sent = match entry.entry_type() {
                EntryType::Project | EntryType::CostCreate => {
                    metadata::deliver(self, &entry, &id).await
                }
                EntryType::FileCreate => files::deliver(self, &entry).await,
                _ if self.kind == Kind::Tables => {
                    tables::deliver(self, &entry, &offer.record).await
                }
                _ => objects::deliver(self, &mut ahead, &entry, &offer.record).await,
            };
            match sent {
                Ok(verdict) => {
                    self.memory().doubt.clear(&id);
                    fates.say(at, verdict);
                    failures = 0;
                }
                Err(error) => {
                    self.memory().doubt.note(id);
                    fates.fail(&[at], &error, true);
                    failures += 1;
                    let is_its_fault = super::fates::is_refusal(&error)
                        || super::fates::is_failure_of_the_server(&error) && failures == 1;
                    if !is_its_fault {
                        break;
                    }
                }
            }
        }
        fates
    }
}

/// A verdict on a record that holds no entry.
pub(super) fn unreadable(error: &crate::error::TraceError) -> backhaul_sync::Verdict {
    backhaul_sync::Verdict::Rejected { reason: error.to_string(), status: None }
}
