//! What an answer that is none of success means. It is decided here and nowhere else.

use std::time::Duration;

use backhaul_sync::Answer;
use backhaul_sync::header::{CONTENT_TYPE, HeaderName};
use serde_json::{Map, Value};

use super::remarks::remarks;
use super::secrets::Secrets;
use crate::error::{LlmError, LlmErrorKind};

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The most of a text that is no error object which is shown.
const MOST_SHOWN: usize = 300;

/// How servers that have no name for it say that a request does not fit: Anthropic's, vLLM,
/// and what others took over from them.
const TOO_LONG: [&str; 5] = [
    "prompt is too long",
    "maximum context length",
    "exceed context limit",
    "exceeds the context window",
    "exceeds the available context size",
];

/// What an answer says that is none of success, or that is a page in the place of one.
pub(super) fn error_of(name: &str, answer: &Answer, secrets: &Secrets) -> LlmError {
    let text = secrets.struck_out(&answer.body);
    let status = answer.status;
    let error = match said(&text) {
        Some(said) => error_from(name, Some(status), said),
        None => without_words(name, answer, &text),
    };
    let error = error.with_status(status).with_remarks(remarks(&answer.headers));
    match asked_wait(answer) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// What an error says that stands in the place of an answer, or of a piece of one.
pub(super) fn in_band_error(name: &str, text: &str) -> LlmError {
    match said(text) {
        Some(said) => error_from(name, None, said),
        None => LlmError::new(LlmErrorKind::Busy, format!("{name}: {}", shown(text))),
    }
}

/// What the server says itself: the object under `error`, as OpenAI, Anthropic and llama-server
/// have it; a text there, as Ollama has it; and what others have in its place.
fn said(text: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Object(mut body)) = serde_json::from_str(text) else { return None };
    let of_text = |text: Value| [("message".to_owned(), text)].into_iter().collect();
    match body.remove("error") {
        Some(Value::Object(said)) => Some(said),
        Some(text @ Value::String(_)) => Some(of_text(text)),
        _ if body.contains_key("message") => Some(body),
        _ => body.remove("detail").map(of_text),
    }
}

fn error_from(name: &str, status: Option<u16>, said: Map<String, Value>) -> LlmError {
    let message = match said.get("message") {
        Some(Value::String(message)) => message.clone(),
        Some(other) => other.to_string(),
        None => Value::Object(said.clone()).to_string(),
    };
    let kind = kind_of(status, &said, &message);
    LlmError::new(kind, format!("{name}: {message}")).with_body(said)
}

fn kind_of(status: Option<u16>, said: &Map<String, Value>, message: &str) -> LlmErrorKind {
    let code = said.get("code");
    let class = said.get("type").and_then(Value::as_str).unwrap_or_default();
    let names = [code.and_then(Value::as_str).unwrap_or_default(), class];
    if let Some(kind) = names.into_iter().find_map(kind_of_name) {
        return kind;
    }
    let status = status.or_else(|| status_of(code?));
    let is_too_long = || TOO_LONG.iter().any(|phrase| message.contains(phrase));
    match status {
        None | Some(400 | 413 | 422 | 500) if is_too_long() => LlmErrorKind::ContextLength,
        Some(status) => LlmErrorKind::of_status(status),
        None => kind_of_class(class),
    }
}

/// Names that say it all, whatever the status is.
fn kind_of_name(name: &str) -> Option<LlmErrorKind> {
    Some(match name {
        "context_length_exceeded" | "exceed_context_size_error" => LlmErrorKind::ContextLength,
        "invalid_api_key"
        | "insufficient_quota"
        | "billing_hard_limit_reached"
        | "authentication_error"
        | "permission_error"
        | "billing_error" => LlmErrorKind::Credentials,
        "model_not_found" => LlmErrorKind::NotFound,
        "rate_limit_exceeded" | "rate_limit_error" => LlmErrorKind::RateLimited,
        "not_supported_error" => LlmErrorKind::Unsupported,
        _ => return None,
    })
}

/// What is left where there is no status.
fn kind_of_class(class: &str) -> LlmErrorKind {
    match class {
        "invalid_request_error" | "request_too_large" => LlmErrorKind::Invalid,
        "not_found_error" => LlmErrorKind::NotFound,
        _ => LlmErrorKind::Busy,
    }
}

/// Some say the status in the place of a code.
fn status_of(code: &Value) -> Option<u16> {
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// An answer that has no error object.
fn without_words(name: &str, answer: &Answer, text: &str) -> LlmError {
    let kind = LlmErrorKind::of_status(answer.status);
    let is_page = text.trim_start().starts_with('<')
        || answer.header(CONTENT_TYPE).is_some_and(|it| it.starts_with("text/html"));
    if is_page {
        // A proxy in front of the server says 502 to 504 with a page. A page that says
        // anything else is of somebody in its place.
        let kind = if (500..=504).contains(&answer.status) { kind } else { LlmErrorKind::Garbled };
        let message = "a page came in the place of an answer (is there a captive portal?)";
        return LlmError::new(kind, format!("{name}: {message}"));
    }
    let message = if text.trim().is_empty() { "an empty answer".to_owned() } else { shown(text) };
    LlmError::new(kind, format!("{name}: {message}"))
}

fn shown(text: &str) -> String {
    text.trim().chars().take(MOST_SHOWN).collect()
}

fn asked_wait(answer: &Answer) -> Option<Duration> {
    let millis = answer.header(RETRY_AFTER_MS).and_then(|it| it.trim().parse().ok());
    millis.map(Duration::from_millis).or_else(|| answer.retry_after_now())
}

#[cfg(test)]
mod tests {
    use backhaul_sync::header::HeaderMap;

    use super::*;
    use crate::api_key::ApiKey;

    fn answer(status: u16, lines: &[(&'static str, &str)], body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    fn error(status: u16, body: &str) -> LlmError {
        error_of("server", &answer(status, &[], body), &Secrets::new(None))
    }

    #[test]
    fn errors_of_all_servers_are_understood() {
        use LlmErrorKind::{
            Busy, ContextLength, Credentials, Garbled, Invalid, NotFound, RateLimited, Unsupported,
        };
        for (status, body, kind, message) in [
            // OpenAI
            (
                401,
                r#"{"error":{"message":"Incorrect API key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                Credentials,
                "Incorrect API key",
            ),
            (
                429,
                r#"{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
                RateLimited,
                "Slow down",
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Credentials,
                "You exceeded your current quota",
            ),
            (
                400,
                r#"{"error":{"message":"too many","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                ContextLength,
                "too many",
            ),
            (
                404,
                r#"{"error":{"message":"no gpt-9","type":"invalid_request_error","code":"model_not_found"}}"#,
                NotFound,
                "no gpt-9",
            ),
            (500, r#"{"error":{"message":"oops","type":"server_error"}}"#, Busy, "oops"),
            // Anthropic
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Busy,
                "Overloaded",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
                ContextLength,
                "prompt is too long: 9 tokens > 8 maximum",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}"#,
                Invalid,
                "max_tokens: Field required",
            ),
            // llama-server
            (
                400,
                r#"{"error":{"code":400,"message":"exceeds","type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":8}}"#,
                ContextLength,
                "exceeds",
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"exceeds","type":"exceed_context_size_error"}}"#,
                ContextLength,
                "exceeds",
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                Busy,
                "Loading model",
            ),
            (
                501,
                r#"{"error":{"code":501,"message":"no embeddings","type":"not_supported_error"}}"#,
                Unsupported,
                "no embeddings",
            ),
            // Ollama, vLLM, and others
            (404, r#"{"error":"model 'x' not found"}"#, NotFound, "model 'x' not found"),
            (404, "404 page not found", NotFound, "404 page not found"),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 8","type":"BadRequestError","code":400}"#,
                ContextLength,
                "This model's maximum context length is 8",
            ),
            (422, r#"{"detail":[{"loc":["body"]}]}"#, Invalid, r#"[{"loc":["body"]}]"#),
            (402, "{}", Credentials, "{}"),
            (503, "", Busy, "an empty answer"),
            (
                502,
                "<html>nginx</html>",
                Busy,
                "a page came in the place of an answer (is there a captive portal?)",
            ),
            (
                403,
                "<!DOCTYPE html>",
                Garbled,
                "a page came in the place of an answer (is there a captive portal?)",
            ),
            (302, "", Garbled, "an empty answer"),
        ] {
            let error = error(status, body);
            assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{body}");
            assert_eq!(error.message(), format!("server: {message}"));
        }
    }

    #[test]
    fn errors_within_an_answer_have_their_own_kind() {
        use LlmErrorKind::{Busy, ContextLength, Credentials, Invalid, NotFound, RateLimited};
        for (text, kind) in [
            (r#"{"error":{"message":"x","type":"server_error"}}"#, Busy),
            (r#"{"error":{"message":"x","code":502}}"#, Busy),
            (r#"{"error":{"message":"x","code":"429"}}"#, RateLimited),
            (r#"{"error":{"message":"x","type":"invalid_request_error"}}"#, Invalid),
            (r#"{"error":{"message":"x","type":"not_found_error"}}"#, NotFound),
            (r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#, ContextLength),
            (
                r#"{"type":"error","error":{"message":"x","type":"authentication_error"}}"#,
                Credentials,
            ),
            (r#"{"error":"x"}"#, Busy),
            ("x", Busy),
        ] {
            let error = in_band_error("server", text);
            assert_eq!((error.kind(), error.message()), (kind, "server: x"), "{text}");
        }
    }

    #[test]
    fn the_wait_that_is_asked_for_is_told() {
        let wait =
            |lines: &[_]| error_of("s", &answer(429, lines, ""), &Secrets::new(None)).retry_after();
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let both = [("retry-after", "7"), ("retry-after-ms", "250")];
        assert_eq!(wait(&both), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_key_that_the_server_repeats_is_struck_out() {
        let secrets = Secrets::new(ApiKey::new("sk-0123"));
        for body in [r#"{"error":{"message":"no such key: sk-0123"}}"#, "no such key: sk-0123"] {
            let error = error_of("s", &answer(401, &[], body), &secrets);
            assert_eq!(error.message(), "s: no such key: [redacted]");
            assert!(!format!("{error:?} {}", error.to_json()).contains("sk-0123"));
        }
    }
}
