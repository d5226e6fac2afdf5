//! What a model can do.

/// What a model can do, as its server or its settings say; never guessed from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelCapabilities {
    /// How many tokens its context holds, prompt and answer together. `None`: not known.
    pub context_tokens: Option<u64>,
    /// Whether it sees images.
    pub vision: bool,
    /// Whether it calls tools.
    pub tools: bool,
    /// Whether it can be told to call a certain tool, or any (`tool_choice`).
    pub forced_tools: bool,
    /// Whether its answer can be bound to a JSON schema (`response_format`).
    pub json_schema: bool,
    /// Whether it gives several answers to one request (`n`).
    pub choices: bool,
}

impl ModelCapabilities {
    /// Everything, in a context that is not known: what is taken for true of a cloud's model.
    pub const ALL: Self = Self {
        context_tokens: None,
        vision: true,
        tools: true,
        forced_tools: true,
        json_schema: true,
        choices: true,
    };
    /// What is safe to expect of any model: text.
    pub const TEXT: Self = Self {
        context_tokens: None,
        vision: false,
        tools: false,
        forced_tools: false,
        json_schema: false,
        choices: false,
    };

    /// The same in a context of so many tokens.
    #[must_use]
    pub fn with_context_tokens(self, tokens: u64) -> Self {
        Self { context_tokens: Some(tokens), ..self }
    }
}
