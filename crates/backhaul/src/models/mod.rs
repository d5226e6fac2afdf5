//! The model gateway: what unmodified clients of OpenAI and Anthropic ask.
//!
//! A call goes to the primary as it came, and to a fallback where the primary does not answer.
//! Who answered is said in headers and in the body, and is kept.

mod call;
mod chat;
mod recording;
mod refused;
mod routes;
mod shortened;
mod signature;

use std::sync::Arc;

use backhaul_agent::RunRecord;
use backhaul_llm::{ChatRequest, ModelStatus, OfflineLlmClient};
use serde_json::Value;

use self::recording::{Recorder, Recording};
pub(crate) use self::routes::{PATHS, router};
use crate::config::RecordCalls;
use crate::hub::token::Token;
use crate::intake::{Intake, MostBytes, Pace};

/// A request with a few photographs. In flight: one of the largest that is compressed, and
/// another.
const MOST_BYTES: MostBytes =
    MostBytes { received: 66 << 20, decompressed: 66 << 20, in_flight: 200 << 20 };

/// What a model gateway is made of.
pub(crate) struct Options {
    /// The primary and the fallbacks.
    pub(crate) client: OfflineLlmClient,
    /// Whether the primary's key is set, so that those of callers are not passed on.
    pub(crate) has_key: bool,
    /// What callers have to show as their key. None: any key will do.
    pub(crate) token: Option<Token>,
    pub(crate) pace: Pace,
    pub(crate) record: RecordCalls,
    /// Keeps the record of a call. It must not block.
    pub(crate) store: Box<dyn Fn(RunRecord) + Send + Sync>,
}

/// Answers the calls of models. Clones are one.
#[derive(Clone)]
pub(crate) struct Models(Arc<Inner>);

struct Inner {
    client: OfflineLlmClient,
    has_key: bool,
    token: Option<Token>,
    intake: Intake,
    recorder: Arc<Recorder>,
}

impl Models {
    pub(crate) fn new(options: Options) -> Self {
        let Options { client, has_key, token, pace, record, store } = options;
        let intake = Intake::new(MOST_BYTES, pace);
        let recorder = Arc::new(Recorder { keep: record, store });
        Self(Arc::new(Inner { client, has_key, token, intake, recorder }))
    }

    /// How the models stand, the primary first.
    pub(crate) fn status(&self) -> Vec<ModelStatus> {
        self.0.client.status()
    }

    fn record(&self, request: &ChatRequest) -> Recording {
        let model = request.model_name().unwrap_or_default();
        let messages: Vec<Value> = match self.0.recorder.keep {
            RecordCalls::Full => {
                let messages = request.messages.iter();
                messages.map(|message| Value::Object(message.as_json().clone())).collect()
            }
            RecordCalls::Metadata | RecordCalls::Off => Vec::new(),
        };
        self.0.recorder.begin("chat.completions", model, &messages)
    }
}
