//! What is told of models: who answers their calls, and what is kept of them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use backhaul_llm::{
    ApiKey, Clocks, Endpoint, LlmError, LlmErrorKind, OfflineLlmClient, OfflineLlmClientBuilder,
    OfflineLlmOptions, OpenAiClient,
};
use backhaul_sync::OptionError;

use super::byte_size::ByteSize;
use super::pattern::Pattern;
use super::value::{SecretPlace, WebUrl};
use super::{ConfigError, OfflineConfig};

/// The variable that holds a key for OpenAI.
const KEY_VARIABLE: &str = "OPENAI_API_KEY";
/// The one that holds a key for Anthropic.
const ANTHROPIC_KEY_VARIABLE: &str = "ANTHROPIC_API_KEY";

/// Settings of the model gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelsConfig {
    /// The base of the primary model's server, as `OPENAI_BASE_URL` has it. Default: that
    /// variable's of `backhaul run`, else `https://api.openai.com/v1`.
    pub primary: Option<WebUrl>,
    /// The key for it. Default: the one that clients send, else `OPENAI_API_KEY`.
    pub api_key: SecretPlace,
    /// The base of Anthropic's API. Default: `ANTHROPIC_BASE_URL` of `backhaul run`, else
    /// `https://api.anthropic.com`.
    pub anthropic_url: Option<WebUrl>,
    /// Who is asked where the primary does not answer, in order. Default: nobody.
    pub fallback: Vec<ModelPlace>,
    /// The model that fallbacks are asked for. Default: the first that they have.
    pub fallback_model: Option<ModelName>,
    /// How long the primary may take until a streamed answer begins, in seconds. Default: 5.
    pub timeout_seconds: f64,
    /// How long it may take for a whole answer, in seconds. Default: 60.
    pub answer_timeout_seconds: f64,
    /// How long a streamed answer of it that has begun may pause, in seconds. Default: 60.
    pub idle_timeout_seconds: f64,
    /// Retries of the primary within the time that it has. Default: 2.
    pub max_retries: u32,
    /// How much of a token budget a fallback has, 0 to 1. Default: 0.5.
    pub fallback_budget_ratio: f64,
    /// Calls that one fallback answers at a time. Default: 1.
    pub fallback_calls: usize,
    /// What a fallback is asked for. Default: all that is not the request's own fault.
    pub fall_back_on: Vec<LlmErrorKind>,
    /// What is kept of each call. Default: everything.
    pub record: RecordCalls,
    /// What is struck out of it. Default: nothing.
    pub redact: Vec<Pattern>,
    /// The most bytes of earlier answers that are kept for an outage. Default: none are.
    pub cache: Option<ByteSize>,
    /// How old such an answer may be. Default: a day.
    pub cache_age: Duration,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        let options = OfflineLlmOptions::default();
        Self {
            primary: None,
            api_key: SecretPlace::default(),
            anthropic_url: None,
            fallback: Vec::new(),
            fallback_model: None,
            timeout_seconds: options.timeout_seconds,
            answer_timeout_seconds: 60.0,
            idle_timeout_seconds: 60.0,
            max_retries: options.max_retries,
            fallback_budget_ratio: options.fallback_budget_ratio,
            fallback_calls: options.fallback_calls,
            fall_back_on: options.fall_back_on.into_iter().collect(),
            record: RecordCalls::Full,
            redact: Vec::new(),
            cache: None,
            cache_age: Duration::from_secs(24 * 3600),
        }
    }
}

impl ModelsConfig {
    /// OpenAI's own.
    pub const PRIMARY: &'static str = "https://api.openai.com/v1";
    /// Anthropic's own.
    pub const ANTHROPIC: &'static str = "https://api.anthropic.com";

    /// Checks that the values make sense.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        let idle = self.idle_timeout_seconds;
        if !(idle > 0.0 && idle <= 86_400.0) {
            let expected = "more than 0 and at most 86400 seconds";
            return Err(OptionError::new("llm_idle_timeout_seconds", idle.to_string(), expected));
        }
        self.options().check().map_err(|error| {
            let setting = name_of(error.option());
            error.called(setting)
        })
    }

    /// How one model after the other is asked.
    pub fn options(&self) -> OfflineLlmOptions {
        OfflineLlmOptions {
            timeout_seconds: self.timeout_seconds,
            answer_timeout_seconds: Some(self.answer_timeout_seconds),
            max_retries: self.max_retries,
            fallback_budget_ratio: self.fallback_budget_ratio,
            fallback_calls: self.fallback_calls,
            fall_back_on: self.fall_back_on.iter().copied().collect(),
            ..OfflineLlmOptions::default()
        }
    }

    /// The key that is set for the primary.
    ///
    /// # Errors
    /// Where its file cannot be read.
    pub fn key(&self) -> Result<Option<ApiKey>, ConfigError> {
        let key = self.api_key.find().map_err(|error| format!("llm_api_key_file: {error}"))?;
        Ok(key.and_then(|key| ApiKey::new(key.reveal())))
    }

    /// The server of the primary, counted against the data cap where one is set. Nothing is
    /// sent yet.
    ///
    /// # Errors
    /// Where the key's file cannot be read, the data cap makes no sense, or the machine has no
    /// certificates to check an `https` address with.
    pub fn endpoint(&self, offline: &OfflineConfig) -> Result<Endpoint, ConfigError> {
        let url = self.primary.as_ref().map_or(Self::PRIMARY, WebUrl::as_str);
        let key = self.key()?.or_else(|| ApiKey::from_env(KEY_VARIABLE).ok());
        server(url, offline).map(|endpoint| self.bounded(endpoint).with_api_key(key))
    }

    /// Anthropic's server, for clients that speak its form.
    ///
    /// # Errors
    /// As for [`endpoint`](Self::endpoint).
    pub fn anthropic(&self, offline: &OfflineConfig) -> Result<Endpoint, ConfigError> {
        let url = self.anthropic_url.as_ref().map_or(Self::ANTHROPIC, WebUrl::as_str);
        let key = ApiKey::from_env(ANTHROPIC_KEY_VARIABLE).ok();
        let endpoint = self.bounded(server(url, offline)?);
        Ok(endpoint.with_api_key(key).for_anthropic())
    }

    /// A primary, which is not waited for as a model on this machine is.
    fn bounded(&self, primary: Endpoint) -> Endpoint {
        let idle = Duration::try_from_secs_f64(self.idle_timeout_seconds).unwrap_or(Duration::MAX);
        let clocks = Clocks { idle, ..primary.clocks() };
        primary.with_clocks(clocks)
    }

    /// The servers of the fallbacks; `None` for a model in this process.
    ///
    /// # Errors
    /// As for [`endpoint`](Self::endpoint).
    pub fn fallback_endpoints(
        &self,
        offline: &OfflineConfig,
    ) -> Result<Vec<Option<Endpoint>>, ConfigError> {
        let endpoint = |place: &ModelPlace| match place {
            ModelPlace::Server(url) => server(url.as_str(), offline).map(Some),
            ModelPlace::File(_) => Ok(None),
        };
        self.fallback.iter().map(endpoint).collect()
    }

    /// The primary at its [`endpoint`](Self::endpoint), and the fallbacks.
    ///
    /// # Errors
    /// As for [`endpoint`](Self::endpoint), and where a model's file cannot be opened.
    pub fn client(&self, offline: &OfflineConfig) -> Result<OfflineLlmClient, ConfigError> {
        let primary = OpenAiClient::new(self.endpoint(offline)?).with_local(false);
        let mut builder = OfflineLlmClient::builder(primary).options(self.options());
        for (place, endpoint) in self.fallback.iter().zip(self.fallback_endpoints(offline)?) {
            builder = match endpoint {
                Some(endpoint) => builder.fallback(self.fallback_at(endpoint)),
                None => in_process(builder, place)?,
            };
        }
        builder.build().map_err(|error| error.to_string().into())
    }

    /// A fallback knows nothing of the primary's models: it answers with its own.
    fn fallback_at(&self, endpoint: Endpoint) -> OpenAiClient {
        let client = OpenAiClient::new(endpoint).with_own_model_always();
        let model = self.fallback_model.as_ref().map(ModelName::as_str);
        model.into_iter().fold(client, OpenAiClient::with_model)
    }
}

/// Adds a model that llama.cpp runs in this process, loaded.
#[cfg(feature = "llama-cpp")]
fn in_process(
    builder: OfflineLlmClientBuilder,
    place: &ModelPlace,
) -> Result<OfflineLlmClientBuilder, ConfigError> {
    use backhaul_llm::{LlamaCppClient, LlamaCppOptions};
    let client = LlamaCppClient::open(place.to_string(), LlamaCppOptions::default())
        .map_err(|error| format!("llm_fallback: {error}"))?;
    Ok(builder.fallback(client))
}

#[cfg(not(feature = "llama-cpp"))]
fn in_process(
    _: OfflineLlmClientBuilder,
    place: &ModelPlace,
) -> Result<OfflineLlmClientBuilder, ConfigError> {
    let message = format!(
        "llm_fallback is {place}: this backhaul was built without llama.cpp (the feature \
         llama-cpp); start a server with the file, such as `llama-server -m {place}`, and give its \
         address"
    );
    Err(message.into())
}

/// A server, on whose cost the data cap counts where it is not on this machine.
fn server(url: &str, offline: &OfflineConfig) -> Result<Endpoint, ConfigError> {
    let endpoint = Endpoint::new(url).map_err(|error: LlmError| error.to_string())?;
    let budget = if endpoint.is_loopback() { None } else { offline.budget()? };
    Ok(budget.into_iter().fold(endpoint, Endpoint::with_bandwidth))
}

/// The setting of an option.
fn name_of(option: &'static str) -> &'static str {
    match option {
        "timeout_seconds" => "llm_timeout_seconds",
        "answer_timeout_seconds" => "llm_answer_timeout_seconds",
        "fallback_budget_ratio" => "llm_fallback_budget_ratio",
        "fallback_calls" => "llm_fallback_calls",
        other => other,
    }
}

/// Where a model is: a server's base, or a file that llama.cpp opens in this process.
///
/// ```
/// use backhaul::config::ModelPlace;
/// let server: ModelPlace = "http://127.0.0.1:8080/v1".parse().unwrap();
/// assert!(matches!(server, ModelPlace::Server(_)));
/// let file: ModelPlace = "/models/llama-3-8b.gguf".parse().unwrap();
/// assert!(matches!(file, ModelPlace::File(_)));
/// assert!("llama-3-8b".parse::<ModelPlace>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelPlace {
    /// An OpenAI-compatible server.
    Server(WebUrl),
    /// A GGUF file.
    File(PathBuf),
}

impl FromStr for ModelPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.to_ascii_lowercase().ends_with(".gguf") && !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        text.parse().map(Self::Server)
    }
}

impl fmt::Display for ModelPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelPlace::Server(url) => url.fmt(f),
            ModelPlace::File(path) => path.display().fmt(f),
        }
    }
}

/// The name of a model, as its server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName(String);

impl ModelName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("the name is empty".to_owned()),
            name => Ok(Self(name.to_owned())),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of the calls of models, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordCalls {
    /// Nothing.
    Off,
    /// Who answered, tokens and times, and no word of what was said.
    Metadata,
    /// Messages and answers, who answered, tokens and times.
    Full,
}

impl RecordCalls {
    /// All of them.
    pub const ALL: [Self; 3] = [RecordCalls::Full, RecordCalls::Metadata, RecordCalls::Off];

    /// `full`, `metadata` or `off`.
    pub fn name(self) -> &'static str {
        match self {
            RecordCalls::Full => "full",
            RecordCalls::Metadata => "metadata",
            RecordCalls::Off => "off",
        }
    }
}
