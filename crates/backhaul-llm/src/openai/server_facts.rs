//! What local servers tell of themselves.

use serde_json::{Value, json};

use crate::capabilities::ModelCapabilities;
use crate::endpoint::{Endpoint, RawRequest};
use crate::error::{LlmError, LlmErrorKind};

/// What is taken for true of a local server that tells nothing: text, in the context that
/// Ollama gives a model where nobody sets one.
pub(super) const CAUTIOUS: ModelCapabilities =
    ModelCapabilities { context_tokens: Some(OLLAMA_CONTEXT), ..ModelCapabilities::TEXT };

/// The context of Ollama's models below 24 GiB of video memory, unless `num_ctx` says more.
const OLLAMA_CONTEXT: u64 = 4_096;

/// What the server's model can do. `None`: it does not tell.
///
/// # Errors
/// Where it cannot be asked now.
pub(super) async fn capabilities(
    endpoint: &Endpoint,
    model: Option<&str>,
) -> Result<Option<ModelCapabilities>, LlmError> {
    let root = endpoint.root();
    if let Some(told) = ask(&root, RawRequest::get("/props")).await?.as_ref().and_then(of_props) {
        return Ok(Some(told));
    }
    let Some(model) = model else { return Ok(None) };
    let show = RawRequest::post("/api/show", json!({ "model": model }).to_string());
    Ok(ask(&root, show).await?.as_ref().and_then(of_show))
}

/// The first model that a server has. `None`: it does not tell.
pub(super) async fn first_model(endpoint: &Endpoint) -> Option<String> {
    let list = ask(endpoint, RawRequest::get("/models")).await.ok()??;
    Some(list.pointer("/data/0/id")?.as_str()?.to_owned())
}

async fn ask(root: &Endpoint, request: RawRequest) -> Result<Option<Value>, LlmError> {
    let answer = match root.forward(request).await {
        Ok(reply) => reply.json().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_no_such_question(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a server does not know what it was asked for, and never will.
pub(super) fn is_no_such_question(error: &LlmError) -> bool {
    matches!(
        error.kind(),
        LlmErrorKind::NotFound
            | LlmErrorKind::Invalid
            | LlmErrorKind::Unsupported
            | LlmErrorKind::Garbled
            | LlmErrorKind::Credentials
    )
}

/// llama-server: the context of one slot, of which it may have several, and what its chat
/// template knows. It takes `tool_choice` for a wish, and gives as many answers as it has slots.
fn of_props(props: &Value) -> Option<ModelCapabilities> {
    let context = props.pointer("/default_generation_settings/n_ctx")?.as_u64();
    let is = |pointer: &str| props.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    Some(ModelCapabilities {
        context_tokens: context,
        vision: is("/modalities/vision"),
        tools: is("/chat_template_caps/supports_tools"),
        forced_tools: false,
        json_schema: true,
        choices: false,
    })
}

/// Ollama: what the model can do, and its context by `num_ctx`. It knows no `tool_choice`.
fn of_show(show: &Value) -> Option<ModelCapabilities> {
    let can = show.get("capabilities")?.as_array()?;
    let can = |what: &str| can.iter().any(|it| it.as_str() == Some(what));
    let parameters = show.get("parameters").and_then(Value::as_str).unwrap_or_default();
    let stated = parameters.lines().find_map(|line| {
        let (name, value) = line.trim().split_once(char::is_whitespace)?;
        (name == "num_ctx").then(|| value.trim().parse().ok())?
    });
    let info = show.get("model_info").and_then(Value::as_object);
    let trained = info.into_iter().flatten().find(|(name, _)| name.ends_with(".context_length"));
    let trained = trained.and_then(|(_, length)| length.as_u64()).unwrap_or(u64::MAX);
    Some(ModelCapabilities {
        context_tokens: Some(trained.min(stated.unwrap_or(OLLAMA_CONTEXT))),
        vision: can("vision"),
        tools: can("tools"),
        forced_tools: false,
        json_schema: true,
        choices: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_server_tells_the_context_of_one_slot() {
        let props = json!({
            "default_generation_settings": { "n_ctx": 1024 }, "total_slots": 4,
            "modalities": { "vision": true, "audio": false },
            "chat_template_caps": { "supports_tools": true },
        });
        let told = of_props(&props).unwrap();
        assert_eq!((told.context_tokens, told.vision, told.tools), (Some(1024), true, true));
        assert!(told.json_schema && !told.forced_tools);
        assert_eq!(of_props(&json!({ "error": "?" })), None);
    }

    #[test]
    fn ollama_tells_what_a_model_can_do_and_a_context_that_was_set() {
        let show = |parameters: &str| {
            let show = json!({
                "parameters": parameters, "capabilities": ["completion", "tools"],
                "model_info": { "general.architecture": "llama", "llama.context_length": 131_072 },
            });
            let told = of_show(&show).unwrap();
            assert!(told.tools && !told.vision && told.json_schema && !told.forced_tools);
            told.context_tokens
        };
        assert_eq!(show("stop \"<|im_end|>\""), Some(4_096));
        assert_eq!(show("temperature 0.7\nnum_ctx                        16384"), Some(16_384));
        assert_eq!(show("num_ctx 999999"), Some(131_072));
        assert_eq!(of_show(&json!({})), None);
    }
}
