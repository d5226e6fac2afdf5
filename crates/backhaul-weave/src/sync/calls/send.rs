//! Requests with calls, as each version of the server takes them.

use std::collections::{HashSet, VecDeque};

use backhaul_sync::header::{self, HeaderMap, HeaderName, HeaderValue};
use backhaul_sync::{LinkError, Method, Verdict};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Run;
use super::item::{Item, Part};
use crate::entry::EntryType;
use crate::remote;
use crate::sync::fates::{is_failure_of_the_server, is_no_path, is_refusal};
use crate::sync::job::{Job, SHORT};

/// Most bytes of records in a request: servers take 32 MiB, and clients send 31.
const MOST_BYTES: usize = 31 << 20;
/// Most calls in a request, as clients have it.
const MOST_CALLS: usize = 1_000;
/// Bytes of what is said of a start or an end: its id and its trace's.
const RESULT: usize = 128;
/// What a server says that keeps whole calls of a project, and was told of a part in the old way.
const MODE_REQUIRED: &str = "CALLS_COMPLETE_MODE_REQUIRED";
/// Whose spans they are.
const PROJECT_ID: HeaderName = HeaderName::from_static("project_id");
/// The path of spans, and what servers up to 0.52.23 call it.
const SPAN_PATHS: [&str; 2] = ["/otel/v1/traces", "/otel/v1/trace"];

/// Items of one request.
struct Group {
    items: Vec<Item>,
    /// Whether they come from one that was refused.
    is_part: bool,
}

impl Run<'_> {
    /// Sends whole calls, then starts, then ends.
    pub(super) async fn send_calls(&mut self, items: Vec<Item>) {
        let mut groups = self.groups(items);
        while let Some(Group { items, is_part }) = groups.pop_front() {
            if self.is_over {
                return;
            }
            let items = self.without_stuck_ends(items);
            let items = match is_part {
                true => match self.settle_known(items).await {
                    Ok(items) => items,
                    Err(error) => return self.stop(&error),
                },
                false => items,
            };
            if items.is_empty() {
                continue;
            }
            match self.job.send_group(&items).await {
                Ok(()) => items.iter().for_each(|item| self.arrived(item)),
                Err(error) => self.group_failed(items, &error, &mut groups).await,
            }
        }
    }

    /// As large as the server takes them; those over which it failed before go last, alone.
    fn groups(&self, items: Vec<Item>) -> VecDeque<Group> {
        let rank = |item: &Item| match item.part {
            Part::Start(_) => 1,
            Part::End(_) => 2,
            _ => 0,
        };
        let (suspects, mut items): (Vec<Item>, Vec<Item>) = {
            let memory = self.job.memory();
            let is_suspect = |(_, id): &(_, _)| memory.suspects.contains(id);
            items.into_iter().partition(|item| item.records.iter().any(is_suspect))
        };
        items.sort_by_key(rank);
        let takes_parts = !self.job.server.complete_calls.is_likely();
        let mut groups: VecDeque<Group> = VecDeque::new();
        let mut room = (0, 0);
        for item in items {
            let joins = takes_parts || rank(&item) == 0;
            let fits = room.0 >= item.bytes && room.1 > 0;
            match groups.back_mut().filter(|_| joins && fits) {
                Some(group) => {
                    room = (room.0 - item.bytes, room.1 - 1);
                    group.items.push(item);
                }
                None => {
                    room = if joins {
                        (MOST_BYTES.saturating_sub(item.bytes), MOST_CALLS - 1)
                    } else {
                        (0, 0)
                    };
                    groups.push_back(Group { items: vec![item], is_part: false });
                }
            }
        }
        let alone = |item| Group { items: vec![item], is_part: false };
        groups.extend(suspects.into_iter().map(alone));
        groups
    }

    fn without_stuck_ends(&mut self, items: Vec<Item>) -> Vec<Item> {
        let (waiting, free): (Vec<Item>, Vec<Item>) = items
            .into_iter()
            .partition(|item| !item.begins_its_call() && self.stuck.contains(&item.call));
        for item in waiting {
            self.put_off(&item, "the start of its call did not get through");
        }
        free
    }

    /// Finds out which of several is refused. Over which of them a server fails shows later,
    /// when each goes alone.
    async fn group_failed(
        &mut self,
        mut items: Vec<Item>,
        error: &LinkError,
        groups: &mut VecDeque<Group>,
    ) {
        self.note_doubt(&items);
        let is_pair = matches!(&*items, [Item { part: Part::Pair { .. }, .. }]);
        if is_refusal(error) && (items.len() > 1 || is_pair) {
            let parts = if is_pair {
                items.into_iter().flat_map(Item::split).map(|item| vec![item]).collect()
            } else {
                let rest = items.split_off(items.len() / 2);
                vec![items, rest]
            };
            for items in parts.into_iter().rev() {
                groups.push_front(Group { items, is_part: true });
            }
            return;
        }
        if let [item] = &*items {
            return self.call_failed(item, error).await;
        }
        let records: Vec<usize> =
            items.iter().flat_map(|item| &item.records).map(|(at, _)| *at).collect();
        self.fates.fail(&records, error, false);
        self.is_over = true;
        if is_failure_of_the_server(error) {
            let ids = items.iter().flat_map(|item| &item.records).map(|(_, id)| *id);
            self.job.memory().suspects.extend(ids);
        }
    }

    /// A server fails over an id that it has. It showed no such call; but it does not show
    /// those that were deleted.
    async fn call_failed(&mut self, item: &Item, error: &LinkError) {
        let is_deleted = match is_failure_of_the_server(error) && item.begins_its_call() {
            true => {
                let deleted = self.job.deleted_later(HashSet::from([item.call.clone()])).await;
                deleted.is_ok_and(|deleted| !deleted.is_empty())
            }
            false => false,
        };
        if !is_deleted {
            return self.failed(item, error);
        }
        self.job.memory().has_call(&item.call);
        self.say(item, &Verdict::Duplicate);
    }
}

impl Job {
    /// Sends calls in one request, in the way that the server knows.
    async fn send_group(&self, items: &[Item]) -> Result<(), LinkError> {
        let support = &self.server.complete_calls;
        if support.is_likely() {
            match self.send_whole(items).await {
                Err(error) if is_no_path(&error) => {}
                sent => return sent,
            }
        }
        let batch: Vec<Value> = items.iter().flat_map(Item::upserts).collect();
        let body = json!({"batch": batch});
        let answer_bytes = SHORT + 2 * items.len() * RESULT;
        let (method, path) = (Method::POST, "/call/upsert_batch");
        let answer = self.send_json(method, path, body, answer_bytes).await?;
        let said = backhaul_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status == 400 && said["error_code"] == MODE_REQUIRED {
            support.note(true);
            // One at a time, as those that are no whole calls have to go.
            for item in items {
                self.send_whole(std::slice::from_ref(item)).await?;
            }
            return Ok(());
        }
        remote::read(&answer)?;
        support.note(false);
        Ok(())
    }

    /// Sends whole calls; or one start, or one end.
    async fn send_whole(&self, items: &[Item]) -> Result<(), LinkError> {
        let [entity, project] = [self.target.real.entity(), self.target.real.project()];
        let base = format!("/v2/{}/{}", remote::segment(entity), remote::segment(project));
        let (path, body) = match items {
            [Item { part: Part::Start(start), .. }] => ("call/start", json!({"start": start})),
            [Item { part: Part::End(end), .. }] => ("call/end", json!({"end": end})),
            items => {
                let batch: Vec<Value> = items.iter().filter_map(Item::complete).collect();
                ("calls/complete", json!({"batch": batch}))
            }
        };
        self.post(&format!("{base}/{path}"), body).await?;
        self.server.complete_calls.note(true);
        Ok(())
    }

    /// Sends what is about calls that are there, or spans.
    pub(super) async fn send_item(&self, item: &Item) -> Result<(), LinkError> {
        match &item.part {
            Part::Other(EntryType::OtelExport, value) => self.send_spans(value).await,
            _ => self.post("/call/update", item.value().clone()).await.map(drop),
        }
    }

    async fn send_spans(&self, export: &Value) -> Result<(), LinkError> {
        let text = |field: &str| export[field].as_str();
        let path = text("path").unwrap_or(SPAN_PATHS[0]);
        let mut headers = HeaderMap::new();
        let project = self.target.real.to_string();
        for (name, value) in [
            (PROJECT_ID, Some(&*project)),
            (header::CONTENT_TYPE, Some(text("content_type").unwrap_or("application/x-protobuf"))),
            (header::CONTENT_ENCODING, text("content_encoding")),
        ] {
            let value = value.map(HeaderValue::from_str).transpose();
            let value = value.map_err(|error| LinkError::bad_batch(error.to_string()))?;
            headers.extend(value.map(|value| (name, value)));
        }
        let body = STANDARD.decode(text("body").unwrap_or_default());
        let body =
            bytes::Bytes::from(body.map_err(|error| LinkError::bad_batch(error.to_string()))?);
        let send = |path, headers, body| self.send(Method::POST, path, headers, body, SHORT);
        let mut answer = send(path, headers.clone(), body.clone()).await?;
        if answer.status == 404 && SPAN_PATHS.contains(&path) {
            let other = SPAN_PATHS.into_iter().find(|other| *other != path).unwrap_or(path);
            answer = send(other, headers, body).await?;
        }
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(remote::refusal(&answer)),
        }
    }
}
