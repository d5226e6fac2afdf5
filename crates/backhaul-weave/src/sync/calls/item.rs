//! What stands in one place of a request: a record, or two that meet.

use std::collections::HashMap;

use backhaul_store::{Position, RecordId};
use serde_json::{Map, Value, json};

use crate::entry::EntryType;

/// A record of a batch, read.
pub(super) struct Record {
    /// Its place in the batch.
    pub(super) at: usize,
    pub(super) id: RecordId,
    pub(super) entry_type: EntryType,
    pub(super) value: Value,
    pub(super) bytes: usize,
}

/// What is sent together.
pub(super) struct Item {
    /// Places in the batch and names.
    pub(super) records: Vec<(usize, RecordId)>,
    pub(super) call: String,
    pub(super) part: Part,
    pub(super) bytes: usize,
}

/// What an item says of a call.
pub(super) enum Part {
    /// All of it, by one record.
    Complete(Value),
    /// All of it, by two.
    Pair {
        start: Value,
        end: Value,
    },
    Start(Value),
    End(Value),
    /// Something that happened to it, or spans.
    Other(EntryType, Value),
}

/// What is done with a batch, in order.
pub(super) enum Step {
    Send(Vec<Item>),
    Delete(Record),
}

/// Cuts a batch at its deletions: with a call those that were begun below it are deleted, and
/// no later ones. Between two, a start meets the end that follows it.
pub(super) fn steps(records: Vec<Record>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    for record in records {
        if record.entry_type == EntryType::CallsDelete {
            steps.push(Step::Send(std::mem::take(&mut items)));
            steps.push(Step::Delete(record));
            open.clear();
            continue;
        }
        let item = Item::alone(record);
        let begun = match item.part {
            Part::End(_) => open.remove(&item.call).and_then(|at| items.get_mut(at)),
            _ => None,
        };
        match begun {
            Some(begun) => begun.end_with(item),
            None => {
                if let Part::Start(_) = item.part {
                    open.insert(item.call.clone(), items.len());
                }
                items.push(item);
            }
        }
    }
    steps.push(Step::Send(items));
    steps
}

impl Item {
    pub(super) fn alone(record: Record) -> Self {
        let call = record.call().to_owned();
        let Record { at, id, entry_type, value, bytes } = record;
        let part = match entry_type {
            EntryType::CallStart => Part::Start(value),
            EntryType::CallEnd => Part::End(value),
            EntryType::CallComplete => Part::Complete(value),
            other => Part::Other(other, value),
        };
        Self { records: vec![(at, id)], call, part, bytes }
    }

    fn end_with(&mut self, ending: Item) {
        self.records.extend(ending.records);
        self.bytes += ending.bytes;
        let part = std::mem::replace(&mut self.part, Part::Complete(Value::Null));
        self.part = match (part, ending.part) {
            (Part::Start(start), Part::End(end)) => Part::Pair { start, end },
            (part, _) => part,
        };
    }

    /// The two parts of a pair, each for itself; another item stays whole.
    pub(super) fn split(self) -> Vec<Item> {
        let Item { records, call, part, bytes } = self;
        let (Part::Pair { start, end }, &[first, last]) = (&part, &*records) else {
            return vec![Item { records, call, part, bytes }];
        };
        let half = |record, part| Item {
            records: vec![record],
            call: call.clone(),
            part,
            bytes: bytes / 2,
        };
        vec![half(first, Part::Start(start.clone())), half(last, Part::End(end.clone()))]
    }

    /// What is left of it where the server has the call already, and it did not end there.
    pub(super) fn end(self) -> Option<Item> {
        let Item { mut records, call, part, bytes } = self;
        let end = match part {
            Part::Pair { end, .. } => end,
            Part::Complete(value) => end_of(&value),
            _ => return None,
        };
        let last = records.pop()?;
        Some(Item { records: vec![last], call, part: Part::End(end), bytes })
    }

    /// The place of its first record.
    pub(super) fn position(&self) -> Position {
        self.records.first().map_or_else(|| unreachable!(), |(_, id)| id.position)
    }

    pub(super) fn value(&self) -> &Value {
        match &self.part {
            Part::Complete(value) | Part::Start(value) | Part::End(value) => value,
            Part::Pair { start, .. } => start,
            Part::Other(_, value) => value,
        }
    }

    /// Whether it is a call's start or end, or both.
    pub(super) fn is_of_the_call_itself(&self) -> bool {
        !matches!(self.part, Part::Other(..))
    }

    pub(super) fn begins_its_call(&self) -> bool {
        match self.part {
            Part::Complete(_) | Part::Pair { .. } | Part::Start(_) => true,
            Part::End(_) => false,
            Part::Other(entry_type, _) => entry_type == EntryType::OtelExport,
        }
    }

    /// Whether the call is over with it; `None`: it says nothing about that.
    pub(super) fn ends_its_call(&self) -> Option<bool> {
        match self.part {
            Part::Complete(_) | Part::Pair { .. } | Part::End(_) => Some(true),
            Part::Start(_) => Some(false),
            Part::Other(..) => None,
        }
    }

    /// An item of `calls/complete`; `None`: it is none.
    pub(super) fn complete(&self) -> Option<Value> {
        match &self.part {
            Part::Complete(value) => Some(value.clone()),
            Part::Pair { start, end } => Some(merged(start, end)),
            _ => None,
        }
    }

    /// Its items of `call/upsert_batch`.
    pub(super) fn upserts(&self) -> Vec<Value> {
        let start = |start: &Value| json!({"mode": "start", "req": {"start": start}});
        let end = |end: &Value| json!({"mode": "end", "req": {"end": end}});
        match &self.part {
            Part::Complete(value) => vec![start(&start_of(value)), end(&end_of(value))],
            Part::Pair { start: first, end: last } => vec![start(first), end(last)],
            Part::Start(value) => vec![start(value)],
            Part::End(value) => vec![end(value)],
            Part::Other(..) => Vec::new(),
        }
    }
}

/// Fields of an end that a start does not have.
const OF_ENDS: [&str; 5] = ["ended_at", "exception", "output", "summary", "wb_run_step_end"];
/// Fields of an end that also say which call it is.
const OF_BOTH: [&str; 2] = ["project_id", "id"];

/// A call of its start and its end.
fn merged(start: &Value, end: &Value) -> Value {
    let mut call = start.as_object().cloned().unwrap_or_default();
    for (field, value) in end.as_object().into_iter().flatten() {
        // What both say, such as when it began, the start says for sure.
        if field != "is_eval" && !call.contains_key(field) {
            call.insert(field.clone(), value.clone());
        }
    }
    Value::Object(call)
}

fn start_of(call: &Value) -> Value {
    fields(call, |field| !OF_ENDS.contains(&field))
}

fn end_of(call: &Value) -> Value {
    fields(call, |field| OF_ENDS.contains(&field) || OF_BOTH.contains(&field))
}

fn fields(call: &Value, is_meant: impl Fn(&str) -> bool) -> Value {
    let fields = call.as_object().into_iter().flatten();
    let meant = fields.filter(|(field, _)| is_meant(field));
    meant.map(|(field, value)| (field.clone(), value.clone())).collect::<Map<_, _>>().into()
}
