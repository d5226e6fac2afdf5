//! What holds for all requests and all answers.

use backhaul_llm::{Form, FormRequest};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Piece, chat_answer, chunk, events_of, stamp, usage_chunk};

const FORMS: [Form; 4] =
    [Form::ChatCompletions, Form::Responses, Form::Messages, Form::Completions];

/// Words that requests are made of, so that what is drawn is often nearly one.
const NAMES: [&str; 34] = [
    "type",
    "role",
    "content",
    "text",
    "input",
    "messages",
    "prompt",
    "tools",
    "tool_choice",
    "name",
    "function",
    "arguments",
    "call_id",
    "output",
    "source",
    "data",
    "system",
    "instructions",
    "format",
    "schema",
    "thinking",
    "tool_use_id",
    "is_error",
    "metadata",
    "stream",
    "stream_options",
    "echo",
    "image_url",
    "output_config",
    "reasoning",
    "tool_calls",
    "refusal",
    "index",
    "id",
];
const WORDS: [&str; 20] = [
    "message",
    "user",
    "assistant",
    "function_call",
    "function_call_output",
    "input_text",
    "input_image",
    "reasoning",
    "item_reference",
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "function",
    "allowed_tools",
    "base64",
    "json_schema",
    "enabled",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
        ".{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        let field = (name, inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            prop::collection::vec(field, 0..7)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

#[derive(Debug, Clone)]
struct Said {
    text: String,
    refusal: String,
    /// Name and arguments.
    calls: Vec<(String, String)>,
    finish: &'static str,
}

fn said() -> impl Strategy<Value = Said> {
    let call = (
        "[a-z]{1,5}",
        prop_oneof![
            Just(String::new()),
            Just("{}".to_owned()),
            "[a-zé😀]{1,9}".prop_map(|text| json!({ "a": text, "b": [1, null] }).to_string())
        ],
    );
    let finish = prop::sample::select(&["stop", "length", "tool_calls", "content_filter"][..]);
    ("[ a-zé😀\n]{0,12}", "[a-z]{0,3}", prop::collection::vec(call, 0..4), finish)
        .prop_map(|(text, refusal, calls, finish)| Said { text, refusal, calls, finish })
}

/// A text in pieces of a few characters.
fn cut(text: &str, size: usize) -> Vec<String> {
    let characters: Vec<_> = text.chars().collect();
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

impl Said {
    fn message(&self) -> Value {
        let calls = self.calls.iter().enumerate().map(|(index, (name, arguments))| {
            json!({ "id": format!("a{index}"), "type": "function",
                "function": { "name": name, "arguments": arguments } })
        });
        json!({ "role": "assistant", "content": self.text, "refusal": self.refusal,
            "tool_calls": calls.collect::<Vec<_>>() })
    }

    fn pieces(&self, size: usize) -> Vec<Piece> {
        let texts = cut(&self.text, size).into_iter().map(|it| json!({ "content": it }));
        let refusals = cut(&self.refusal, size).into_iter().map(|it| json!({ "refusal": it }));
        let calls = self.calls.iter().enumerate().flat_map(|(index, (name, arguments))| {
            let begin = json!({ "index": index, "id": format!("a{index}"),
                "function": { "name": name, "arguments": "" } });
            let more = cut(arguments, size)
                .into_iter()
                .map(move |it| json!({ "index": index, "function": { "arguments": it } }));
            let all: Vec<_> = [begin].into_iter().chain(more).collect();
            all.into_iter().map(|call| json!({ "tool_calls": [call] }))
        });
        let deltas = texts.chain(refusals).chain(calls).map(|delta| chunk(delta, None));
        deltas.chain([chunk(json!({}), Some(self.finish)), usage_chunk()]).collect()
    }
}

fn request(form: Form) -> FormRequest {
    let body = match form {
        Form::Responses => json!({ "input": "?", "stream": true }),
        Form::Completions => json!({ "prompt": "?", "stream": true }),
        _ => json!({ "messages": [{ "role": "user", "content": "?" }], "stream": true }),
    };
    form.read(body).unwrap()
}

fn events(form: Form, pieces: Vec<Piece>) -> Vec<Value> {
    let body = events_of(&request(form), pieces);
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|it| *it != "[DONE]").map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// What the blocks of a message come to, put together as Anthropic's clients do it.
fn blocks_of(events: &[Value]) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut input = String::new();
    for event in events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(event["index"], json!(blocks.len()));
                blocks.push(event["content_block"].clone());
                input.clear();
            }
            "content_block_delta" => {
                let delta = &event["delta"];
                let block = blocks.last_mut().unwrap();
                if let Some(text) = delta["text"].as_str() {
                    block["text"] = format!("{}{text}", block["text"].as_str().unwrap()).into();
                } else {
                    input.push_str(delta["partial_json"].as_str().unwrap());
                }
            }
            "content_block_stop" if !input.is_empty() => {
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&input).unwrap();
            }
            _ => {}
        }
    }
    blocks
}

proptest! {
    #[test]
    fn any_request_is_read_or_refused(body in any_json(), wrapped in any::<bool>()) {
        let fields = ["input", "messages", "prompt"].map(|name| (name.to_owned(), body.clone()));
        let body = if wrapped { Value::Object(Map::from_iter(fields)) } else { body };
        for form in FORMS {
            match form.read(body.clone()) {
                Ok(request) => prop_assert_eq!(request.form(), form),
                Err(error) => {
                    let (status, body) = form.error(&error);
                    prop_assert_eq!(status, 400);
                    prop_assert!(body["error"]["message"].is_string());
                }
            }
        }
    }

    #[test]
    fn any_piece_of_an_answer_ends_in_events(deltas in prop::collection::vec(any_json(), 0..5)) {
        for form in FORMS {
            let pieces = deltas.iter().map(|delta| chunk(delta.clone(), None)).collect();
            // No piece says why the model stopped.
            let body = events_of(&request(form), pieces);
            prop_assert!(body.contains("\"error\""));
            prop_assert!(!body.contains("[DONE]") && !body.contains("message_stop"));
            prop_assert!(!body.contains("response.completed"));
        }
    }

    #[test]
    fn a_streamed_answer_says_what_the_whole_one_says(said in said(), size in 1_usize..6) {
        let whole = |form| request(form).answer(&chat_answer(said.message(), said.finish), &stamp());
        let last = events(Form::Responses, said.pieces(size)).pop().unwrap();
        let whole_response = whole(Form::Responses).unwrap();
        prop_assert_eq!(&last["response"]["output"], &whole_response["output"]);
        prop_assert_eq!(&last["response"]["status"], &whole_response["status"]);

        let streamed = events(Form::Messages, said.pieces(size));
        let whole_message = whole(Form::Messages).unwrap();
        prop_assert_eq!(&json!(blocks_of(&streamed)), &whole_message["content"]);
        let delta = &streamed[streamed.len() - 2]["delta"];
        prop_assert_eq!(&delta["stop_reason"], &whole_message["stop_reason"]);

        let streamed = events(Form::Completions, said.pieces(size));
        let text: String =
            streamed.iter().filter_map(|it| it["choices"][0]["text"].as_str()).collect();
        let whole_completion = whole(Form::Completions).unwrap();
        prop_assert_eq!(json!(text), whole_completion["choices"][0]["text"].clone());
    }
}
