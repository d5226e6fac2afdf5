//! Anthropic's messages.

use backhaul_llm::{Form, LlmError, LlmErrorKind};
use serde_json::{Value, json};

use super::probe::{Answer, Probe};
use super::{broken_off, chat_answer, chunk, usage_chunk, words_and_calls, words_and_calls_as_one};

fn asked(more: Value) -> Value {
    let mut request = json!({ "model": "claude", "max_tokens": 50,
        "messages": [{ "role": "user", "content": "?" }] });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

fn said() -> Value {
    json!([
        { "type": "text", "text": "I look it up." },
        { "type": "tool_use", "id": "a1", "name": "look_up", "input": { "name": "né" } },
        { "type": "tool_use", "id": "a2", "name": "now", "input": {} },
    ])
}

/// What a client was given, without what it adds.
fn content_of(message: &Value) -> Value {
    let keep = ["type", "text", "thinking", "id", "name", "input"];
    let block = |block: &Value| {
        let fields = block.as_object().unwrap().iter();
        fields
            .filter(|(name, _)| keep.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
    };
    json!(message["content"].as_array().unwrap().iter().map(block).collect::<Vec<_>>())
}

#[test]
fn a_request_becomes_a_chat() {
    let tool = json!({ "name": "look_up", "description": "Looks it up.",
        "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } });
    let image = json!({ "type": "image",
        "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } });
    let request = Form::Messages
        .read(json!({
            "model": "claude", "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "top_k": 3,
            "stop_sequences": ["END"], "metadata": { "user_id": "u" },
            "thinking": { "type": "enabled", "budget_tokens": 1024 },
            "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } },
                { "type": "text", "text": "Be kind." }],
            "tools": [tool, { "type": "web_search_20250305", "name": "web_search" }],
            "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
            "messages": [
                { "role": "user", "content": [{ "type": "text", "text": "What is this?" }, image.clone(),
                    { "type": "document", "source": { "type": "base64", "data": "AA==" } },
                    { "type": "document", "source": { "type": "text", "data": "A text." } }] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "Hm.", "signature": "s" },
                    { "type": "text", "text": "I look." },
                    { "type": "tool_use", "id": "a1", "name": "look_up", "input": { "n": 1 } },
                    { "type": "tool_use", "id": "a2", "name": "look_up", "input": {} }] },
                { "role": "user", "content": [
                    { "type": "text", "text": "And?" },
                    { "type": "tool_result", "tool_use_id": "a1", "content": "warm" },
                    { "type": "tool_result", "tool_use_id": "a2", "is_error": true,
                        "content": [{ "type": "text", "text": "no sensor" }, image] }] },
            ],
        }))
        .unwrap();
    let call = |id: &str, arguments: &str| {
        json!({ "id": id, "type": "function",
            "function": { "name": "look_up", "arguments": arguments } })
    };
    let picture =
        json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } });
    let expected = json!({
        "model": "claude", "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "top_k": 3,
        "stop": ["END"], "user": "u", "tool_choice": "required", "parallel_tool_calls": false,
        "tools": [{ "type": "function", "function": { "name": "look_up",
            "description": "Looks it up.", "parameters": { "type": "object" } } }],
        "messages": [
            { "role": "system", "content": "Be brief.\n\nBe kind." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" }, picture.clone(),
                { "type": "text", "text": "[a document was left out: this model cannot be given it]" },
                { "type": "text", "text": "A text." }] },
            { "role": "assistant", "content": "I look.",
                "tool_calls": [call("a1", "{\"n\":1}"), call("a2", "{}")] },
            { "role": "tool", "content": "warm", "tool_call_id": "a1" },
            { "role": "tool", "tool_call_id": "a2", "content": [
                { "type": "text", "text": "The tool failed: no sensor" }, picture] },
            { "role": "user", "content": "And?" },
        ],
    });
    assert_eq!(Value::Object(request.chat.to_json()), expected);
    let left_out = ["a document", "thinking blocks", "the tool web_search_20250305"];
    assert_eq!(request.left_out, left_out);
}

#[test]
fn tools_are_chosen_as_chat_has_it() {
    for (choice, expected) in [
        (json!({ "type": "auto" }), json!("auto")),
        (json!({ "type": "none" }), json!("none")),
        (
            json!({ "type": "tool", "name": "n" }),
            json!({ "type": "function", "function": { "name": "n" } }),
        ),
    ] {
        let tool = json!({ "name": "n", "input_schema": {} });
        let request = asked(json!({ "tools": [tool], "tool_choice": choice }));
        let request = Form::Messages.read(request).unwrap();
        assert_eq!(request.chat.fields["tool_choice"], expected);
    }
}

#[test]
fn anthropics_client_reads_a_whole_answer() {
    let mut probe = Probe::start();
    let seen = probe.ask("anthropic.messages.create", &asked(json!({})), |request| {
        Answer::of(request, &words_and_calls_as_one())
    });
    let answer = &seen["answer"];
    assert_eq!(content_of(answer), said());
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!((&answer["model"], &answer["id"]), (&json!("tiny"), &json!("msg_0b7e")));
    let tokens = ["input_tokens", "cache_read_input_tokens", "output_tokens"];
    assert_eq!(tokens.map(|name| answer["usage"][name].as_u64().unwrap()), [14, 4, 9]);

    // What it was answered can be said again.
    let turn = json!({ "role": "assistant", "content": answer["content"] });
    probe.ask("anthropic.messages.create", &asked(json!({ "messages": [turn] })), |request| {
        let turn = &request.chat.messages[0];
        assert_eq!((turn.text(), turn.tool_calls().len()), ("I look it up.".to_owned(), 2));
        Answer::of(request, &words_and_calls_as_one())
    });
}

#[test]
fn anthropics_client_puts_a_streamed_answer_together() {
    let mut probe = Probe::start();
    let seen = probe.ask("anthropic.messages.stream", &asked(json!({})), |request| {
        Answer::pieces(request, words_and_calls())
    });
    assert_eq!(content_of(&seen["final"]), said());
    assert_eq!(seen["final"]["stop_reason"], "tool_use");
    assert_eq!(seen["final"]["model"], "tiny");
    assert_eq!(seen["final"]["usage"]["input_tokens"], 18);
    assert_eq!(seen["final"]["usage"]["output_tokens"], 9);

    let streamed = asked(json!({ "stream": true }));
    let seen = probe.ask("anthropic.messages.create", &streamed, |request| {
        Answer::pieces(request, words_and_calls())
    });
    let events = seen["events"].as_array().unwrap();
    let kinds: Vec<_> = events.iter().map(|it| it["type"].as_str().unwrap()).collect();
    let block = |deltas: usize| {
        let deltas = vec!["content_block_delta"; deltas];
        [&["content_block_start"], deltas.as_slice(), &["content_block_stop"]].concat()
    };
    let expected = [
        vec!["message_start"],
        block(2),
        block(2),
        block(1),
        vec!["message_delta", "message_stop"],
    ];
    assert_eq!(kinds, expected.concat());
}

#[test]
fn thoughts_are_given_to_who_asks_for_them() {
    let mut probe = Probe::start();
    let pieces = || {
        let thought = json!({ "reasoning_content": "Hm." });
        vec![chunk(thought, None), chunk(json!({ "content": "Yes." }), Some("stop"))]
    };
    let text = json!({ "type": "text", "text": "Yes." });
    let seen = probe.ask("anthropic.messages.stream", &asked(json!({})), |request| {
        Answer::pieces(request, pieces())
    });
    assert_eq!(content_of(&seen["final"]), json!([text]));
    let thinking = asked(json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }));
    let seen = probe
        .ask("anthropic.messages.stream", &thinking, |request| Answer::pieces(request, pieces()));
    let thought = json!({ "type": "thinking", "thinking": "Hm." });
    assert_eq!(content_of(&seen["final"]), json!([thought, text]));
}

#[test]
fn thoughts_that_nobody_signed_do_not_go_to_the_cloud() {
    let thought =
        |signature: &str| json!({ "type": "thinking", "thinking": "Hm.", "signature": signature });
    let text = json!({ "type": "text", "text": "Yes." });
    let turn = |content: Value| json!({ "role": "assistant", "content": content });
    let request = json!({ "model": "m", "messages": [
        { "role": "user", "content": "?" },
        turn(json!([thought(""), text])),
        turn(json!([thought("")])),
        turn(json!([thought("s"), text])),
        turn(json!([])),
    ] });
    let cleaned = Form::Messages.cleaned_for_cloud(request.as_object().unwrap()).unwrap();
    let left = json!([
        { "role": "user", "content": "?" },
        turn(json!([text])),
        turn(json!([thought("s"), text])),
        turn(json!([])),
    ]);
    assert_eq!(Value::Object(cleaned.clone()), json!({ "model": "m", "messages": left }));
    assert_eq!(Form::Messages.cleaned_for_cloud(&cleaned), None);
    assert_eq!(Form::Responses.cleaned_for_cloud(request.as_object().unwrap()), None);
}

#[test]
fn why_a_model_stopped_is_said_in_anthropics_words() {
    let stamp = super::stamp();
    let request = Form::Messages.read(asked(json!({}))).unwrap();
    for (finish, expected) in [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
    ] {
        let answer = chat_answer(json!({ "role": "assistant", "content": "Yes" }), finish);
        let message = request.answer(&answer, &stamp).unwrap();
        assert_eq!(message["stop_reason"], expected);
    }
}

#[test]
fn anthropics_client_raises_when_a_streamed_answer_breaks_off() {
    let mut probe = Probe::start();
    let streamed = asked(json!({ "stream": true }));
    let said = || chunk(json!({ "content": "I look" }), None);
    for pieces in [vec![said(), broken_off()], vec![said()], vec![said(), usage_chunk()]] {
        let seen = probe
            .ask("anthropic.messages.create", &streamed, |request| Answer::pieces(request, pieces));
        assert_eq!(seen["raised"], "APIStatusError", "{seen}");
        assert_eq!(seen["body"]["error"]["type"], "api_error");
        assert!(!seen.to_string().contains("message_stop"));
    }
}

#[test]
fn anthropics_client_raises_its_own_errors() {
    use LlmErrorKind::{
        Busy, ContextLength, Credentials, Engine, Invalid, NotFound, RateLimited, Timeout,
        Unavailable,
    };
    let mut probe = Probe::start();
    for (kind, raised, class) in [
        (Invalid, "BadRequestError", "invalid_request_error"),
        (ContextLength, "BadRequestError", "invalid_request_error"),
        (Credentials, "AuthenticationError", "authentication_error"),
        (NotFound, "NotFoundError", "not_found_error"),
        (RateLimited, "RateLimitError", "rate_limit_error"),
        (Busy, "OverloadedError", "overloaded_error"),
        (Unavailable, "OverloadedError", "overloaded_error"),
        (Timeout, "GatewayTimeoutError", "timeout_error"),
        (Engine, "InternalServerError", "api_error"),
    ] {
        let seen = probe.ask("anthropic.messages.create", &asked(json!({})), |request| {
            Answer::error(request.form(), &LlmError::new(kind, "why"))
        });
        assert_eq!(
            (&seen["raised"], &seen["body"]["error"]["type"]),
            (&json!(raised), &json!(class))
        );
        assert_eq!(seen["body"]["error"]["message"], "why");
    }
}
