//! What records say, gathered before it is written to the index.

use std::collections::BTreeMap;

use backhaul_store::{StoredRecord, Timestamp};
use serde_json::Value;

use super::call_facts::{StartFacts, with_data};
use super::call_row::{EndFacts, GivenName};
use super::event::Event;
use super::schema::hash;
use crate::digest;
use crate::entry::{DIGEST_LABEL, Entry, EntryType};
use crate::kind::Kind;
use crate::reads::place::Place;

/// What some records of one kind say.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) calls: BTreeMap<String, CallChange>,
    pub(super) events: Vec<Event>,
    /// By digest: the record, and the number of rows.
    pub(super) tables: BTreeMap<String, (Place, u64)>,
    pub(super) rows: Vec<(u64, Place, u32)>,
    pub(super) feedback: Vec<Feedback>,
    pub(super) purges: Vec<(i64, Place)>,
}

/// What some records say of one call.
#[derive(Debug, Default)]
pub(super) struct CallChange {
    pub(super) start: Option<StartFacts>,
    pub(super) ends: Vec<EndFacts>,
    pub(super) name: Option<GivenName>,
    pub(super) deleted: Option<(i64, Place)>,
}

#[derive(Debug)]
pub(super) struct Feedback {
    pub(super) at: i64,
    pub(super) place: Place,
    pub(super) id: String,
    /// The hash of what it is about.
    pub(super) about: u64,
}

/// A record, as far as it was read.
struct Read<'a> {
    place: Place,
    at: Timestamp,
    entry: &'a Entry,
    record: &'a StoredRecord,
}

impl Batch {
    /// Takes a record in. `digest_of`: what the server calls a value.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        record: &StoredRecord,
        digest_of: &dyn Fn(&Value) -> String,
    ) {
        let place = Place::of(record.id.position);
        let entry = match Entry::of_record(record) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::debug!(id = %record.id, %error, "a record of Weave's data is not shown");
                return;
            }
        };
        let at = entry.timestamp().unwrap_or(record.stamp.wall);
        let read = Read { place, at, entry: &entry, record };
        match kind {
            Kind::Calls => self.take_call(&read),
            Kind::Ops | Kind::Objects => self.events.extend(Event::read(
                &entry,
                kind,
                at.as_micros(),
                place,
                record.facts.labels.get(DIGEST_LABEL).map(String::as_str),
                digest_of,
            )),
            Kind::Tables => self.take_table(&read, digest_of),
            Kind::Feedback => self.take_feedback(&read),
            Kind::Files | Kind::Metadata => {}
        }
    }

    fn take_call(&mut self, read: &Read<'_>) {
        let (place, at, entry) = (read.place, read.at, read.entry);
        let (starts, ends) = match entry.entry_type() {
            EntryType::CallStart => (true, false),
            EntryType::CallEnd => (false, true),
            EntryType::CallComplete => (true, true),
            EntryType::CallUpdate => return self.take_name(read),
            EntryType::CallsDelete => return self.take_deletion(read),
            _ => return,
        };
        with_data(entry.data(), |data| {
            let Some(id) = data.id.as_deref() else { return };
            let change = self.calls.entry(id.to_owned()).or_default();
            if starts && change.start.is_none() {
                change.start = Some(data.start(place, at));
            }
            if ends {
                change.ends.push(data.end(place, at));
            }
        });
    }

    fn take_name(&mut self, read: &Read<'_>) {
        let data = read.entry.value();
        let (Some(id), Some(name)) = (data["call_id"].as_str(), data["display_name"].as_str())
        else {
            return;
        };
        let given = GivenName { at: read.at.as_micros(), place: read.place, name: name.to_owned() };
        let known = &mut self.calls.entry(id.to_owned()).or_default().name;
        *known = known.take().max(Some(given));
    }

    fn take_deletion(&mut self, read: &Read<'_>) {
        let data = read.entry.value();
        for id in data["call_ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let known = &mut self.calls.entry(id.to_owned()).or_default().deleted;
            *known = Option::max(*known, Some((read.at.as_micros(), read.place)));
        }
    }

    fn take_table(&mut self, read: &Read<'_>, digest_of: &dyn Fn(&Value) -> String) {
        let data = read.entry.value();
        let label = read.record.facts.labels.get(DIGEST_LABEL);
        let rows = |key: &str| data[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let (digest, count) = match read.entry.entry_type() {
            EntryType::TableCreate => {
                let digests = row_digests(rows("rows"), label.map(String::as_str), digest_of);
                self.add_rows(read.place, &digests);
                (digest::of_table(&digests), digests.len())
            }
            EntryType::TableFromDigests => {
                let digests = rows("row_digests").iter().filter_map(Value::as_str);
                (digest::of_table(digests.clone()), digests.count())
            }
            EntryType::TableUpdate => {
                let added: Vec<String> = added_rows(rows("updates")).map(digest_of).collect();
                self.add_rows(read.place, &added);
                // Without a label its name follows from that of another table.
                (String::new(), 0)
            }
            _ => return,
        };
        let digest = label.cloned().unwrap_or(digest);
        if !digest.is_empty() {
            self.tables.entry(digest).or_insert((read.place, count as u64));
        }
    }

    fn add_rows(&mut self, place: Place, digests: &[String]) {
        let rows = (0..).zip(digests).map(|(index, digest)| (hash(digest), place, index));
        self.rows.extend(rows);
    }

    fn take_feedback(&mut self, read: &Read<'_>) {
        let (at, data) = (read.at.as_micros(), read.entry.value());
        let kind = read.entry.entry_type();
        if matches!(kind, EntryType::FeedbackPurge | EntryType::FeedbackReplace) {
            self.purges.push((at, read.place));
        }
        if matches!(kind, EntryType::FeedbackCreate | EntryType::FeedbackReplace) {
            let text = |key: &str| data[key].as_str().unwrap_or_default();
            self.feedback.push(Feedback {
                at,
                place: read.place,
                id: text("id").to_owned(),
                about: hash(text("weave_ref")),
            });
        }
    }
}

/// The rows that an update of a table brings along.
pub(in crate::reads) fn added_rows(updates: &[Value]) -> impl Iterator<Item = &Value> {
    updates.iter().filter_map(|update| update["append"].get("row").or(update["insert"].get("row")))
}

/// The digests of a table's rows. `label`: what the table was called when it was stored,
/// when less may have been known of the server's names for projects.
pub(in crate::reads) fn row_digests(
    rows: &[Value],
    label: Option<&str>,
    digest_of: &dyn Fn(&Value) -> String,
) -> Vec<String> {
    let digests: Vec<String> = rows.iter().map(digest_of).collect();
    match label {
        Some(label) if digest::of_table(&digests) != label => {
            let plain: Vec<String> = rows.iter().map(digest::of_value).collect();
            if digest::of_table(&plain) == label { plain } else { digests }
        }
        _ => digests,
    }
}
