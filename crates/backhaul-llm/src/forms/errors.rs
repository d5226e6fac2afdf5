//! Errors as they go out.

use serde_json::{Value, json};

use crate::error::{LlmError, LlmErrorKind};

/// What Anthropic answers while it has too much to do.
const OVERLOADED: u16 = 529;

/// The status of an error: the server's own, or that of its kind.
pub(super) fn status(error: &LlmError) -> u16 {
    use LlmErrorKind::{
        BrokenOff, Busy, ContextLength, Credentials, Engine, Garbled, Invalid, NotFound,
        RateLimited, Timeout, Unavailable, Unreachable, Unsupported,
    };
    match (error.status(), error.kind()) {
        (Some(status @ 400..=599), _) => status,
        (_, Invalid | ContextLength | Unsupported) => 400,
        (_, Credentials) => 401,
        (_, NotFound) => 404,
        (_, RateLimited) => 429,
        (_, Engine) => 500,
        (_, BrokenOff | Garbled) => 502,
        (_, Busy | Unavailable | Unreachable) => 503,
        (_, Timeout) => 504,
    }
}

/// The status as Anthropic's clients know it.
pub(super) fn anthropic_status(error: &LlmError) -> u16 {
    match status(error) {
        503 => OVERLOADED,
        status => status,
    }
}

/// An error as Anthropic's clients read it.
pub(super) fn anthropic(error: &LlmError) -> Value {
    let class = match anthropic_status(error) {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        OVERLOADED => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": class, "message": error.message() } })
}
