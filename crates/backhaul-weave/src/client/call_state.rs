//! A call while it is made, and what is stored of it.

use std::sync::{Arc, Mutex, PoisonError};

use backhaul_store::{Moment, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::exception::Exception;
use super::json_object::{JsonObject, quoted};
use super::op::Op;
use super::phase::Phase;
use super::summary::Summary;
use super::value::Captured;
use crate::json::text_of;

/// What all calls of a part of a program have in common.
pub(crate) type Attributes = Map<String, Value>;

/// A call, known to its context, to those below it and to the queue.
#[derive(Debug)]
pub(crate) struct CallState {
    pub(crate) id: Uuid,
    pub(crate) trace_id: Uuid,
    pub(crate) parent: Option<Arc<CallState>>,
    pub(crate) op: Arc<Op>,
    pub(crate) started: Moment,
    /// The conversation that it belongs to, and the turn of it.
    pub(crate) thread: Option<(Arc<str>, Uuid)>,
    pub(crate) display_name: Option<String>,
    pub(crate) attributes: Option<Arc<Attributes>>,
    pub(crate) inputs: Captured,
    pub(crate) phase: Phase<Ended>,
    sums: Mutex<Sums>,
}

/// What a call comes to, so far.
#[derive(Debug, Default)]
struct Sums {
    below: Summary,
    set: Map<String, Value>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) output: Captured,
    pub(crate) exception: Option<Exception>,
    pub(crate) summary: Summary,
}

/// What is said of a call when it begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) op: Arc<Op>,
    pub(crate) parent: Option<Arc<CallState>>,
    pub(crate) thread: Option<Arc<str>>,
    pub(crate) display_name: Option<String>,
    pub(crate) attributes: Option<Arc<Attributes>>,
    pub(crate) inputs: Captured,
}

/// Longer than a program is held up between reading two clocks, shorter than what anybody would
/// set a clock for.
const CLOCK_WAS_SET_US: u64 = 1_000_000;

impl CallState {
    pub(crate) fn begin(beginning: Beginning, started: Moment) -> Self {
        let Beginning { op, parent, thread, display_name, attributes, inputs } = beginning;
        let id = Uuid::now_v7();
        let started = match &parent {
            Some(parent) => parent.aligned(&started),
            None => started,
        };
        // The client for Python gives a root a trace of another name, too.
        let trace_id = parent.as_ref().map_or_else(Uuid::now_v7, |parent| parent.trace_id);
        let thread = thread.map(|thread| {
            let of_parent = parent.as_ref().and_then(|parent| parent.thread.as_ref());
            let same = of_parent.filter(|(of_parent, _)| *of_parent == thread);
            // A call that enters a conversation is a turn of it.
            let turn = same.map_or(id, |(_, turn)| *turn);
            (thread, turn)
        });
        Self {
            id,
            trace_id,
            parent,
            op,
            started,
            thread,
            display_name,
            attributes,
            inputs,
            phase: Phase::new(),
            sums: Mutex::default(),
        }
    }

    /// What stands for the end of the call; its parent is told what it comes to.
    pub(crate) fn end(
        &self,
        now: &Moment,
        output: Captured,
        exception: Option<Exception>,
    ) -> Ended {
        let Sums { below, set } =
            std::mem::take(&mut *self.sums.lock().unwrap_or_else(PoisonError::into_inner));
        let summary = below.finish(exception.is_some(), &output.json, set);
        if let Some(parent) = &self.parent {
            let mut sums = parent.sums.lock().unwrap_or_else(PoisonError::into_inner);
            sums.below.add_child(&summary);
        }
        Ended { at: self.time_of(now), output, exception, summary }
    }

    /// Sets something in the summary.
    pub(crate) fn set_summary(&self, key: &str, value: Value) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.set.insert(key.to_owned(), value);
    }

    /// A time after the start, however the wall clock was set meanwhile.
    fn time_of(&self, now: &Moment) -> Timestamp {
        let since = now.since_boot.saturating_sub(self.started.since_boot);
        since.as_micros().try_into().map_or(self.started.wall, |since: i64| {
            Timestamp::from_micros(self.started.wall.as_micros().saturating_add(since))
        })
    }

    /// A moment by the clock of this call, so that no call below it ends after it: the two
    /// clocks of a moment are read one after the other, and much may happen between. Where the
    /// wall clock was set meanwhile, what it says now counts.
    fn aligned(&self, now: &Moment) -> Moment {
        let wall = self.time_of(now);
        let apart = wall.as_micros().abs_diff(now.wall.as_micros());
        let wall = if apart < CLOCK_WAS_SET_US { wall } else { now.wall };
        Moment { wall, since_boot: now.since_boot }
    }

    /// Bytes that it holds in memory until it is stored, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + held_by(&self.inputs)
    }

    /// The `start` of a request.
    pub(crate) fn start_json(&self, of_project: &OfProject) -> String {
        let mut call = JsonObject::with_capacity(512 + self.inputs.json.len());
        self.write_start(&mut call, of_project);
        call.finish()
    }

    /// The `end` of a request.
    pub(crate) fn end_json(&self, ended: &Ended, of_project: &OfProject) -> String {
        let mut call = JsonObject::with_capacity(256 + ended.output.json.len());
        call.raw("project_id", &of_project.project);
        call.plain("id", self.id).plain("started_at", micros(self.started.wall));
        self.write_end(&mut call, ended, of_project);
        call.finish()
    }

    /// An item of `calls/complete`.
    pub(crate) fn complete_json(&self, ended: &Ended, of_project: &OfProject) -> String {
        let bytes = self.inputs.json.len() + ended.output.json.len();
        let mut call = JsonObject::with_capacity(768 + bytes);
        self.write_start(&mut call, of_project);
        self.write_end(&mut call, ended, of_project);
        call.finish()
    }

    fn write_start(&self, call: &mut JsonObject, of_project: &OfProject) {
        call.raw("project_id", &of_project.project);
        call.plain("id", self.id).raw("op_name", &self.op.quoted_address);
        call.plain("trace_id", self.trace_id);
        if let Some(parent) = &self.parent {
            call.plain("parent_id", parent.id);
        }
        if let Some(name) = &self.display_name {
            call.text("display_name", name);
        }
        if let Some((thread, turn)) = &self.thread {
            call.text("thread_id", thread).plain("turn_id", turn);
        }
        call.plain("started_at", micros(self.started.wall));
        match &self.attributes {
            None => call.raw("attributes", of_project.attributes(self.op.is_async)),
            Some(own) => call.raw("attributes", &of_project.attributes_with(self.op.is_async, own)),
        };
        call.raw("inputs", &of_project.redacted(&self.inputs.json));
    }

    fn write_end(&self, call: &mut JsonObject, ended: &Ended, of_project: &OfProject) {
        call.plain("ended_at", micros(ended.at));
        call.raw("output", &of_project.redacted(&ended.output.json));
        if let Some(exception) = &ended.exception {
            call.raw("exception", &exception.to_json_text(self.op.location));
        }
        call.raw("summary", &ended.summary.to_json());
    }
}

/// A call lets go of the one above it, which may be the last to hold on to that, and so on. One
/// by one, or calls that are nested deeply would not fit on the stack.
impl Drop for CallState {
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(mut call) = above.and_then(Arc::into_inner) {
            above = call.parent.take();
        }
    }
}

impl Ended {
    /// Bytes that it holds in memory until it is stored, about.
    pub(crate) fn bytes(&self) -> usize {
        held_by(&self.output)
    }
}

fn held_by(value: &Captured) -> usize {
    let files: usize = value.files.iter().map(|file| file.bytes().len()).sum();
    value.json.len() + files
}

/// A time with all of its microseconds, as Weave's clients write it.
pub(crate) fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// What is nested too deeply to be read again is not kept.
fn of_depth(json: &str) -> std::borrow::Cow<'_, str> {
    // What is not even so long cannot be nested so deeply.
    if json.len() > backhaul_json::MAX_DEPTH && crate::json::depth(json) > DEEPEST {
        return quoted(&format!("<nested more than {DEEPEST} levels deep>")).into();
    }
    json.into()
}

/// Of the levels that can be read again some are those of the record around it.
const DEEPEST: usize = backhaul_json::MAX_DEPTH - 16;

/// What is the same in all records of a project.
#[derive(Debug)]
pub(crate) struct OfProject {
    /// Its name, as JSON.
    project: String,
    /// What is said of this program: in calls of plain functions, and of async ones.
    weave: [Map<String, Value>; 2],
    /// `attributes` of calls that have none of their own, likewise.
    attributes: [String; 2],
    /// Names of fields whose values are hidden, in lower case.
    redacted_keys: Vec<String>,
}

impl OfProject {
    pub(crate) fn new(project: &str, redacted_keys: Vec<String>) -> Self {
        let weave = [false, true].map(weave);
        let attributes = weave.each_ref().map(|weave| json!({"weave": weave}).to_string());
        Self { project: quoted(project), weave, attributes, redacted_keys }
    }

    fn attributes(&self, is_async: bool) -> &str {
        let [plain, of_async] = &self.attributes;
        if is_async { of_async } else { plain }
    }

    fn attributes_with(&self, is_async: bool, own: &Attributes) -> String {
        let mut all = own.clone();
        let [plain, of_async] = &self.weave;
        let ours = if is_async { of_async } else { plain }.clone();
        match all.get_mut("weave").and_then(Value::as_object_mut) {
            Some(theirs) => theirs.extend(ours),
            None => drop(all.insert("weave".to_owned(), ours.into())),
        }
        let mut all = Value::Object(all);
        self.redact(&mut all);
        of_depth(&text_of(&all)).into_owned()
    }

    /// Inputs or an output without the values of keys that hold secrets.
    fn redacted<'a>(&self, inputs: &'a str) -> std::borrow::Cow<'a, str> {
        let lower = inputs.to_ascii_lowercase();
        if !self.redacted_keys.iter().any(|key| lower.contains(&quoted(key))) {
            return of_depth(inputs);
        }
        let Ok(mut value) = backhaul_json::from_slice(inputs.as_bytes()) else {
            return of_depth(inputs);
        };
        self.redact(&mut value);
        text_of(&value).into()
    }

    fn redact(&self, value: &mut Value) {
        let mut left = vec![value];
        while let Some(value) = left.pop() {
            match value {
                Value::Array(items) => left.extend(items),
                Value::Object(fields) => {
                    for (key, value) in fields {
                        if self.redacted_keys.iter().any(|hidden| key.eq_ignore_ascii_case(hidden))
                        {
                            *value = "REDACTED".into();
                        } else {
                            left.push(value);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// What Weave's clients say of themselves and of the machine.
fn weave(is_async: bool) -> Map<String, Value> {
    let kind = if is_async { "async_function" } else { "function" };
    let of_kernel = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.map_or(Value::Null, |text| text.trim().into())
    };
    let said = json!({
        "rust": {"type": kind},
        "client_version": env!("CARGO_PKG_VERSION"),
        "source": "backhaul-rust",
        "os_name": "Linux",
        "os_version": of_kernel("version"),
        "os_release": of_kernel("osrelease"),
    });
    match said {
        Value::Object(said) => said,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_all_their_microseconds() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_500_000, "1970-01-01T00:00:01.500000Z"),
            (1_000_001, "1970-01-01T00:00:01.000001Z"),
        ] {
            assert_eq!(micros(Timestamp::from_micros(at)), text);
        }
    }

    fn call_at(parent: Option<&Arc<CallState>>, wall: i64, since_boot: u64) -> Arc<CallState> {
        let beginning = Beginning {
            op: Arc::new(Op::named("op", false)),
            parent: parent.cloned(),
            thread: None,
            display_name: None,
            attributes: None,
            inputs: Captured::null(),
        };
        let since_boot = std::time::Duration::from_micros(since_boot);
        let now = Moment { wall: Timestamp::from_micros(wall), since_boot };
        Arc::new(CallState::begin(beginning, now))
    }

    #[test]
    fn a_call_goes_by_the_clock_of_the_one_above_unless_that_was_set() {
        let root = call_at(None, 1_000_000_000, 50);
        // Held up for a while between reading one clock and the other.
        let below = call_at(Some(&root), 1_000_040_000, 60);
        assert_eq!(below.started.wall.as_micros(), 1_000_000_010);
        let set = call_at(Some(&root), 1_700_000_000_000_000, 70);
        assert_eq!(set.started.wall.as_micros(), 1_700_000_000_000_000);
    }

    #[test]
    fn secrets_are_hidden_by_their_keys_at_any_depth() {
        let of_project = OfProject::new("me/mine", vec!["api_key".into(), "token".into()]);
        let inputs = r#"{"a": [{"API_Key": "s3cret", "x": 1}], "token": {"y": "s3cret"}}"#;
        let redacted = of_project.redacted(inputs);
        assert!(!redacted.contains("s3cret"), "{redacted}");
        assert!(redacted.contains(r#""x": 1"#), "{redacted}");
        assert_eq!(of_project.redacted(r#"{"a": 1.50}"#), r#"{"a": 1.50}"#);
    }

    #[test]
    fn what_is_nested_too_deeply_is_left_out_and_said() {
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        assert!(of_depth(&deep).contains("nested"));
        let flat = format!("[{}1]", "1,".repeat(2000));
        assert_eq!(of_depth(&flat), flat);
    }
}
