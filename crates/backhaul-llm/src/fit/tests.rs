//! Requests that are made to fit, counted by bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::client::{LlmFuture, TokenCount};
use crate::error::LlmErrorKind;
use crate::message::{Message, Role};
use crate::token_budget::TokenBudget;

/// A model that counts four bytes as a token.
struct Counting(ModelCapabilities);

impl LlmClient for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn complete<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "it only counts")) })
    }

    fn stream<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "it only counts")) })
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        Box::pin(async { Ok(TokenCount { tokens: tokens(request), is_exact: true }) })
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        Box::pin(async { Ok(self.0) })
    }
}

fn tokens(request: &ChatRequest) -> u64 {
    Value::Object(request.to_json()).to_string().len() as u64 / 4
}

fn fitted(request: &ChatRequest, capabilities: ModelCapabilities) -> Result<Fitted, LlmError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fit(request, &Counting(capabilities)))
}

fn in_context(tokens: u64) -> ModelCapabilities {
    ModelCapabilities::ALL.with_context_tokens(tokens)
}

fn talk(turns: usize) -> ChatRequest {
    let said = (0..turns).flat_map(|turn| {
        let text = format!("turn {turn} {}", "x".repeat(200));
        [Message::user(text.clone()), Message::assistant(text)]
    });
    let mut messages = vec![Message::system("Be brief.")];
    messages.extend(said);
    messages.push(Message::user("And now?"));
    ChatRequest::new(messages)
}

fn texts(request: &ChatRequest) -> Vec<String> {
    request.messages.iter().map(Message::text).collect()
}

#[test]
fn what_fits_is_left_as_it_is() {
    let request = talk(3);
    for capabilities in [ModelCapabilities::ALL, in_context(100_000)] {
        let fitted = fitted(&request, capabilities).unwrap();
        assert_eq!(fitted.request, request);
        assert!(fitted.changes.notes().is_empty());
    }
}

#[test]
fn the_oldest_turns_go_first_and_as_few_as_it_takes() {
    let request = talk(20);
    let fitted = fitted(&request, in_context(1_000)).unwrap();
    let kept = texts(&fitted.request);
    assert_eq!((kept[0].as_str(), kept.last().unwrap().as_str()), ("Be brief.", "And now?"));
    assert!(kept[1].starts_with("turn ") && !kept[1].starts_with("turn 0 "), "{}", kept[1]);
    assert!(tokens(&fitted.request) <= 750, "a quarter is kept for the answer");
    let turns = (kept.len() - 2) / 2;
    assert_eq!(fitted.changes.notes(), [format!("{} oldest turns left out", 20 - turns)]);
    let left_out = 2 * (20 - turns);
    let mut one_more = fitted.request.clone();
    for message in request.messages[left_out - 1..=left_out].iter().rev() {
        one_more.messages.insert(1, message.clone());
    }
    assert!(tokens(&one_more) > 750, "one more would have been too much");
    assert_eq!(fitted.changes.trimmed_tokens, tokens(&request) - tokens(&fitted.request));
}

#[test]
fn a_token_budget_is_a_limit_of_its_own() {
    let request = talk(20).token_budget(TokenBudget::new(1_000).reserved_for_output(100));
    let fitted = fitted(&request, ModelCapabilities::ALL).unwrap();
    assert!(tokens(&fitted.request) <= 900);
    assert!(fitted.request.messages.len() < request.messages.len());
}

#[test]
fn what_cannot_be_made_short_enough_is_said_with_numbers() {
    let request = ChatRequest::new(vec![Message::user("x".repeat(10_000))]);
    let error = fitted(&request, in_context(1_000)).unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::ContextLength);
    assert!(error.message().contains("room for 750, of a context of 1000"), "{error}");
}

fn with_image(text: &str) -> Message {
    Message::from_json(json!({ "role": "user", "content": [
        { "type": "text", "text": text },
        { "type": "image_url", "image_url": { "url": format!("data:,{}", "A".repeat(4_000)) } },
    ]}))
    .unwrap()
}

#[test]
fn images_are_replaced_by_text_where_the_model_cannot_see_them_or_has_no_room() {
    let request = ChatRequest::new(vec![with_image("What is this?")]);
    let blind = ModelCapabilities { vision: false, ..ModelCapabilities::ALL };
    for capabilities in [blind, in_context(400)] {
        let fitted = fitted(&request, capabilities).unwrap();
        let text = fitted.request.messages[0].text();
        assert!(text.starts_with("What is this?[an image was here"), "{text}");
        assert!(fitted.changes.notes()[0].starts_with("1 image replaced by text"));
    }
    assert_eq!(fitted(&request, in_context(100_000)).unwrap().request, request);
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": {
        "name": name, "description": "Reads a sensor. ".repeat(20),
        "parameters": { "type": "object", "properties": { "name": { "type": "string" } } },
    }})
}

fn with_tools(choice: Value) -> ChatRequest {
    let tools = json!([tool("read"), tool("write")]);
    ChatRequest::new(vec![Message::user("Read it.")])
        .field("tools", tools)
        .field("tool_choice", choice)
}

fn local() -> ModelCapabilities {
    ModelCapabilities { forced_tools: false, ..ModelCapabilities::ALL }
}

fn completion(content: &str, finish: &str) -> CompletionResult {
    let message = json!({ "role": "assistant", "content": content });
    let choice = json!({ "message": message, "finish_reason": finish });
    CompletionResult::from_json(json!({ "choices": [choice] }), Metadata::default()).unwrap()
}

#[test]
fn a_forced_call_is_asked_for_as_json_and_given_back_as_a_call() {
    let named = json!({ "type": "function", "function": { "name": "read" } });
    let fitted = fitted(&with_tools(named), local()).unwrap();
    let fields = &fitted.request.fields;
    assert!(!fields.contains_key("tools") && !fields.contains_key("tool_choice"));
    let schema = &fields["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["properties"]["name"]["type"], "string");
    assert!(fitted.request.messages[0].text().contains("read: Reads a sensor."));
    let answer = fitted.answer(completion(r#"{"name": "t1"}"#, "stop")).unwrap();
    assert_eq!(answer.tool_calls()[0].arguments["name"], "t1");
    assert_eq!(answer.finish_reason(), Some(crate::FinishReason::ToolCalls));
    assert_eq!(answer.metadata.changes, ["the call of a tool was asked for as JSON"]);
    // What was cut short is no call, and is not made one.
    let cut = fitted.answer(completion(r#"{"name": "t"#, "length")).unwrap();
    assert_eq!((cut.tool_calls().len(), cut.content().as_str()), (0, r#"{"name": "t"#));
}

#[test]
fn of_several_tools_the_answer_says_which() {
    let fitted = fitted(&with_tools("required".into()), local()).unwrap();
    let schema = &fitted.request.fields["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["anyOf"][1]["properties"]["name"]["const"], "write");
    let said = r#"{"name": "write", "arguments": {"name": "t2"}}"#;
    let answer = fitted.answer(completion(said, "stop")).unwrap();
    let call = &answer.tool_calls()[0];
    assert_eq!((call.name.as_str(), &call.arguments["name"]), ("write", &json!("t2")));
}

#[test]
fn a_model_without_tools_is_offered_none_and_one_that_cannot_be_forced_is_not() {
    let none = ModelCapabilities { tools: false, json_schema: false, ..local() };
    let fitted_none = fitted(&with_tools("auto".into()), none).unwrap();
    assert!(fitted_none.request.fields.is_empty(), "{:?}", fitted_none.request.fields);
    let unbound = ModelCapabilities { json_schema: false, ..local() };
    let named = json!({ "type": "function", "function": { "name": "write" } });
    let offered = fitted(&with_tools(named), unbound).unwrap();
    assert_eq!(offered.request.fields["tools"].as_array().unwrap().len(), 1);
    assert_eq!(offered.changes.notes().len(), 1);
    let as_it_is = with_tools("auto".into());
    assert_eq!(fitted(&as_it_is, local()).unwrap().request, as_it_is);
}

fn chunk(content: &str, finish: Option<&str>) -> Result<crate::StreamChunk, LlmError> {
    let choice = json!({ "delta": { "content": content }, "finish_reason": finish });
    crate::StreamChunk::from_json(json!({ "choices": [choice] }))
}

#[tokio::test]
async fn a_forced_call_comes_in_pieces_too() {
    let pieces = |forced: ForcedCall, texts: &'static [&'static str]| async move {
        let chunks = texts.iter().map(|text| chunk(text, None));
        let chunks: Vec<_> = chunks.chain([chunk("", Some("stop"))]).collect();
        let stream = futures_util::stream::iter(chunks);
        let mut stream = forced.stream(ChunkStream::new(stream, Metadata::default()));
        let (mut name, mut arguments, mut finish) = (String::new(), String::new(), None);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.unwrap();
            assert_eq!(chunk.content(), "");
            let call = chunk.delta().and_then(|it| it.get("tool_calls")?.get(0)?.get("function"));
            let said = |what: &str| call.and_then(|it| it.get(what)?.as_str()).unwrap_or("");
            name += said("name");
            arguments += said("arguments");
            finish = chunk.finish_reason().or(finish);
        }
        (name, arguments, finish.unwrap())
    };
    let expected = ("read".to_owned(), r#"{"a":1}"#.to_owned(), crate::FinishReason::ToolCalls);
    let one = pieces(ForcedCall::Of("read".to_owned()), &["{\"a\"", ":1}"]).await;
    assert_eq!(one, expected);
    let any = pieces(ForcedCall::OfAny, &[r#"{"name":"read","argu"#, r#"ments":{"a":1}}"#]).await;
    assert_eq!(any, expected);
}

/// A message of a talk: with calls of tools, results, images.
fn turn() -> impl Strategy<Value = Vec<Message>> {
    let text = "[a-zé漢 ]{0,300}";
    let tools = (text, text, "[a-zé漢]{0,3000}").prop_map(|(asked, said, result)| {
        let call = crate::ToolCall::new("c1", "read", serde_json::Map::new());
        vec![
            Message::user(asked),
            Message::assistant(said).with_tool_calls(&[call]),
            Message::tool_result("c1", result),
            Message::assistant("So it is."),
        ]
    });
    let plain =
        (text, text).prop_map(|(one, other)| vec![Message::user(one), Message::assistant(other)]);
    let seen = text.prop_map(|text| vec![with_image(&text), Message::assistant("I see.")]);
    prop_oneof![plain, tools, seen, Just(vec![Message::system("Still brief.")])]
}

proptest! {
    #[test]
    fn nothing_that_is_needed_is_left_out(
        turns in proptest::collection::vec(turn(), 0..12),
        last in "[a-z ]{1,100}",
        context in 100_u64..4_000,
    ) {
        let mut messages = vec![Message::system("Be brief.")];
        messages.extend(turns.concat());
        messages.push(Message::user(last.clone()));
        let request = ChatRequest::new(messages);
        let capabilities = in_context(context);
        let Ok(first) = fitted(&request, capabilities) else { return Ok(()) };
        let fitted_messages = &first.request.messages;
        // Within the budget by the same count.
        prop_assert!(tokens(&first.request) <= context - (context / ANSWER_PART).max(1));
        // The last turn and all instructions are there.
        prop_assert_eq!(fitted_messages.last().unwrap().text(), last);
        let instructions = |messages: &[Message]| {
            messages.iter().filter(|it| it.role().is_instruction()).count()
        };
        prop_assert_eq!(instructions(fitted_messages), instructions(&request.messages));
        // Each result has its call right before it.
        for pair in fitted_messages.windows(2) {
            if pair[1].role() == Role::Tool {
                prop_assert_eq!(pair[0].tool_calls().len(), 1);
            }
        }
        prop_assert!(fitted_messages[0].role() != Role::Tool);
        // In order: what is left is a part of what was, but for texts that were put in its place.
        let roles = |messages: &[Message]| messages.iter().map(Message::role).collect::<Vec<_>>();
        let (kept, all) = (roles(fitted_messages), roles(&request.messages));
        let mut rest = all.iter();
        prop_assert!(kept.iter().all(|role| rest.any(|other| other == role)));
        // Once more changes nothing.
        let again = fitted(&first.request, capabilities).unwrap();
        prop_assert_eq!(&again.request, &first.request);
        prop_assert!(again.changes.notes().is_empty());
    }
}
