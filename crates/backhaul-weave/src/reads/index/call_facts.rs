//! What the index needs of the records of calls, read without building values of what is
//! in them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use backhaul_store::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::call_row::{EndFacts, FAILED, FAILED_BELOW};
use super::schema::{KeyKind, hash};
use crate::reads::place::Place;
use crate::reads::time;

/// What a record says of the start of a call.
#[derive(Debug)]
pub(crate) struct StartFacts {
    pub(crate) place: Place,
    pub(crate) started_at: i64,
    pub(crate) parent: Option<String>,
    pub(crate) op_name: Option<String>,
    /// What it is found by.
    pub(crate) keys: Vec<(KeyKind, u64)>,
}

/// The fields of a start, an end or a whole call that the index needs.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct CallData<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parent_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    op_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thread_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    turn_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    wb_run_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    wb_user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    exception: Option<Cow<'a, str>>,
    #[serde(borrow)]
    started_at: Option<&'a RawValue>,
    #[serde(borrow)]
    ended_at: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Summary {
    status_counts: StatusCounts,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StatusCounts {
    error: f64,
}

impl<'a> CallData<'a> {
    pub(super) fn start(&self, place: Place, now: Timestamp) -> StartFacts {
        let started_at = self.started_at.and_then(time_of).unwrap_or(now.as_micros());
        let parent = self.parent_id.as_deref().filter(|id| !id.is_empty());
        let mut keys: Vec<_> = parent.is_none().then_some((KeyKind::Root, 0)).into_iter().collect();
        let named = [
            (KeyKind::Op, &self.op_name),
            (KeyKind::Trace, &self.trace_id),
            (KeyKind::Parent, &self.parent_id),
            (KeyKind::Thread, &self.thread_id),
            (KeyKind::Turn, &self.turn_id),
            (KeyKind::Run, &self.wb_run_id),
            (KeyKind::User, &self.wb_user_id),
        ];
        keys.extend(
            named.iter().filter_map(|(kind, value)| Some((*kind, hash(value.as_deref()?)))),
        );
        keys.extend(addresses(self.inputs).into_iter().map(|hash| (KeyKind::Input, hash)));
        let own = |text: &str| text.to_owned();
        StartFacts {
            place,
            started_at,
            parent: parent.map(own),
            op_name: self.op_name.as_deref().map(own),
            keys,
        }
    }

    pub(super) fn end(&self, place: Place, now: Timestamp) -> EndFacts {
        let failed = self.exception.as_deref().is_some_and(|text| !text.is_empty());
        let summary = self.summary.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Summary { status_counts } = summary.unwrap_or_default();
        let mark = |is: bool, mark: u8| if is { mark } else { 0 };
        EndFacts {
            place,
            ended_at: self.ended_at.and_then(time_of).unwrap_or(now.as_micros()),
            marks: mark(failed, FAILED) | mark(status_counts.error > 0.0, FAILED_BELOW),
            outputs: addresses(self.output),
        }
    }
}

/// Reads the data of an entry. What serde gives up on (a lone surrogate) is read as Python
/// reads it.
pub(super) fn with_data<T>(data: &str, work: impl FnOnce(CallData<'_>) -> T) -> Option<T> {
    if let Ok(read) = serde_json::from_str(data) {
        return Some(work(read));
    }
    let value = backhaul_json::from_slice(data.as_bytes()).ok()?;
    let text = serde_json::to_string(&value).ok()?;
    serde_json::from_str(&text).ok().map(work)
}

fn time_of(raw: &RawValue) -> Option<i64> {
    time::of_value(&serde_json::from_str(raw.get()).ok()?)
}

/// Hashes of the addresses in a value, and of what stands in them before the version.
fn addresses(raw: Option<&RawValue>) -> Vec<u64> {
    let Some(text) = raw.map(RawValue::get).filter(|text| text.contains(":///")) else {
        return Vec::new();
    };
    let value = backhaul_json::from_slice(text.as_bytes()).unwrap_or_default();
    let (mut found, mut left) = (BTreeSet::new(), vec![&value]);
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) if is_address(text) => {
                found.insert(hash(text));
                found.extend(before_version(text).map(hash));
            }
            Value::Array(items) => left.extend(items),
            Value::Object(map) => left.extend(map.values()),
            _ => {}
        }
    }
    found.into_iter().collect()
}

fn is_address(text: &str) -> bool {
    ["weave:///", "wandb-artifact:///"].iter().any(|scheme| text.starts_with(scheme))
}

/// What stands in an address before the version, with the colon.
fn before_version(address: &str) -> Option<&str> {
    let name = address.find(":///")? + 4;
    let colon = name + address.get(name..)?.find(':')?;
    address.get(..=colon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cut_behind_the_colon_of_its_version() {
        let cut = before_version("weave:///me/mine/object/name:abc/attr/x:y");
        assert_eq!(cut, Some("weave:///me/mine/object/name:"));
        assert_eq!(before_version("weave:///me/mine/call/0192"), None);
    }
}
