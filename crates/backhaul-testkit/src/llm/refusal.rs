//! Answers that are none, or errors: the same for every form.

use serde_json::json;

use super::form::{Asked, Form};
use super::scenario::LlmScenario;
use crate::Answer;

/// What is answered instead of what was asked. `None`: the scenario goes wrong later, if at
/// all.
pub(super) fn instead(scenario: LlmScenario, asked: &Asked) -> Option<Answer> {
    let error = |status, kind, code, message| Some(error(asked, status, kind, code, message));
    match scenario {
        LlmScenario::Silent => Some(Answer::silence()),
        LlmScenario::ResetAtOnce => Some(Answer::reset()),
        LlmScenario::HangUpAtOnce => Some(Answer::hang_up()),
        LlmScenario::EmptyBody => {
            let kind = if asked.is_streamed() { "text/event-stream" } else { "application/json" };
            Some(Answer::new(200).header("Content-Type", kind))
        }
        LlmScenario::Portal => Some(Answer::portal()),
        LlmScenario::BadGateway => {
            let page = "<html><head><title>502 Bad Gateway</title></head></html>";
            Some(Answer::new(502).header("Content-Type", "text/html").body(page))
        }
        LlmScenario::ServerError => error(500, ERROR, None, "The server had an error."),
        LlmScenario::Overloaded => {
            error(503, OVERLOADED, None, "The server is overloaded.").map(|it| it.retry_after(1))
        }
        LlmScenario::RateLimit => rate_limit(asked),
        LlmScenario::RateLimitSeconds => rate_limit(asked).map(|it| it.retry_after(1)),
        LlmScenario::RateLimitMillis => {
            rate_limit(asked).map(|it| it.header("Retry-After-Ms", "100"))
        }
        LlmScenario::BadKey => error(401, KEY, Some("invalid_api_key"), "Incorrect API key."),
        LlmScenario::Forbidden => error(403, FORBIDDEN, None, "Your region is not supported."),
        LlmScenario::BadRequest => error(400, INVALID, None, "A parameter is not understood."),
        LlmScenario::ContextLength => {
            let message = "This model's maximum context length is 8192 tokens; \
                           your messages have 9000 tokens.";
            error(400, INVALID, Some("context_length_exceeded"), message)
        }
        LlmScenario::NoSuchModel => {
            error(404, MISSING, Some("model_not_found"), "The model does not exist.")
        }
        LlmScenario::TooLarge => error(413, LARGE, None, "The request is too large."),
        _ => None,
    }
}

/// 404, for what no model's server knows.
pub(super) fn unknown() -> Answer {
    let body = json!({"error": {"message": "Unknown request.", "type": INVALID[0]}});
    Answer::new(404).header("Content-Type", "application/json").body(body.to_string())
}

/// The type of an error as OpenAI and as Anthropic name it.
type Kind = [&'static str; 2];
const ERROR: Kind = ["server_error", "api_error"];
const OVERLOADED: Kind = ["server_error", "overloaded_error"];
const LIMIT: Kind = ["rate_limit_error", "rate_limit_error"];
const KEY: Kind = ["invalid_request_error", "authentication_error"];
const FORBIDDEN: Kind = ["invalid_request_error", "permission_error"];
const INVALID: Kind = ["invalid_request_error", "invalid_request_error"];
const MISSING: Kind = ["invalid_request_error", "not_found_error"];
const LARGE: Kind = ["invalid_request_error", "request_too_large"];

fn rate_limit(asked: &Asked) -> Option<Answer> {
    Some(error(asked, 429, LIMIT, Some("rate_limit_exceeded"), "Rate limit reached."))
}

fn error(asked: &Asked, status: u16, kind: Kind, code: Option<&str>, message: &str) -> Answer {
    let [openai, anthropic] = kind;
    let body = match asked.form {
        Form::Messages => json!({
            "type": "error",
            "error": {"type": anthropic, "message": message},
            "request_id": "req_cloud",
        }),
        _ => json!({
            "error": {"message": message, "type": openai, "param": null, "code": code},
        }),
    };
    let answer = Answer::new(status).header("Content-Type", "application/json");
    answer.header("X-Request-Id", "req_cloud").body(body.to_string())
}
