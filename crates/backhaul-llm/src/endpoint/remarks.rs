//! What a server says of an answer beside it.

use backhaul_sync::header::{HeaderMap, HeaderName};

/// Ids that its makers ask for when something went wrong.
const NAMES: [&str; 3] = ["x-request-id", "request-id", "cf-ray"];
/// Limits, and how much of them is left; versions and times.
const BEGINNINGS: [&str; 3] = ["x-ratelimit-", "anthropic-", "openai-"];

/// Of an answer's headers those that say something to the caller.
pub(super) fn remarks(headers: &HeaderMap) -> HeaderMap {
    let is_remark = |name: &HeaderName| {
        let name = name.as_str();
        NAMES.contains(&name) || BEGINNINGS.iter().any(|it| name.starts_with(it))
    };
    let said = headers.iter().filter(|(name, _)| is_remark(name));
    said.map(|(name, value)| (name.clone(), value.clone())).collect()
}
