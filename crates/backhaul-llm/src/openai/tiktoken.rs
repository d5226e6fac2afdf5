//! Tokens of OpenAI's own models, counted on this machine by their vocabulary.

use serde_json::Value;
use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::get_tokenizer;

use crate::client::{TOKENS_OF_AN_IMAGE, TokenCount, is_image};
use crate::message::Message;
use crate::request::ChatRequest;

/// Tokens of a message beside its texts, of a name, and of the beginning of the answer, as
/// OpenAI's cookbook has them in "How to count tokens with tiktoken".
const OF_A_MESSAGE: u64 = 3;
const OF_A_NAME: u64 = 1;
const OF_THE_ANSWER: u64 = 3;
/// The models that it has found to count so. Of newer ones some take a token less.
const KNOWN_FAMILIES: [&str; 3] = ["gpt-3.5-turbo", "gpt-4", "gpt-4o"];
/// The fields that the model reads beside the messages. How is not published.
const READ_FIELDS: [&str; 5] =
    ["tools", "tool_choice", "functions", "function_call", "response_format"];

/// `None`: the vocabulary of the model is not known, or it did not get through the text.
pub(super) async fn count(model: &str, request: &ChatRequest) -> Option<TokenCount> {
    let tokenizer = get_tokenizer(model)?;
    let prompt = Prompt::of(request);
    let is_exact = prompt.is_plain && is_of_known_family(model);
    // The first time it loads the vocabulary, for a fifth of a second.
    let counting = tokio::task::spawn_blocking(move || {
        let vocabulary = tiktoken_rs::bpe_for_tokenizer(tokenizer);
        vocabulary.map(|vocabulary| prompt.tokens(vocabulary)).map_err(|error| error.to_string())
    });
    match counting.await.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(tokens) => Some(TokenCount { tokens, is_exact }),
        Err(error) => {
            tracing::warn!(%error, model, "tokens are estimated: they could not be counted");
            None
        }
    }
}

/// Whether it is a model of such a name, with a size or a date behind it or without.
fn is_of_known_family(model: &str) -> bool {
    let rest = |family: &&str| model.strip_prefix(family);
    KNOWN_FAMILIES.iter().filter_map(rest).any(|it| it.is_empty() || it.starts_with('-'))
}

/// What a model reads.
#[derive(Debug, Default)]
struct Prompt {
    texts: Vec<String>,
    /// Tokens beside those of the texts.
    others: u64,
    /// Whether it is known how the model reads all of it.
    is_plain: bool,
}

impl Prompt {
    fn of(request: &ChatRequest) -> Self {
        let mut prompt = Self { others: OF_THE_ANSWER, is_plain: true, ..Self::default() };
        for message in &request.messages {
            prompt.add_message(message);
        }
        for value in READ_FIELDS.iter().filter_map(|name| request.fields.get(*name)) {
            prompt.add_as_json(value);
        }
        prompt
    }

    fn add_message(&mut self, message: &Message) {
        self.others += OF_A_MESSAGE;
        for (name, value) in message.as_json() {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("role" | "content", Value::String(text)) => self.texts.push(text.clone()),
                ("name", Value::String(text)) => {
                    self.texts.push(text.clone());
                    self.others += OF_A_NAME;
                }
                ("content", Value::Array(parts)) => parts.iter().for_each(|it| self.add_part(it)),
                (_, value) => self.add_as_json(value),
            }
        }
    }

    fn add_part(&mut self, part: &Value) {
        self.is_plain = false;
        match (part.get("text").and_then(Value::as_str), part.as_object()) {
            (Some(text), _) => self.texts.push(text.to_owned()),
            (None, Some(part)) if is_image(part) => self.others += TOKENS_OF_AN_IMAGE,
            _ => self.add_as_json(part),
        }
    }

    /// What the model reads in a form that is not published, most likely a shorter one.
    fn add_as_json(&mut self, value: &Value) {
        if !value.is_null() {
            self.is_plain = false;
            self.texts.push(value.to_string());
        }
    }

    /// What looks like a special token in a text is text.
    fn tokens(&self, vocabulary: &CoreBPE) -> u64 {
        let texts = self.texts.iter().map(|text| vocabulary.count_ordinary(text) as u64);
        self.others + texts.sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::content::Part;
    use crate::tool::{ToolCall, ToolDefinition};

    /// The example of OpenAI's cookbook, of which it says how many tokens the API counts.
    fn cookbook() -> ChatRequest {
        let shot = |name: &str, text: &str| Message::system(text).with("name", name.into());
        ChatRequest::new(vec![
            Message::system(
                "You are a helpful, pattern-following assistant that translates corporate jargon \
                 into plain English.",
            ),
            shot("example_user", "New synergies will help drive top-line growth."),
            shot("example_assistant", "Things working well together will increase revenue."),
            shot(
                "example_user",
                "Let's circle back when we have more bandwidth to touch base on opportunities for \
                 increased leverage.",
            ),
            shot(
                "example_assistant",
                "Let's talk later when we're less busy about how to do better.",
            ),
            Message::user(
                "This late pivot means we don't have time to boil the ocean for the client \
                 deliverable.",
            ),
        ])
    }

    async fn exact(model: &str, request: &ChatRequest) -> bool {
        count(model, request).await.unwrap().is_exact
    }

    #[tokio::test]
    async fn texts_are_counted_as_the_api_counts_them() {
        for (model, tokens) in [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4o-mini", 124)] {
            let counted = count(model, &cookbook()).await;
            assert_eq!(counted, Some(TokenCount { tokens, is_exact: true }), "{model}");
        }
    }

    #[tokio::test]
    async fn a_model_whose_vocabulary_is_not_known_is_not_counted() {
        for model in ["qwen3-8b", "claude-sonnet-4-5", ""] {
            assert_eq!(count(model, &cookbook()).await, None, "{model}");
        }
    }

    #[tokio::test]
    async fn only_what_is_published_is_called_exact() {
        assert!(exact("gpt-4o", &cookbook()).await);
        assert!(!exact("gpt-5", &cookbook()).await, "it takes a token less");
        assert!(!exact("gpt-4.1", &cookbook()).await);
        let call = ToolCall::new("call_0", "read_sensor", serde_json::Map::new());
        let others = [
            cookbook().tools(&[ToolDefinition::new("read_sensor", "Reads a sensor.")]),
            cookbook().json_schema("answer", json!({ "type": "object" })),
            ChatRequest::new(vec![Message::assistant("").with_tool_calls(&[call])]),
            ChatRequest::new(vec![Message::tool_result("call_0", "21.5")]),
            ChatRequest::new(vec![Message::user(vec![Part::text("Is it warm?")])]),
        ];
        for request in others {
            assert!(!exact("gpt-4o", &request).await, "{request:?}");
        }
        let null = Message::assistant("Yes.").with("tool_calls", Value::Null);
        assert!(exact("gpt-4o", &ChatRequest::new(vec![null])).await, "there are none");
    }

    #[tokio::test]
    async fn tools_and_images_count_whatever_the_size_of_their_bytes() {
        let of = async |request: ChatRequest| count("gpt-4o", &request).await.unwrap().tokens;
        let plain = of(cookbook()).await;
        let tool = ToolDefinition::new("read_sensor", "Reads a sensor.");
        assert!(of(cookbook().tools(&[tool])).await > plain + 10);
        let image = |bytes: usize| {
            ChatRequest::new(vec![Message::user(vec![Part::image("image/png", &vec![0; bytes])])])
        };
        let small = of(image(10)).await;
        assert!(small > TOKENS_OF_AN_IMAGE);
        assert_eq!(of(image(100_000)).await, small);
    }

    #[tokio::test]
    async fn a_special_token_in_a_text_is_text() {
        let request = ChatRequest::new(vec![Message::user("<|endoftext|>")]);
        let (counted, role) = (count("gpt-4o", &request).await.unwrap(), 1);
        assert!(counted.tokens > OF_A_MESSAGE + role + 1 + OF_THE_ANSWER, "{counted:?}");
    }

    #[tokio::test]
    async fn a_long_text_without_a_word_in_it_is_counted_or_left_to_an_estimate() {
        for text in [" ", "a", "漢", "\u{300}"].map(|it| it.repeat(200_000)) {
            let request = ChatRequest::new(vec![Message::user(text)]);
            if let Some(counted) = count("gpt-4o", &request).await {
                assert!(counted.tokens > OF_A_MESSAGE + OF_THE_ANSWER);
            }
        }
    }
}
