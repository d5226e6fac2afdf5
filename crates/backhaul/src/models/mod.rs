//! The model gateway: what unmodified clients of OpenAI and Anthropic ask.
//!
//! A call goes to the primary as it came, and to a fallback where the primary does not answer.
//! Who answered is said in headers and in the body, and is kept.

mod call;
mod catalog;
mod embeddings;
mod forms;
mod noted;
mod passing;
mod recording;
mod refused;
mod routes;
mod said;
mod shortened;
mod signature;

use std::sync::Arc;

use backhaul_llm::{AnthropicClient, Asked, Endpoint, Form, ModelStatus, OfflineLlmClient};

use self::forms::Asking;
pub(crate) use self::recording::Recorder;
use self::recording::Recording;
pub(crate) use self::routes::{paths, router};
use crate::hub::token::Token;
use crate::intake::{Intake, MostBytes, Pace};

/// A request with a few photographs. In flight: one of the largest that is compressed, and
/// another.
const MOST_BYTES: MostBytes =
    MostBytes { received: 66 << 20, decompressed: 66 << 20, in_flight: 200 << 20 };

/// The servers of models, for what is not asked as a chat.
pub(crate) struct Endpoints {
    pub(crate) primary: Endpoint,
    /// Anthropic's server, which is the primary of clients that speak its form.
    pub(crate) anthropic: Endpoint,
    /// Those of the fallbacks, in order; none for a model in this process.
    pub(crate) fallbacks: Vec<Option<Endpoint>>,
}

impl Endpoints {
    /// That of one who is asked.
    fn of(&self, asked: &Asked) -> Option<&Endpoint> {
        match asked.place().checked_sub(1) {
            None => Some(&self.primary),
            Some(fallback) => self.fallbacks.get(fallback)?.as_ref(),
        }
    }
}

/// What a model gateway is made of.
pub(crate) struct Options {
    /// The primary and the fallbacks.
    pub(crate) client: OfflineLlmClient,
    /// Their servers.
    pub(crate) endpoints: Endpoints,
    /// Whether the primary's key is set, so that those of callers are not passed on.
    pub(crate) has_key: bool,
    /// What callers have to show as their key. None: any key will do.
    pub(crate) token: Option<Token>,
    pub(crate) pace: Pace,
    pub(crate) recorder: Recorder,
}

/// Answers the calls of models. Clones are one.
#[derive(Clone)]
pub(crate) struct Models(Arc<Inner>);

struct Inner {
    client: OfflineLlmClient,
    endpoints: Endpoints,
    /// The same fallbacks behind Anthropic's server.
    messages: OfflineLlmClient,
    has_key: bool,
    token: Option<Token>,
    intake: Intake,
    recorder: Arc<Recorder>,
}

impl Models {
    pub(crate) fn new(options: Options) -> Self {
        let Options { client, endpoints, has_key, token, pace, recorder } = options;
        let anthropic = AnthropicClient::at(endpoints.anthropic.clone(), "");
        let messages = client.behind(anthropic);
        let intake = Intake::new(MOST_BYTES, pace);
        let recorder = Arc::new(recorder);
        Self(Arc::new(Inner { client, endpoints, messages, has_key, token, intake, recorder }))
    }

    /// How the models stand, the primary first; at the end Anthropic's server, where it was
    /// asked.
    pub(crate) fn status(&self) -> Vec<ModelStatus> {
        let was_asked = |it: &ModelStatus| it.answered + it.failed > 0;
        let anthropic = self.0.messages.status().into_iter().next().filter(was_asked);
        self.0.client.status().into_iter().chain(anthropic).collect()
    }

    fn record(&self, asking: &Asking) -> Recording {
        let messages = asking.chat().map_or(&[][..], |chat| &chat.messages);
        self.0.recorder.begin(asking.keep, name_of(asking.form), &asking.model, messages)
    }
}

/// What a form is called in records.
fn name_of(form: Form) -> &'static str {
    match form {
        Form::ChatCompletions => "chat.completions",
        Form::Responses => "responses",
        Form::Messages => "messages",
        Form::Completions => "completions",
    }
}
