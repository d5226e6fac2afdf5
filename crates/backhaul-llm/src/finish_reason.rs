//! Why a model stopped.

/// Why a model stopped, as it said itself: nobody makes one up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// It came to its limit of tokens.
    Length,
    /// It calls tools.
    ToolCalls,
    /// It refused, or somebody did in its place.
    ContentFilter,
    /// A reason that this version does not know.
    Other(String),
}

impl FinishReason {
    /// The reason of a name.
    pub fn named(name: &str) -> Self {
        match name {
            "stop" => FinishReason::Stop,
            "length" => FinishReason::Length,
            "tool_calls" | "function_call" => FinishReason::ToolCalls,
            "content_filter" => FinishReason::ContentFilter,
            other => FinishReason::Other(other.to_owned()),
        }
    }

    /// Its name, as chat completions have it.
    pub fn name(&self) -> &str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::ContentFilter => "content_filter",
            FinishReason::Other(name) => name,
        }
    }
}
