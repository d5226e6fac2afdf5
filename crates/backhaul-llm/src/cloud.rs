//! The two clients that most devices have.

use std::path::Path;

use crate::api_key::ApiKey;
use crate::capabilities::ModelCapabilities;
use crate::chunk_stream::ChunkStream;
use crate::client::{LlmClient, LlmFuture, TokenCount};
use crate::completion::CompletionResult;
use crate::endpoint::Endpoint;
use crate::error::{LlmError, LlmErrorKind};
use crate::openai::OpenAiClient;
use crate::request::ChatRequest;

const OPENAI: &str = "https://api.openai.com/v1";

/// A model of OpenAI's own servers. For any other cloud there is [`OpenAiClient`].
#[derive(Debug)]
pub struct CloudLlmClient(OpenAiClient);

/// A model of a server on this machine, such as llama-server, Ollama or LM Studio. It answers
/// whatever model a request names.
///
/// ```
/// use backhaul_llm::{LlmClient, LocalLlmClient};
/// let client = LocalLlmClient::new("http://127.0.0.1:8080/v1")?;
/// assert_eq!(client.name(), "127.0.0.1:8080");
/// # Ok::<(), backhaul_llm::LlmError>(())
/// ```
#[derive(Debug)]
pub struct LocalLlmClient(OpenAiClient);

impl CloudLlmClient {
    /// A client with a key. `model` answers requests which name none.
    ///
    /// # Errors
    /// Where nothing can be sent at all, as without certificates.
    pub fn new(api_key: ApiKey, model: impl Into<String>) -> Result<Self, LlmError> {
        let endpoint = Endpoint::new(OPENAI)?.with_api_key(api_key);
        Ok(Self(OpenAiClient::new(endpoint).with_model(model)))
    }
}

impl LocalLlmClient {
    /// The server at an address, such as `http://127.0.0.1:8080/v1`.
    ///
    /// # Errors
    /// [`LlmErrorKind::Invalid`] where it is no address, [`LlmErrorKind::Unsupported`] where it
    /// is a model's file: no server runs it.
    pub fn new(base_url: &str) -> Result<Self, LlmError> {
        let extension = Path::new(base_url).extension();
        if !base_url.contains("://") && extension.is_some_and(|it| it.eq_ignore_ascii_case("gguf"))
        {
            let message = format!(
                "{base_url} is a model's file, which takes the feature llama-cpp to run: build \
                 with it, or give the address of a server that runs the model"
            );
            return Err(LlmError::new(LlmErrorKind::Unsupported, message));
        }
        Ok(Self(
            OpenAiClient::new(Endpoint::new(base_url)?).with_local(true).with_own_model_always(),
        ))
    }

    /// With the name of the model that answers, where the server has several.
    #[must_use]
    pub fn with_model(self, model: impl Into<String>) -> Self {
        Self(self.0.with_model(model))
    }
}

macro_rules! are_openai_clients {
    ($($client:ty),+) => {$(
        impl From<$client> for OpenAiClient {
            fn from(client: $client) -> Self {
                client.0
            }
        }

        impl LlmClient for $client {
            fn name(&self) -> &str {
                self.0.name()
            }

            fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
                self.0.complete(request)
            }

            fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
                self.0.stream(request)
            }

            fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
                self.0.count_tokens(request)
            }

            fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
                self.0.capabilities()
            }

            fn probe(&self) -> LlmFuture<'_, ()> {
                self.0.probe()
            }
        }
    )+};
}
are_openai_clients!(CloudLlmClient, LocalLlmClient);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_file_is_told_to_need_an_engine() {
        let error = LocalLlmClient::new("/models/qwen.GGUF").unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Unsupported);
        assert!(error.message().contains("the feature llama-cpp"), "{error}");
        let error = LocalLlmClient::new("qwen").unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Invalid);
    }
}
