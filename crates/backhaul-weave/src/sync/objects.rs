//! Versions of objects and ops, their tags and aliases.
//!
//! A server keeps a version once, however often it is sent. But each time it is sent it
//! becomes the latest, on newer servers. So versions of an object go in the order in which they
//! were logged: all of an object are a stream of their spool. That is not enough in two cases.
//!
//! What they refer to may wait for its turn so: `ahead.rs` has it sent before.
//!
//! A version that may have arrived already is not sent again where something newer is the
//! latest by now. And one that was refused and is brought back later finds newer ones of ours
//! there: the newest is sent once more after it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use backhaul_store::{Standing, StoredRecord, Timestamp};
use backhaul_sync::{LinkError, Method, Verdict};
use serde_json::{Value, json};

use super::ahead::Ahead;
use super::fates::{is_refusal, rejected};
use super::job::{Job, SHORT};
use crate::entry::{DIGEST_LABEL, Entry, EntryType, OBJECT_LABEL};
use crate::remote;

pub(super) async fn deliver(
    job: &Job,
    ahead: &mut Ahead,
    entry: &Entry,
    record: &StoredRecord,
) -> Result<Verdict, LinkError> {
    for (entry, record) in ahead.take_for(job, entry).await? {
        match Version::of(job, &entry, &record).deliver().await {
            // That is told when it is its turn.
            Err(error) if is_refusal(&error) => {}
            said => drop(said?),
        }
    }
    let mut request = job.value_of(entry);
    match entry.entry_type() {
        EntryType::ObjDelete => {
            let digests = request["digests"].as_array_mut();
            digests.into_iter().flatten().for_each(|digest| super::tables::replace(job, digest));
            delete(job, request, record).await
        }
        EntryType::ObjTags => {
            super::tables::replace(job, &mut request["digest"]);
            let digest = remote::segment(request["digest"].as_str().unwrap_or_default());
            put(job, &format!("versions/{digest}/tags"), request).await
        }
        EntryType::ObjAliases => {
            super::tables::replace(job, &mut request["digest"]);
            put(job, "aliases", request).await
        }
        _ => Version::of(job, entry, record).deliver().await,
    }
}

/// Deletes versions. Those that are gone are what was wanted.
async fn delete(job: &Job, request: Value, record: &StoredRecord) -> Result<Verdict, LinkError> {
    match job.post("/obj/delete", request).await {
        Err(error) if is_word_on_a_record(&error) && job.is_in_doubt(&record.id) => {
            Ok(Verdict::Duplicate)
        }
        Err(error) if is_word_on_a_record(&error) => Ok(rejected(&error)),
        said => said.map(|_| Verdict::Delivered),
    }
}

/// Sets tags or aliases. Set twice they are the same.
async fn put(job: &Job, what: &str, mut request: Value) -> Result<Verdict, LinkError> {
    let name = remote::segment(request["object_id"].as_str().unwrap_or_default());
    // They stand in the path.
    if let Some(request) = request.as_object_mut() {
        request.shift_remove("object_id");
        if what != "aliases" {
            request.shift_remove("digest");
        }
    }
    let path = format!("/objs/{name}/{what}");
    let answer = job.send_json(Method::PUT, &path, request, SHORT).await?;
    match remote::read(&answer) {
        Err(error) if is_word_on_a_record(&error) => Ok(rejected(&error)),
        said => said.map(|_| Verdict::Delivered),
    }
}

/// Whether a server says that it has no such version, or knows no tags: that is about this
/// record, while a 404 of something else is about the address.
fn is_word_on_a_record(error: &LinkError) -> bool {
    let is_word = is_refusal(error) || !error.is_doubtful();
    matches!(error.status(), Some(404 | 405)) && is_word
}

/// One version on its way.
struct Version<'a> {
    job: &'a Job,
    record: &'a StoredRecord,
    name: String,
    /// As the server has it, as far as that is known.
    digest: Option<String>,
    logged_at: Timestamp,
    object: Value,
}

/// What the server has of an object.
struct There {
    has_this: bool,
    /// The latest version where that is another: its digest, and when it came there.
    latest: Option<(String, Option<Timestamp>)>,
}

impl<'a> Version<'a> {
    fn of(job: &'a Job, entry: &Entry, record: &'a StoredRecord) -> Self {
        let mut object = job.value_of(entry);
        if let Some(object) = object.as_object_mut() {
            // It is that of references as they stand here.
            object.shift_remove("expected_digest");
        }
        let label = record.facts.labels.get(DIGEST_LABEL);
        let digest = label.map(|ours| theirs(job, ours));
        let name = object["object_id"].as_str().unwrap_or_default().to_owned();
        let logged_at = entry.timestamp().unwrap_or(record.stamp.wall);
        Self { job, record, name, digest, logged_at, object }
    }

    async fn deliver(self) -> Result<Verdict, LinkError> {
        let mut newer = None;
        if self.may_be_late() {
            let there = self.ask().await?;
            if there.has_this && there.latest.is_none() {
                return Ok(Verdict::Duplicate);
            }
            if let Some((latest, came_at)) = &there.latest {
                let standing = self.standing_of(latest).await?;
                let is_newer = match &standing {
                    Known::Ours { newer } => newer.is_some(),
                    Known::Foreign => came_at.is_some_and(|at| at > self.logged_at),
                };
                if there.has_this && is_newer {
                    return Ok(Verdict::Duplicate);
                }
                if let Known::Ours { newer: Some(object) } = standing {
                    newer = Some(object);
                }
            }
        }
        let said = match self.create(self.object.clone()).await {
            Err(error) if error.status() == Some(403) && !is_name(&self.name) => {
                return Ok(rejected(&error));
            }
            said => said?,
        };
        self.job.note_digest(self.record, &said).await?;
        if let Some(object) = newer {
            self.create(*object).await?;
        } else if let Some(digest) = said["digest"].as_str() {
            let place = (self.record.id.position, digest.to_owned());
            self.job.memory().versions.insert(self.name, place);
        }
        Ok(Verdict::Delivered)
    }

    /// Whether this version may have arrived before, or after newer ones.
    fn may_be_late(&self) -> bool {
        let memory = self.job.memory();
        let position = self.record.id.position;
        memory.doubt.is_about(&self.record.id)
            || memory.versions.get(&self.name).is_some_and(|(last, _)| *last > position)
    }

    async fn create(&self, object: Value) -> Result<Value, LinkError> {
        self.job.post("/obj/create", json!({"obj": object})).await
    }

    async fn ask(&self) -> Result<There, LinkError> {
        let Some(latest) = self.read("latest").await? else {
            return Ok(There { has_this: false, latest: None });
        };
        let digest = latest["digest"].as_str().unwrap_or_default().to_owned();
        if self.digest.as_ref() == Some(&digest) {
            return Ok(There { has_this: true, latest: None });
        }
        let has_this = match &self.digest {
            Some(digest) => self.read(digest).await?.is_some(),
            None => false,
        };
        let came_at = latest["created_at"].as_str().and_then(time_of_server);
        Ok(There { has_this, latest: Some((digest, came_at)) })
    }

    /// What the server says of a version, without its value. `None`: it has none such.
    async fn read(&self, digest: &str) -> Result<Option<Value>, LinkError> {
        let asked = json!({
            "project_id": self.job.target.real.to_string(),
            "object_id": self.name,
            "digest": digest,
            "metadata_only": true,
        });
        match self.job.post("/obj/read", asked).await {
            Err(error) if is_word_on_a_record(&error) => Ok(None),
            said => Ok(Some(said?["obj"].take())),
        }
    }

    /// What a version of the object that the server has is to us.
    async fn standing_of(&self, digest: &str) -> Result<Known, LinkError> {
        let last = self.job.memory().versions.get(&self.name).cloned();
        if last.is_some_and(|(at, last)| last == digest && at < self.record.id.position) {
            return Ok(Known::Ours { newer: None });
        }
        let (name, here) = (self.name.clone(), (self.record.stamp.wall, self.record.id.position));
        let versions = self
            .job
            .with_spool(move |spool| {
                let mut versions = Vec::new();
                let names = BTreeSet::from([&*name]);
                spool.each_labelled(OBJECT_LABEL, &names, &mut |record| {
                    versions.push(record);
                    ControlFlow::Continue(())
                })?;
                // One that waits, or was refused, is not there by our doing.
                versions.retain(|record| {
                    let standing = spool.get(record.id.position).map(|(entry, _)| entry.standing);
                    standing.is_ok_and(|standing| standing == Standing::Settled)
                });
                Ok(versions)
            })
            .await?;
        let is_it = |record: &&StoredRecord| {
            let ours = record.facts.labels.get(DIGEST_LABEL);
            ours.is_some_and(|ours| theirs(self.job, ours) == digest)
        };
        let known: Vec<&StoredRecord> = versions.iter().filter(is_it).collect();
        let newer = known.iter().find(|record| (record.stamp.wall, record.id.position) > here);
        Ok(match newer {
            Some(record) => {
                let newer = Entry::of_record(record).ok();
                Known::Ours { newer: newer.map(|entry| Box::new(self.job.value_of(&entry))) }
            }
            None if known.is_empty() => Known::Foreign,
            None => Known::Ours { newer: None },
        })
    }
}

/// Whose version it is.
enum Known {
    Ours {
        /// Where it was logged after the one on its way: what it says.
        newer: Option<Box<Value>>,
    },
    Foreign,
}

/// A digest of ours as the server has it.
fn theirs(job: &Job, ours: &str) -> String {
    job.server.digests.of(&job.target.local, ours).unwrap_or_else(|| ours.to_owned())
}

/// Servers answer 403 to other names, as they do where a key may not write.
fn is_name(name: &str) -> bool {
    name.chars().all(|letter| letter.is_alphanumeric() || "_.-".contains(letter))
}

/// A time of a server's, which may leave out that it is UTC.
fn time_of_server(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_servers_refuse_are_told_from_those_they_take() {
        assert!(is_name("my_op.v-1") && is_name("öp"));
        assert!(!is_name("a b") && !is_name("a/b"));
    }

    #[test]
    fn times_of_servers_are_utc() {
        let with = time_of_server("2026-11-22T02:11:17.492093Z").unwrap();
        assert_eq!(time_of_server("2026-11-22T02:11:17.492093").unwrap(), with);
    }
}
