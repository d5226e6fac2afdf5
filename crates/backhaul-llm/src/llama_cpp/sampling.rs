//! Which token comes next.

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::json_schema_to_grammar;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use serde_json::{Value, json};

use crate::error::{LlmError, LlmErrorKind};
use crate::llama_cpp::patterns;
use crate::request::ChatRequest;

// What llama.cpp's own server takes where a request says nothing.
const TEMPERATURE: f32 = 0.8;
const TOP_K: i32 = 40;
const TOP_P: f32 = 0.95;
const MIN_P: f32 = 0.05;
/// The seed with which llama.cpp draws one.
const ANY_SEED: u32 = u32::MAX;

/// How the tokens of one answer are chosen.
#[derive(Debug)]
pub(super) struct Sampling {
    chain: LlamaSampler,
    grammar: Option<LlamaSampler>,
    /// What of the schema the answer is not held to.
    pub(super) changes: Vec<String>,
}

impl Sampling {
    /// Always the likeliest token.
    pub(super) fn greedy() -> Self {
        Self { chain: LlamaSampler::greedy(), grammar: None, changes: Vec::new() }
    }

    /// As a request asks for: `temperature`, `top_p`, `seed`, `response_format`.
    pub(super) fn of(request: &ChatRequest, model: &LlamaModel) -> Result<Self, LlmError> {
        let temperature = number(request, "temperature", 0.0..=2.0)?.unwrap_or(TEMPERATURE);
        let top_p = number(request, "top_p", 0.0..=1.0)?.unwrap_or(TOP_P);
        let mut sampling = Self::greedy();
        if temperature > 0.0 {
            sampling.chain = LlamaSampler::chain_simple([
                LlamaSampler::top_k(TOP_K),
                LlamaSampler::top_p(top_p, 1),
                LlamaSampler::min_p(MIN_P, 1),
                LlamaSampler::temp(temperature),
                LlamaSampler::dist(seed(request)),
            ]);
        }
        if let Some(mut schema) = schema(request)? {
            let unknown = patterns::take_unknown(&mut schema).into_iter();
            sampling.changes = unknown.map(|it| format!("any string in place of {it}")).collect();
            sampling.grammar = Some(grammar(&schema, model)?);
        }
        Ok(sampling)
    }

    /// The token after those that were computed last.
    pub(super) fn next(&mut self, context: &LlamaContext<'_>) -> Result<LlamaToken, LlmError> {
        let failed = |message: &str| LlmError::new(LlmErrorKind::Engine, message);
        let Self { chain, grammar, .. } = self;
        let wanted = pick(chain, context.token_data_array());
        let Some(grammar) = grammar else {
            return wanted.ok_or_else(|| failed("the model gives nothing to choose from"));
        };
        // To ask a grammar about the one token that is wanted costs little, and about all that
        // there are much.
        let token = wanted.filter(|token| allows(grammar, *token)).or_else(|| {
            let mut candidates = context.token_data_array();
            candidates.apply_sampler(grammar);
            pick(chain, candidates).filter(|token| allows(grammar, *token))
        });
        let token = token.ok_or_else(|| failed("no token goes on as the schema asks"))?;
        grammar.try_accept(token).map_err(|error| failed(&format!("the grammar: {error}")))?;
        Ok(token)
    }
}

fn pick(chain: &mut LlamaSampler, mut candidates: LlamaTokenDataArray) -> Option<LlamaToken> {
    candidates.apply_sampler(chain);
    candidates.selected_token()
}

/// Whether a grammar lets a token come next. llama.cpp ends the process where a grammar is
/// given an end of the answer that it does not allow.
fn allows(grammar: &mut LlamaSampler, token: LlamaToken) -> bool {
    let alone = vec![LlamaTokenData::new(token, 0.0, 0.0)];
    let mut alone = LlamaTokenDataArray::new(alone, false);
    alone.apply_sampler(grammar);
    alone.data.first().is_some_and(|it| it.logit().is_finite())
}

/// The schema that the answer has to follow.
fn schema(request: &ChatRequest) -> Result<Option<Value>, LlmError> {
    let Some(format) = request.fields.get("response_format").filter(|it| !it.is_null()) else {
        return Ok(None);
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({ "type": "object" }))),
        Some("json_schema") => match format.get("json_schema").and_then(|it| it.get("schema")) {
            Some(schema) => Ok(Some(schema.clone())),
            None => Err(invalid(
                "`response_format` has no schema: expected it in \
                                 `json_schema.schema`",
            )),
        },
        other => Err(invalid(&format!(
            "`response_format` is of type {}: expected text, json_object or json_schema",
            other.unwrap_or("none")
        ))),
    }
}

fn grammar(schema: &Value, model: &LlamaModel) -> Result<LlamaSampler, LlmError> {
    let refused = |error: &dyn std::fmt::Display| {
        invalid(&format!("the schema of `response_format` cannot be made a grammar: {error}"))
    };
    let rules = json_schema_to_grammar(&schema.to_string()).map_err(|error| refused(&error))?;
    LlamaSampler::grammar(model, &rules, "root").map_err(|error| refused(&error))
}

fn seed(request: &ChatRequest) -> u32 {
    let seed = request.fields.get("seed").and_then(Value::as_i64);
    let seed = seed.map(|seed| seed.unsigned_abs() % u64::from(ANY_SEED));
    seed.and_then(|seed| u32::try_from(seed).ok()).unwrap_or(ANY_SEED)
}

#[expect(clippy::cast_possible_truncation, reason = "a number of 0 to 2, as near as it gets")]
fn number(
    request: &ChatRequest,
    name: &str,
    range: std::ops::RangeInclusive<f64>,
) -> Result<Option<f32>, LlmError> {
    match request.fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if range.contains(&number) => Ok(Some(number as f32)),
            _ => Err(invalid(&format!(
                "`{name}` is {value}: expected a number from {} to {}",
                range.start(),
                range.end()
            ))),
        },
    }
}

fn invalid(message: &str) -> LlmError {
    LlmError::new(LlmErrorKind::Invalid, message)
}
