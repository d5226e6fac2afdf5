//! The model gateway: what unmodified clients of OpenAI and Anthropic ask.
//!
//! A call goes to the primary as it came, and to a fallback where the primary does not answer.
//! Who answered is said in headers and in the body, and is kept.

mod call;
mod capabilities;
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
mod standing;

use std::sync::{Arc, OnceLock};

use backhaul_llm::{AnthropicClient, Asked, Endpoint, Form, ModelStatus, OfflineLlmClient};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::forms::Asking;
use self::recording::Recording;
pub(crate) use self::recording::{Recorder, Store};
pub(crate) use self::routes::{paths, router};
use self::standing::Standing;
use crate::hub::token::Token;
use crate::intake::{Intake, MostBytes, Pace};

/// A request with a few photographs. In flight: one of the largest that is compressed. While it
/// is read and passed on it takes three to four times as much memory.
const MOST_BYTES: MostBytes =
    MostBytes { received: 66 << 20, decompressed: 66 << 20, in_flight: 132 << 20 };

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
    /// Ends answers that would have no end.
    pub(crate) closing: CancellationToken,
}

/// Answers the calls of models. Clones are one.
#[derive(Clone)]
pub(crate) struct Models(Arc<Inner>);

struct Inner {
    client: OfflineLlmClient,
    endpoints: Endpoints,
    /// The same fallbacks behind Anthropic's server.
    messages: OfflineLlmClient,
    standing: OnceLock<Standing>,
    /// Places for those who listen to what can be done.
    listeners: Arc<Semaphore>,
    closing: CancellationToken,
    has_key: bool,
    token: Option<Token>,
    intake: Intake,
    recorder: Arc<Recorder>,
}

impl Models {
    pub(crate) fn new(options: Options) -> Self {
        let Options { client, endpoints, has_key, token, pace, recorder, closing } = options;
        let anthropic = AnthropicClient::at(endpoints.anthropic.clone(), "");
        let messages = client.behind(anthropic);
        let intake = Intake::new(MOST_BYTES, pace);
        let recorder = Arc::new(recorder);
        Self(Arc::new(Inner {
            client,
            endpoints,
            messages,
            standing: OnceLock::new(),
            listeners: Arc::new(Semaphore::new(capabilities::MOST_LISTENERS)),
            closing,
            has_key,
            token,
            intake,
            recorder,
        }))
    }

    /// How the models stand, the primary first; at the end Anthropic's server, where it was
    /// asked.
    pub(crate) fn status(&self) -> Vec<ModelStatus> {
        let was_asked = |it: &ModelStatus| it.answered + it.failed > 0;
        let anthropic = self.0.messages.status().into_iter().next().filter(was_asked);
        self.0.client.status().into_iter().chain(anthropic).collect()
    }

    /// In a runtime.
    fn standing(&self) -> &Standing {
        let Inner { client, messages, .. } = &*self.0;
        self.0.standing.get_or_init(|| Standing::new(client.clone(), messages.clone()))
    }

    async fn record(&self, asking: &Asking) -> Recording {
        let messages = asking.chat().map_or(&[][..], |chat| &chat.messages);
        let Asking { keep, form, model, .. } = asking;
        self.0.recorder.begin(*keep, name_of(*form), model, messages).await
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
