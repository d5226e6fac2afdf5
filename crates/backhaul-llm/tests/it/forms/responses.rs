//! OpenAI's responses.

use backhaul_llm::{Form, LlmErrorKind};
use serde_json::{Value, json};

use super::probe::{Answer, Probe};
use super::{broken_off, chat_answer, chunk, usage_chunk, words_and_calls, words_and_calls_as_one};

fn function() -> Value {
    json!({ "type": "function", "name": "look_up", "description": "Looks it up.", "strict": true,
        "parameters": { "type": "object", "properties": { "name": { "type": "string" } } } })
}

fn output_of(response: &Value) -> Vec<(&str, &str)> {
    let items = response["output"].as_array().unwrap();
    let said = |item: &Value| match item["type"].as_str().unwrap() {
        "message" => "/content/0/text",
        _ => "/arguments",
    };
    items
        .iter()
        .map(|item| {
            (item["type"].as_str().unwrap(), item.pointer(said(item)).unwrap().as_str().unwrap())
        })
        .collect()
}

const SAID: [(&str, &str); 3] =
    [("message", "I look it up."), ("function_call", "{\"name\":\"né\"}"), ("function_call", "{}")];

#[test]
fn a_request_becomes_a_chat() {
    let request = Form::Responses
        .read(json!({
            "model": "gpt-5", "instructions": "Be brief.", "max_output_tokens": 50,
            "temperature": 0.5, "top_p": 0.9, "parallel_tool_calls": false, "store": true,
            "metadata": { "a": "b" }, "truncation": "auto", "reasoning": { "effort": "low" },
            "text": { "format": { "type": "json_schema", "name": "n", "strict": true, "schema": {} } },
            "tools": [function(), { "type": "web_search" }],
            "tool_choice": { "type": "function", "name": "look_up" }, "stream": true, "own": 1,
            "input": [
                { "role": "user", "content": [
                    { "type": "input_text", "text": "What is this?" },
                    { "type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low" },
                    { "type": "input_file", "file_id": "f" },
                ] },
                { "type": "reasoning", "id": "rs", "summary": [] },
                { "type": "message", "role": "assistant", "content": [
                    { "type": "output_text", "text": "I look.", "annotations": [] }] },
                { "type": "function_call", "call_id": "a1", "name": "look_up", "arguments": "{}" },
                { "type": "function_call", "call_id": "a2", "name": "look_up", "arguments": "{}" },
                { "type": "function_call_output", "call_id": "a1", "output": "warm" },
                { "type": "function_call_output", "call_id": "a2", "output": [
                    { "type": "input_text", "text": "cold" }] },
            ],
        }))
        .unwrap();
    let call = |id: &str| {
        json!({ "id": id, "type": "function",
            "function": { "name": "look_up", "arguments": "{}" } })
    };
    let mut function = function();
    function.as_object_mut().unwrap().remove("type");
    let expected = json!({
        "model": "gpt-5", "max_tokens": 50, "temperature": 0.5, "top_p": 0.9,
        "parallel_tool_calls": false, "reasoning_effort": "low", "own": 1,
        "response_format": { "type": "json_schema",
            "json_schema": { "name": "n", "strict": true, "schema": {} } },
        "tools": [{ "type": "function", "function": function }],
        "tool_choice": { "type": "function", "function": { "name": "look_up" } },
        "stream_options": { "include_usage": true },
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image_url",
                    "image_url": { "url": "data:image/png;base64,AA==", "detail": "low" } },
                { "type": "text", "text": "[a file was left out: this model cannot be given it]" },
            ] },
            { "role": "assistant", "content": "I look.", "tool_calls": [call("a1"), call("a2")] },
            { "role": "tool", "content": "warm", "tool_call_id": "a1" },
            { "role": "tool", "content": "cold", "tool_call_id": "a2" },
        ],
    });
    assert_eq!(Value::Object(request.chat.to_json()), expected);
    assert_eq!(request.left_out, ["a file", "reasoning items", "the tool web_search"]);
    assert!(request.wants_stream);
}

#[test]
fn tools_that_are_not_allowed_are_not_offered() {
    let other = json!({ "type": "function", "name": "other", "parameters": {} });
    let allowed = json!({ "type": "allowed_tools", "mode": "required",
        "tools": [{ "type": "function", "name": "look_up" }] });
    let request = json!({ "input": "?", "tools": [other, function()], "tool_choice": allowed });
    let chat = Form::Responses.read(request).unwrap().chat.to_json();
    assert_eq!(chat["tools"].as_array().unwrap().len(), 1);
    assert_eq!(chat["tools"][0]["function"]["name"], "look_up");
    assert_eq!(chat["tool_choice"], "required");
    // Without a tool that it knows, the model is not told to call one.
    let request = json!({ "input": "?", "tools": [{ "type": "web_search" }],
        "tool_choice": { "type": "web_search" }, "parallel_tool_calls": true });
    let chat = Form::Responses.read(request).unwrap().chat.to_json();
    assert_eq!(chat.keys().collect::<Vec<_>>(), ["messages"]);
}

#[test]
fn what_the_cloud_keeps_is_an_error_that_says_what_to_do() {
    let reference = json!([{ "type": "item_reference", "id": "msg_1" }]);
    for (field, request) in [
        ("previous_response_id", json!({ "input": "?", "previous_response_id": "resp_1" })),
        ("conversation", json!({ "input": "?", "conversation": { "id": "conv_1" } })),
        ("prompt", json!({ "prompt": { "id": "pmpt_1" } })),
        ("background", json!({ "input": "?", "background": true })),
        ("input", json!({ "input": reference })),
    ] {
        let error = Form::Responses.read(request).unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Invalid);
        assert!(error.message().contains("ask again later"), "{error}");
        let (status, body) = Form::Responses.error(&error);
        assert_eq!((status, &body["error"]["param"]), (400, &json!(field)));
    }
    let nothing = json!({ "input": "?", "previous_response_id": null, "background": false });
    assert_eq!(Form::Responses.read(nothing).unwrap().chat.messages.len(), 1);
}

#[test]
fn openais_client_reads_a_whole_answer() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "gpt-5", "input": "?", "instructions": "Be brief.",
        "tools": [function()], "temperature": 0.5, "metadata": { "a": "b" } });
    let seen = probe.ask("openai.responses.create", &arguments, |request| {
        Answer::of(request, &words_and_calls_as_one())
    });
    let answer = &seen["answer"];
    assert_eq!(output_of(answer), SAID);
    assert_eq!(answer["output"][1]["call_id"], "a1");
    let fields = ["status", "model", "instructions", "id", "object", "tool_choice"];
    assert_eq!(
        fields.map(|name| answer[name].as_str().unwrap()),
        ["completed", "tiny", "Be brief.", "resp_0b7e", "response", "auto"]
    );
    assert_eq!(answer["metadata"], json!({ "a": "b" }));
    assert_eq!(answer["temperature"], json!(0.5));
    assert_eq!(answer["tools"][0]["name"], "look_up");
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(answer["usage"]["input_tokens_details"]["cached_tokens"], 4);
    let tokens = ["input_tokens", "output_tokens", "total_tokens"];
    assert_eq!(tokens.map(|name| answer["usage"][name].as_u64().unwrap()), [18, 9, 27]);

    // What it was answered can be said again.
    let again = json!({ "model": "gpt-5", "input": answer["output"] });
    probe.ask("openai.responses.create", &again, |request| {
        let turn = &request.chat.messages[0];
        assert_eq!(request.chat.messages.len(), 1);
        assert_eq!((turn.text(), turn.tool_calls().len()), ("I look it up.".to_owned(), 2));
        Answer::of(request, &words_and_calls_as_one())
    });
}

#[test]
fn openais_client_puts_a_streamed_answer_together() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "gpt-5", "input": "?", "tools": [function()] });
    let seen = probe.ask("openai.responses.stream", &arguments, |request| {
        Answer::pieces(request, words_and_calls())
    });
    assert_eq!(output_of(&seen["final"]), SAID);
    assert_eq!(seen["final"]["status"], "completed");
    assert_eq!(seen["final"]["usage"]["total_tokens"], 27);
    let call = |deltas: usize| {
        let mut events = vec!["output_item.added"];
        events.extend(vec!["function_call_arguments.delta"; deltas]);
        events.extend(["function_call_arguments.done", "output_item.done"]);
        events
    };
    let mut expected = vec![
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ];
    expected.extend([call(2), call(1)].concat());
    expected.push("completed");
    let expected: Vec<_> = expected.iter().map(|name| format!("response.{name}")).collect();
    assert_eq!(seen["events"], json!(expected));

    let streamed = json!({ "model": "gpt-5", "input": "?", "stream": true });
    let seen = probe.ask("openai.responses.create", &streamed, |request| {
        Answer::pieces(request, words_and_calls())
    });
    let events = seen["events"].as_array().unwrap();
    let numbers: Vec<_> = events.iter().map(|it| it["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn an_answer_that_was_cut_short_says_so() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "gpt-5", "input": "?" });
    for (finish, reason) in [("length", "max_output_tokens"), ("content_filter", "content_filter")]
    {
        let message = json!({ "role": "assistant", "content": "Yes" });
        let seen = probe.ask("openai.responses.create", &arguments, |request| {
            Answer::of(request, &chat_answer(message, finish))
        });
        assert_eq!(seen["answer"]["status"], "incomplete");
        assert_eq!(seen["answer"]["incomplete_details"]["reason"], reason);
        let streamed = json!({ "model": "gpt-5", "input": "?", "stream": true });
        let seen = probe.ask("openai.responses.create", &streamed, |request| {
            let said = json!({ "content": "Yes" });
            Answer::pieces(
                request,
                vec![chunk(said, None), chunk(json!({}), Some(finish)), usage_chunk()],
            )
        });
        let last = seen["events"].as_array().unwrap().last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["incomplete_details"]["reason"], reason);
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    }
}

#[test]
fn a_refusal_is_read_as_one() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "gpt-5", "input": "?" });
    let seen = probe.ask("openai.responses.stream", &arguments, |request| {
        Answer::pieces(request, vec![chunk(json!({ "refusal": "No." }), Some("stop"))])
    });
    assert_eq!(seen["final"]["output"][0]["content"][0]["refusal"], "No.");
}

#[test]
fn openais_client_raises_when_a_streamed_answer_breaks_off() {
    let mut probe = Probe::start();
    let streamed = json!({ "model": "gpt-5", "input": "?", "stream": true });
    let said = || chunk(json!({ "content": "I look" }), None);
    let without_end = "the answer ended before the model had said why it stopped";
    for (pieces, why) in
        [(vec![said(), broken_off()], "the server went away"), (vec![said()], without_end)]
    {
        let seen = probe
            .ask("openai.responses.create", &streamed, |request| Answer::pieces(request, pieces));
        assert_eq!(seen["raised"], "APIError");
        assert_eq!(seen["message"], why);
        let last = seen["events"].as_array().unwrap().last().unwrap();
        assert_eq!(last["type"], "response.failed");
        assert_eq!(last["response"]["status"], "failed");
        assert_eq!(last["response"]["error"]["message"], why);
        assert!(!seen.to_string().contains("response.completed"));
    }
}

#[test]
fn openais_client_raises_where_the_cloud_keeps_what_came_before() {
    let arguments = json!({ "model": "gpt-5", "input": "?", "previous_response_id": "resp_1" });
    let seen = Probe::start().ask("openai.responses.create", &arguments, |_| unreachable!());
    assert_eq!(seen["raised"], "BadRequestError");
    assert_eq!(seen["body"]["code"], "previous_response_not_found");
}
