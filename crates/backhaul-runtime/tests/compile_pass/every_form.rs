//! Tools of every form, without a warning of the compiler.

#![deny(warnings, unused, missing_docs, missing_debug_implementations, rust_2018_idioms)]

/// Public, for other crates.
pub mod public {
    use std::time::Duration;

    use backhaul_runtime::tools::{
        IdempotencyKey, OfflinePolicy, OnUnknown, Probed, ToolError, ToolInvocation, tool,
    };

    /// Is sent later.
    #[tool(
        name = "send",
        description = "Sends it.",
        offline_policy = OfflinePolicy::Queue,
        on_unknown = OnUnknown::CheckFirst,
        probe = was_sent,
        expires_after = Duration::from_secs(60),
        collapse_by(to),
        timeout = 5,
        max_retries = 1,
    )]
    pub async fn send(
        /// Who gets it.
        to: &str,
        #[allow(unused_variables)] text: Option<&str>,
        #[default = 1] times: u8,
        key: IdempotencyKey,
        call: &ToolInvocation,
    ) -> Result<String, ToolError> {
        Ok(format!("{to} {times} {key} {}", call.attempts))
    }

    async fn was_sent(
        _: &str,
        _: Option<&str>,
        _: u8,
        _: IdempotencyKey,
        _: &ToolInvocation,
    ) -> Result<Probed, ToolError> {
        Ok(Probed::Unclear)
    }
}

/// Has the names that expansions might have.
mod shadowed {
    use backhaul_runtime::tools::tool;

    #[allow(dead_code)]
    type Result = ();
    #[allow(dead_code)]
    type Option = ();
    #[allow(dead_code)]
    type String = ();
    #[allow(dead_code)]
    struct Box;
    #[allow(dead_code)]
    mod std {}
    #[allow(dead_code)]
    mod core {}

    /// Adds.
    #[tool]
    pub(super) fn add(arguments: u8, invocation: u8, output: u8, given: u8, default: u8) -> u8 {
        arguments + invocation + output + given + default
    }

    /// Says it again.
    #[tool(offline_policy = local_fallback, local = again, local_cache_ttl = 60, stale_allowed)]
    pub(super) fn again(text: &str, words: &[u8], #[default = "a"] more: &str) -> usize {
        text.len() + words.len() + more.len()
    }
}

/// Is of another time.
#[backhaul_runtime::tools::tool]
#[deprecated]
#[cfg(all())]
#[must_use]
fn old() -> u8 {
    1
}

/// Is not there.
#[backhaul_runtime::tools::tool]
#[cfg(any())]
fn gone() -> Nothing {}

fn main() {
    /// Stands in a function.
    #[backhaul_runtime::tools::tool(blocking)]
    fn inside(text: String) -> std::io::Result<String> {
        Ok(text)
    }

    let _ = (inside::tool(), shadowed::add::tool(), shadowed::again::tool(), old::tool());
    let _ = public::send::tool();
    let _ = shadowed::add(1, 2, 3, 4, 5);
}
