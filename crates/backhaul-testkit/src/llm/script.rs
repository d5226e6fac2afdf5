//! The script of a model's server.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::CLOUD_REQUEST_ID;
use super::form::Asked;
use super::scenario::LlmScenario;
use super::{fault, refusal};
use crate::{Answer, FaultServer, Request};

/// What the server of [`FaultServer::llm`] plays; the test's handle on it.
///
/// A request that names the model `fault-NUMBER` meets that scenario, any other the one that
/// is played: [`LlmScenario::Healthy`] at first. Clones are the same script.
///
/// Healthily it answers chat completions (tools, reasoning and refusals are theirs alone),
/// completions, responses, embeddings and models as OpenAI does, and messages as Anthropic
/// does, always with [`CLOUD_TEXT`](crate::CLOUD_TEXT) and with the model that was asked for.
///
/// ```
/// use std::io::{Read, Write};
/// use backhaul_testkit::{FaultServer, LlmScenario, LlmScript};
///
/// let script = LlmScript::new();
/// let server = FaultServer::llm(&script)?;
/// script.play(LlmScenario::Overloaded);
///
/// let mut client = std::net::TcpStream::connect(server.address())?;
/// client.write_all(b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.contains("\r\nRetry-After: 1\r\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LlmScript {
    played: Arc<Mutex<Played>>,
}

#[derive(Debug, Clone, Copy)]
struct Played {
    scenario: LlmScenario,
    delay: Duration,
    gap: Duration,
}

impl Default for Played {
    fn default() -> Self {
        Self {
            scenario: LlmScenario::Healthy,
            delay: Duration::from_millis(50),
            gap: Duration::from_millis(20),
        }
    }
}

impl LlmScript {
    /// A script that plays [`LlmScenario::Healthy`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Plays a scenario from the next request on.
    pub fn play(&self, scenario: LlmScenario) {
        self.lock().scenario = scenario;
    }

    /// How long [`LlmScenario::Slow`] waits: 50 ms at first.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// How long [`LlmScenario::Trickle`] waits before each token: 20 ms at first.
    pub fn set_gap(&self, gap: Duration) {
        self.lock().gap = gap;
    }

    /// What is answered to a request; what no model's server knows: 404.
    pub fn answer(&self, request: &Request) -> Answer {
        let Some(asked) = Asked::of(request) else { return refusal::unknown() };
        let Played { scenario, delay, gap } = *self.lock();
        let scenario = LlmScenario::of_model(asked.model()).unwrap_or(scenario);
        let answer = refusal::instead(scenario, &asked)
            .or_else(|| asked.is_streamed().then(|| fault::streamed(scenario, &asked, gap))?)
            .unwrap_or_else(|| fault::whole(scenario, &asked, gap));
        let answer = answer.header("X-Request-Id", CLOUD_REQUEST_ID);
        if scenario == LlmScenario::Slow { answer.after(delay) } else { answer }
    }

    fn lock(&self) -> MutexGuard<'_, Played> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultServer {
    /// A server of models, which plays a script. The base of OpenAI's clients is
    /// `url() + "/v1"`, that of Anthropic's is [`url()`](FaultServer::url).
    ///
    /// # Errors
    /// As for [`FaultServer::new`].
    pub fn llm(script: &LlmScript) -> io::Result<Self> {
        let script = script.clone();
        Self::new(move |request| script.answer(request))
    }
}
