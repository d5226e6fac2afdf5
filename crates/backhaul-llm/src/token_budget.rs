//! How many tokens a call may take.

/// How many tokens the context of a call may take, and how they are shared out.
///
/// ```
/// use backhaul_llm::TokenBudget;
/// let budget = TokenBudget::new(16_000).reserved_for_output(2_000).allocate("history", 8_000);
/// assert_eq!(budget.available_tokens(), 14_000);
/// let smaller = budget.scaled(0.5);
/// assert_eq!((smaller.max_tokens, smaller.allocations[0].max_tokens), (8_000, 4_000));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TokenBudget {
    /// The most that prompt and answer may take together. Default: 200,000.
    pub max_tokens: u64,
    /// What of it is kept for the answer. Default: 4,000.
    pub reserved_for_output: u64,
    /// What parts of the prompt may take.
    pub allocations: Vec<BudgetAllocation>,
}

/// What one part of the prompt may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetAllocation {
    /// The part.
    pub section: String,
    /// The most that it may take.
    pub max_tokens: u64,
    /// The larger, the later it is cut. Default: 0.
    pub priority: i64,
    /// The least that it is left. Default: 0.
    pub min_tokens: u64,
}

impl Default for TokenBudget {
    fn default() -> Self {
        Self { max_tokens: 200_000, reserved_for_output: 4_000, allocations: Vec::new() }
    }
}

impl TokenBudget {
    /// So many tokens, of which 4,000 are kept for the answer.
    pub fn new(max_tokens: u64) -> Self {
        Self { max_tokens, ..Self::default() }
    }

    /// With so many kept for the answer.
    #[must_use]
    pub fn reserved_for_output(self, tokens: u64) -> Self {
        Self { reserved_for_output: tokens, ..self }
    }

    /// With so many at most for a part of the prompt.
    #[must_use]
    pub fn allocate(mut self, section: impl Into<String>, max_tokens: u64) -> Self {
        let section = section.into();
        self.allocations.push(BudgetAllocation { section, max_tokens, priority: 0, min_tokens: 0 });
        self
    }

    /// What is left for the prompt; 0 where the answer takes it all.
    pub fn available_tokens(&self) -> u64 {
        self.max_tokens.saturating_sub(self.reserved_for_output)
    }

    /// The budget times `ratio`, rounded down, allocations in proportion. What is kept for the
    /// answer stays, and at least one token is left for the prompt. A ratio that is no number
    /// of 0 to 1 counts as 1.
    #[must_use]
    pub fn scaled(&self, ratio: f64) -> Self {
        let ratio = if (0.0..=1.0).contains(&ratio) { ratio } else { 1.0 };
        let scale = |tokens: u64| scaled(tokens, ratio);
        let allocation = |it: &BudgetAllocation| BudgetAllocation {
            max_tokens: scale(it.max_tokens),
            min_tokens: scale(it.min_tokens),
            ..it.clone()
        };
        Self {
            max_tokens: scale(self.max_tokens).max(self.reserved_for_output.saturating_add(1)),
            reserved_for_output: self.reserved_for_output,
            allocations: self.allocations.iter().map(allocation).collect(),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "no model has a context of 2^53 tokens, and the product is not larger"
)]
fn scaled(tokens: u64, ratio: f64) -> u64 {
    (tokens as f64 * ratio) as u64
}
