//! Whether there are models to ask, now and during an outage.

use backhaul_llm::{
    Endpoint, LlmClient as _, LlmError, LlmErrorKind, ModelCapabilities, OpenAiClient, RawRequest,
};
use serde_json::Value;

use super::Patient;
use super::finding::Finding;
use super::network::BOUND;
use crate::config::{ModelPlace, ModelsConfig, Source};

const MODELS: &str = "models";
const PRIMARY: &str = "primary model";
const FALLBACK: &str = "fallback model";
/// What is at the address of a fallback does not answer as such a server.
const NO_SERVER: &str =
    "check llm_fallback: it is the address of an OpenAI-compatible server, most end in /v1";

pub(super) async fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let config = &patient.config.models;
    let is_named = *patient.settings.source("llm_primary") != Source::Default;
    if !is_named && config.fallback.is_empty() {
        return vec![Finding::ok(MODELS, "not used: no llm_primary and no llm_fallback")];
    }
    let offline = &patient.config.offline;
    let opened = config
        .endpoint(offline)
        .and_then(|primary| Ok((primary, config.fallback_endpoints(offline)?)));
    let (primary, fallbacks) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![Finding::problem(MODELS, error.to_string(), "mend the setting")],
    };
    let fallbacks = async {
        let mut findings = Vec::new();
        for (place, endpoint) in config.fallback.iter().zip(fallbacks) {
            findings.push(fallback(config, place, endpoint).await);
        }
        findings
    };
    let (primary, fallbacks) = tokio::join!(self::primary(config, &primary), fallbacks);
    let mut findings = vec![primary];
    findings.extend(fallbacks);
    if config.fallback.is_empty() {
        let found = "no llm_fallback: during an outage no model answers";
        let advice = "set it to a server on this device, such as http://127.0.0.1:11434/v1";
        findings.push(Finding::warning(FALLBACK, found, advice));
    }
    findings
}

/// The names of the models that a server has.
async fn list(endpoint: &Endpoint) -> Result<Vec<String>, LlmError> {
    let asked = async { endpoint.forward(RawRequest::get("/models")).await?.json().await };
    let list: Value = within_bound(asked).await?;
    let models = list
        .get("data")
        .and_then(Value::as_array)
        .ok_or_else(|| LlmError::new(LlmErrorKind::Garbled, "what came is no list of models"))?;
    let names = models.iter().filter_map(|model| model.get("id")?.as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

async fn within_bound<T>(asked: impl Future<Output = Result<T, LlmError>>) -> Result<T, LlmError> {
    tokio::time::timeout(BOUND, asked).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} seconds", BOUND.as_secs());
        Err(LlmError::new(LlmErrorKind::Timeout, message))
    })
}

async fn primary(config: &ModelsConfig, endpoint: &Endpoint) -> Finding {
    let name = endpoint.name();
    match list(endpoint).await {
        Ok(models) => Finding::ok(PRIMARY, format!("{name} answers, {} models", models.len())),
        Err(error) if error.kind() == LlmErrorKind::Credentials => match endpoint.has_api_key() {
            true => Finding::problem(
                PRIMARY,
                format!("{error}"),
                "set the key of this server: llm_api_key_file, or OPENAI_API_KEY",
            ),
            false => Finding::ok(PRIMARY, format!("{name} answers; it was asked without a key")),
        },
        Err(error) if config.fallback.is_empty() => {
            Finding::problem(PRIMARY, error.to_string(), "look at the link and at llm_primary")
        }
        Err(error) => Finding::warning(
            PRIMARY,
            error.to_string(),
            "look at the link and at llm_primary; meanwhile calls go to the fallback",
        ),
    }
}

async fn fallback(
    config: &ModelsConfig,
    place: &ModelPlace,
    endpoint: Option<Endpoint>,
) -> Finding {
    let Some(endpoint) = endpoint else { return file(place) };
    let models = match list(&endpoint).await {
        Ok(models) => models,
        Err(error) => {
            let advice = match error.kind() {
                LlmErrorKind::Unreachable | LlmErrorKind::Timeout | LlmErrorKind::Busy => {
                    "start it: during an outage nobody else answers"
                }
                _ => NO_SERVER,
            };
            return Finding::problem(FALLBACK, error.to_string(), advice);
        }
    };
    let wanted = config.fallback_model.as_ref().map(|model| model.as_str());
    let Some(model) = wanted.or(models.first().map(String::as_str)) else {
        let found = format!("{} has no model", endpoint.name());
        return Finding::problem(FALLBACK, found, "load one into it, or download one with it");
    };
    if !models.iter().any(|it| it == model) {
        let found = format!("{} has no model {model}, but {}", endpoint.name(), models.join(", "));
        return Finding::problem(FALLBACK, found, "set llm_fallback_model to one that it has");
    }
    let name = endpoint.name().to_owned();
    let client = OpenAiClient::new(endpoint).with_model(model).with_own_model_always();
    match within_bound(client.capabilities()).await {
        Ok(can) => Finding::ok(FALLBACK, format!("{name} answers: {model}, {}", shown(can))),
        Err(error) => Finding::problem(FALLBACK, error.to_string(), NO_SERVER),
    }
}

fn shown(can: ModelCapabilities) -> String {
    let context = match can.context_tokens {
        Some(tokens) => format!("a context of {tokens} tokens"),
        None => "a context of unknown size".to_owned(),
    };
    let with = |can: bool, what: &'static str| can.then_some(what);
    let gifts = [with(can.tools, "tools"), with(can.vision, "images")];
    let gifts: Vec<&str> = gifts.into_iter().flatten().collect();
    match gifts.as_slice() {
        [] => format!("{context}, neither tools nor images"),
        gifts => format!("{context}, {}", gifts.join(" and ")),
    }
}

/// A model that is run in the process of the gateway.
#[cfg(feature = "llama-cpp")]
fn file(place: &ModelPlace) -> Finding {
    match backhaul_llm::LlamaCppClient::architecture_of(place.to_string()) {
        Ok(architecture) => {
            Finding::ok(FALLBACK, format!("{place} is a model of architecture {architecture}"))
        }
        Err(error) => {
            Finding::problem(FALLBACK, error.to_string(), "check llm_fallback and the file")
        }
    }
}

#[cfg(not(feature = "llama-cpp"))]
fn file(place: &ModelPlace) -> Finding {
    let found = format!("{place} cannot be run: this backhaul was built without llama.cpp");
    let advice = "start a server with the file, such as `llama-server -m`, and give its address";
    Finding::problem(FALLBACK, found, advice)
}
