//! Calls of tools that have to come, asked for as JSON.

use futures_util::stream;
use serde_json::{Value, json};

use super::*;
use crate::{FinishReason, Metadata, StreamChunk};

const SCHEMAS: ModelCapabilities =
    ModelCapabilities { json_schema: true, ..ModelCapabilities::TEXT };

fn answer(texts: &[&str], finish: &str) -> CompletionResult {
    let choices = texts.iter().enumerate().map(|(index, text)| {
        let message = json!({ "role": "assistant", "content": text });
        json!({ "index": index, "message": message, "finish_reason": finish })
    });
    let choices: Vec<Value> = choices.collect();
    CompletionResult::from_json(json!({ "choices": choices }), Metadata::default()).unwrap()
}

async fn answered(choice: Value, text: &str, finish: &str) -> CompletionResult {
    fitted(&forcing(choice), SCHEMAS).await.answer(answer(&[text], finish)).unwrap()
}

fn schema(fitted: &Fitted) -> &Value {
    &fitted.request.fields["response_format"]["json_schema"]["schema"]
}

#[tokio::test]
async fn a_forced_call_is_asked_for_by_the_schema_of_its_arguments() {
    let request = forcing(named("write")).json_schema("x", json!({})).field("n", 1.into());
    let given = fitted(&request, LOCAL).await;
    assert_eq!(given.request.fields.len(), 2, "{:?}", given.request.fields);
    assert_eq!(schema(&given), &tool("write").parameters);
    // The model is told, by the one instruction that there is.
    let told = given.request.messages[0].text();
    assert!(told.starts_with("Be brief.\n\n") && told.contains("write: Reads."), "{told}");
    assert!(told.contains("Where.") && !told.contains("read:"), "{told}");
    assert_eq!(given.request.messages[1..], request.messages[1..]);
    assert_eq!(given.changes.notes(), ["the call of a tool was asked for as JSON"]);
    let given = given.answer(answer(&[r#"{"place":"hall"}"#], "stop")).unwrap();
    let [call] = given.tool_calls().try_into().unwrap();
    assert_eq!((call.name.as_str(), &call.arguments["place"]), ("write", &json!("hall")));
    assert_eq!((given.content().as_str(), given.metadata.changes.len()), ("", 1));
    assert_eq!(given.finish_reason(), Some(FinishReason::ToolCalls));
}

#[tokio::test]
async fn no_two_calls_of_a_conversation_have_one_id() {
    let id = async |messages: Vec<Message>| {
        let request = ChatRequest { messages, ..forcing(named("read")) };
        let given = fitted(&request, SCHEMAS).await.answer(answer(&["{}"], "stop")).unwrap();
        given.tool_calls()[0].id.clone()
    };
    let (first, second) = (id(turns(1)).await, id(turns(2)).await);
    assert_ne!(first, second);
    let given = fitted(&forcing(named("read")), SCHEMAS).await;
    let given = given.answer(answer(&["{}", "{}"], "stop")).unwrap();
    let choices = given.body()["choices"].as_array().unwrap();
    let ids: Vec<_> =
        choices.iter().map(|choice| &choice["message"]["tool_calls"][0]["id"]).collect();
    assert!(ids[0].is_string() && ids[1].is_string() && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn references_of_a_schema_point_where_it_was_put() {
    let mut write = tool("write");
    write.parameters["properties"]["next"] = json!({ "$ref": "#" });
    let request = ChatRequest::new(turns(0)).tools(&[tool("read"), write]);
    let given = fitted(&request.field("tool_choice", "required".into()), SCHEMAS).await;
    let schema = schema(&given);
    for (at, name) in ["read", "write"].iter().enumerate() {
        let call = &schema["anyOf"][at]["properties"];
        assert_eq!(call["name"], json!({ "const": name }));
        let arguments = call["arguments"]["$ref"].as_str().unwrap();
        let parameters = schema.pointer(arguments.strip_prefix('#').unwrap()).unwrap();
        let text = parameters["properties"]["description"]["$ref"].as_str().unwrap();
        assert_eq!(schema.pointer(&text[1..]).unwrap()["type"], "string", "{text}");
        let next = &parameters["properties"]["next"]["$ref"];
        assert!(next.is_null() || next == arguments, "{next}");
    }
}

#[tokio::test]
async fn a_tool_that_takes_nothing_is_called_with_nothing() {
    let request = ChatRequest::new(turns(0)).field("tool_choice", named("go"));
    let tools = |parameters: Value| json!([{ "type": "function", "function": { "name": "go", "parameters": parameters } }]);
    for parameters in [Value::Null, json!({})] {
        let given = fitted(&request.clone().field("tools", tools(parameters)), SCHEMAS).await;
        assert_eq!(schema(&given)["type"], "object");
    }
}

#[tokio::test]
async fn of_several_tools_the_answer_says_which() {
    let text = r#"{"name":"read","arguments":{"place":"hall"}}"#;
    let given = answered("required".into(), text, "stop").await;
    assert_eq!(given.tool_calls()[0].name, "read");
    assert_eq!(given.tool_calls()[0].arguments["place"], "hall");
    assert_eq!(given.finish_reason(), Some(FinishReason::ToolCalls));
    for text in [r#"{"name":"re"#, r#"{"name":"sing","arguments":{}}"#, "No."] {
        let given = answered("required".into(), text, "length").await;
        assert_eq!((given.content().as_str(), given.tool_calls().len()), (text, 0));
        assert_eq!(given.finish_reason(), Some(FinishReason::Length));
    }
}

#[tokio::test]
async fn what_was_cut_off_was_cut_off_and_what_is_no_call_is_none() {
    let cut = answered(named("write"), r#"{"place":"ha"#, "length").await;
    assert_eq!(cut.finish_reason(), Some(FinishReason::Length));
    assert_eq!(cut.tool_calls()[0].arguments["_raw"], r#"{"place":"ha"#);
    for (text, finish) in [("", "content_filter"), ("I will not.", "stop")] {
        let refused = answered(named("write"), text, finish).await;
        assert_eq!((refused.content().as_str(), refused.tool_calls().len()), (text, 0));
        assert_eq!(refused.finish_reason(), Some(FinishReason::named(finish)));
    }
}

/// The pieces that come of texts, and what they say at the end.
async fn in_pieces(choice: Value, texts: &[&str], finish: &str) -> (Vec<Value>, Value) {
    let fitted = fitted(&forcing(choice), SCHEMAS).await;
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        StreamChunk::from_json(json!({ "choices": [choice] }))
    };
    let mut chunks = vec![chunk(json!({ "role": "assistant", "content": null }), None)];
    chunks.extend(texts.iter().map(|text| chunk(json!({ "content": text }), None)));
    chunks.push(chunk(json!({}), Some(finish)));
    chunks.push(StreamChunk::from_json(json!({ "choices": [], "usage": {} })));
    let mut stream = fitted.stream(ChunkStream::new(stream::iter(chunks), Metadata::default()));
    assert_eq!(stream.metadata.changes.len(), 1);
    let (mut calls, mut text, mut end) = (Vec::new(), String::new(), None);
    while let Some(chunk) = stream.next().await.transpose().unwrap() {
        let call = chunk.delta().and_then(|delta| delta.get("tool_calls")?.get(0));
        calls.extend(call.cloned());
        text += chunk.content();
        end = chunk.finish_reason().or(end);
    }
    (calls, json!([text, end.unwrap().name()]))
}

#[tokio::test]
async fn a_forced_call_in_pieces_comes_as_pieces_of_a_call() {
    let (calls, end) = in_pieces(named("write"), &[" ", "{\"place\"", ":1}"], "stop").await;
    let id = &calls[0]["id"];
    assert!(id.is_string());
    let first = json!({ "index": 0, "id": id, "type": "function",
        "function": { "name": "write", "arguments": "{\"place\"" } });
    let second = json!({ "index": 0, "function": { "arguments": ":1}" } });
    assert_eq!((calls, end), (vec![first, second], json!(["", "tool_calls"])));
    let (calls, end) = in_pieces(named("write"), &["{\"pl"], "length").await;
    assert_eq!((calls.len(), end), (1, json!(["", "length"])));
    for texts in [&["I ", "will not."][..], &[]] {
        let (calls, end) = in_pieces(named("write"), texts, "stop").await;
        assert_eq!((calls, end), (vec![], json!([texts.concat(), "stop"])), "nothing is called");
    }
}

#[tokio::test]
async fn a_call_of_one_of_several_in_pieces_comes_at_the_end() {
    let texts = ["{\"name\":\"read\",", "\"arguments\":{}}"];
    let (calls, end) = in_pieces("required".into(), &texts, "stop").await;
    assert_eq!((calls.len(), end), (1, json!(["", "tool_calls"])));
    assert_eq!(calls[0]["function"], json!({ "name": "read", "arguments": "{}" }));
    assert!(calls[0]["id"].is_string() && calls[0]["index"] == 0, "{calls:?}");
    let (calls, end) = in_pieces("required".into(), &["{\"na"], "length").await;
    assert_eq!((calls, end), (vec![], json!(["{\"na", "length"])));
}

#[tokio::test]
async fn each_of_several_answers_in_pieces_is_a_call() {
    let fitted = fitted(&forcing(named("read")), SCHEMAS).await;
    let chunk = |index: u64, text: &str, finish: Option<&str>| {
        let delta = json!({ "content": text });
        let choice = json!({ "index": index, "delta": delta, "finish_reason": finish });
        StreamChunk::from_json(json!({ "choices": [choice] }))
    };
    let chunks = [chunk(0, "{", None), chunk(1, "{}", Some("stop")), chunk(0, "}", Some("stop"))];
    let mut stream = fitted.stream(ChunkStream::new(stream::iter(chunks), Metadata::default()));
    let mut calls = Vec::new();
    while let Some(chunk) = stream.next().await.transpose().unwrap() {
        let choice = chunk.as_json()["choices"][0].clone();
        calls.push((choice["index"].clone(), choice["delta"]["tool_calls"][0].clone()));
    }
    assert_eq!(calls.len(), 3);
    assert!(calls[0].1["id"].is_string() && calls[1].1["id"].is_string(), "{calls:?}");
    assert!(calls[0].1["id"] != calls[1].1["id"] && calls[2].1.get("id").is_none(), "{calls:?}");
}

#[tokio::test]
async fn descriptions_of_a_tool_that_has_to_be_called_are_left_out_for_want_of_room() {
    let mut long = tool("read");
    long.description = "Reads. ".repeat(100);
    let request = ChatRequest::new(turns(0)).tools(&[long]).field("tool_choice", named("read"));
    let model = Counter::new(SCHEMAS.with_context_tokens(1_600));
    let given = fit(&request, &model).await.unwrap();
    assert!(tokens(&given.request) <= 1_200, "{}", tokens(&given.request));
    assert!(!given.request.messages[0].text().contains("Reads."));
    let said = ["the call of a tool was asked for as JSON", "3 descriptions of tools left out"];
    assert_eq!(given.changes.notes(), said);
}
