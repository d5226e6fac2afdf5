//! What is kept of a call: a run record, which is stored and delivered as any other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backhaul_agent::{LlmCall, RunRecord};
use backhaul_llm::{
    CompletionResult, FinishReason, LlmError, Message, Metadata, StreamChunk, Usage,
};
use backhaul_store::{Clock as _, SystemClock, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::said::Said;
use super::shortened::shortened;
use crate::config::{Pattern, RecordCalls};

/// The most bytes that are kept of an answer; the rest is cut, and said to be.
const MOST_OUTPUT: usize = 256 << 10;

/// The most calls that are under way or being stored at one moment. Who calls faster than the
/// disk stores waits for it before his call, not after.
const MOST_KEPT: usize = 4_096;
/// How long a call waits for a disk that does not store. Then it is answered and not kept.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keeps the record of a call, which gives its place back when it is stored. It must not block.
pub(crate) type Store = Box<dyn Fn(RunRecord, OwnedSemaphorePermit) + Send + Sync>;

/// Keeps calls.
pub(crate) struct Recorder {
    /// The most that is kept of any.
    keep: RecordCalls,
    /// What is struck out of all texts.
    redact: Vec<Pattern>,
    store: Store,
    places: Arc<Semaphore>,
}

impl Recorder {
    pub(crate) fn new(keep: RecordCalls, redact: Vec<Pattern>, store: Store) -> Self {
        Self { keep, redact, store, places: Arc::new(Semaphore::new(MOST_KEPT)) }
    }

    /// A place for a call that is to be kept.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned();
        tokio::time::timeout(PATIENCE, place).await.ok()?.ok()
    }

    /// Begins with a call of a form, such as `chat.completions`, of which no more than `keep`
    /// is kept, and what was asked.
    pub(super) async fn begin(
        self: &Arc<Self>,
        keep: RecordCalls,
        form: &'static str,
        model: &str,
        asked: &[Message],
    ) -> Recording {
        let keep = keep.min(self.keep);
        let place = if keep == RecordCalls::Off { None } else { self.place().await };
        let asked = if keep == RecordCalls::Full { asked } else { &[] };
        let asked = shortened(asked.iter().map(|message| self.redacted(message.as_json())));
        Recording {
            recorder: Arc::clone(self),
            keep,
            place,
            form,
            model: model.to_owned(),
            asked,
            output: Output::default(),
            usage: Usage::default(),
            finish_reason: None,
            began: Instant::now(),
            at: SystemClock::new().now().wall,
        }
    }

    /// A message without what is struck out of its texts.
    fn redacted<'a>(&self, message: &'a Map<String, Value>) -> Cow<'a, Map<String, Value>> {
        let mut message = Cow::Borrowed(message);
        if !self.redact.is_empty() {
            let fields = message.to_mut().values_mut();
            fields.for_each(|field| each_text(field, &|text| self.without_secrets(text)));
        }
        message
    }

    fn without_secrets(&self, text: &mut String) {
        for pattern in &self.redact {
            *text = pattern.struck_out(text);
        }
    }
}

/// The texts of a value; names of fields are not among them.
fn each_text(value: &mut Value, change: &impl Fn(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A call that is under way.
pub(super) struct Recording {
    recorder: Arc<Recorder>,
    keep: RecordCalls,
    place: Option<OwnedSemaphorePermit>,
    form: &'static str,
    model: String,
    asked: Vec<Value>,
    output: Output,
    usage: Usage,
    finish_reason: Option<FinishReason>,
    began: Instant,
    at: Timestamp,
}

impl Recording {
    /// A piece of the answer came.
    pub(super) fn add(&mut self, chunk: &StreamChunk) {
        self.usage = chunk.usage().unwrap_or(self.usage);
        self.finish_reason = chunk.finish_reason().or(self.finish_reason.take());
        if self.keep == RecordCalls::Full {
            self.output.add(chunk);
        }
    }

    /// The whole answer came.
    pub(super) fn answered(mut self, answer: &CompletionResult) {
        self.usage = answer.usage();
        self.finish_reason = answer.finish_reason();
        if self.keep == RecordCalls::Full {
            self.output.text = answer.content();
            for (place, call) in (0_u64..).zip(answer.tool_calls()) {
                let arguments = Value::Object(call.arguments).to_string();
                self.output.calls.insert(place, (call.name, arguments));
            }
        }
        self.end(&answer.metadata, None);
    }

    /// So much more came of an answer in another form.
    pub(super) fn said(&mut self, said: &Said) {
        self.usage = said.usage.unwrap_or(self.usage);
        if self.keep == RecordCalls::Full && self.output.text.len() <= MOST_OUTPUT {
            self.output.text.push_str(&said.text);
        }
    }

    /// The answer came to its end.
    pub(super) fn ended(self, metadata: &Metadata) {
        self.end(metadata, None);
    }

    /// The answer broke off after it had begun.
    pub(super) fn broken_off(self, metadata: &Metadata, error: &LlmError) {
        self.end(metadata, Some(error.to_string()));
    }

    /// The caller went away before the end.
    pub(super) fn abandoned(self, metadata: &Metadata) {
        self.end(metadata, Some("the caller went away before the end of the answer".to_owned()));
    }

    /// Nobody answered.
    pub(super) fn failed(self, error: &LlmError) {
        let attempts = error.attempts().to_vec();
        let metadata = Metadata::of_attempts(attempts);
        self.end(&metadata, Some(error.to_string()));
    }

    fn end(mut self, metadata: &Metadata, mut error: Option<String>) {
        let recorder = self.recorder;
        if self.keep == RecordCalls::Off {
            return;
        }
        let Some(place) = self.place.take() else {
            tracing::error!("a call of a model is not kept: those before it are not stored yet");
            return;
        };
        self.output.each_text(|text| recorder.without_secrets(text));
        error.iter_mut().for_each(|text| recorder.without_secrets(text));
        let model = if metadata.model.is_empty() { &self.model } else { &metadata.model };
        let mut call = LlmCall::new(model.clone(), self.asked, self.output.into_text())
            .tokens(self.usage.prompt_tokens, self.usage.completion_tokens)
            .duration_ms(self.began.elapsed().as_secs_f64() * 1_000.0)
            .timestamp(self.at);
        call.error.clone_from(&error);
        let mut record = RunRecord::new(format!("model-call-{}", Uuid::now_v7()), self.at);
        record.completed_at = Some(SystemClock::new().now().wall);
        record.success = error.is_none();
        record.error = error;
        record.llm_calls.push(call);
        let mut answered = metadata.to_json();
        answered.insert("form".to_owned(), self.form.into());
        answered.insert("asked_model".to_owned(), self.model.into());
        if let Some(reason) = &self.finish_reason {
            answered.insert("finish_reason".to_owned(), reason.name().into());
        }
        record.metadata = Map::from_iter([("model_call".to_owned(), Value::Object(answered))]);
        (recorder.store)(record, place);
    }
}

/// What a model said, put together of its pieces.
#[derive(Default)]
struct Output {
    text: String,
    /// By place: the tool, and its arguments as text.
    calls: BTreeMap<u64, (String, String)>,
}

impl Output {
    fn add(&mut self, chunk: &StreamChunk) {
        if self.text.len() <= MOST_OUTPUT {
            self.text.push_str(chunk.content());
        }
        let deltas = chunk.delta().and_then(|delta| delta.get("tool_calls")?.as_array());
        for delta in deltas.into_iter().flatten() {
            let place = delta.get("index").and_then(Value::as_u64).unwrap_or(0);
            let function = delta.get("function");
            let said = |name: &str| function.and_then(|it| it.get(name)?.as_str()).unwrap_or("");
            let (name, arguments) = self.calls.entry(place).or_default();
            name.push_str(said("name"));
            if arguments.len() <= MOST_OUTPUT {
                arguments.push_str(said("arguments"));
            }
        }
    }

    fn each_text(&mut self, change: impl Fn(&mut String)) {
        change(&mut self.text);
        self.calls.values_mut().for_each(|(_, arguments)| change(arguments));
    }

    /// The text; where tools are called, an object with both.
    fn into_text(mut self) -> String {
        if self.text.len() > MOST_OUTPUT {
            let cut = self.text.floor_char_boundary(MOST_OUTPUT);
            let left = self.text.len() - cut;
            self.text.truncate(cut);
            self.text.push_str(&format!("… [{left} bytes or more cut]"));
        }
        if self.calls.is_empty() {
            return self.text;
        }
        let calls = self.calls.into_values();
        let calls: Value = calls
            .map(|(name, arguments)| json!({ "name": name, "arguments": arguments }))
            .collect();
        json!({ "content": self.text, "tool_calls": calls }).to_string()
    }
}
