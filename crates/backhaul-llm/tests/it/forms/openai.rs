//! OpenAI's other forms: chats, old completions, embeddings.

use backhaul_llm::{EmbeddingEncoding, Form, LlmErrorKind};
use serde_json::{Value, json};

use super::probe::{Answer, Probe};
use super::{broken_off, chat_answer, chunk, usage_chunk, words_and_calls};

fn said() -> Value {
    json!({ "role": "assistant", "content": "Yes, it is." })
}

fn text_of(events: &Value) -> String {
    let choices = events.as_array().unwrap().iter().filter_map(|it| it.pointer("/choices/0/text"));
    choices.filter_map(Value::as_str).collect()
}

#[test]
fn openais_client_reads_an_old_completion() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "old", "prompt": ["Is it warm?"], "max_tokens": 5,
        "stop": ["\n"], "best_of": 1, "logprobs": 2 });
    let seen = probe.ask("openai.completions.create", &arguments, |request| {
        assert_eq!(
            Value::Object(request.chat.to_json()),
            json!({ "model": "old", "max_tokens": 5, "stop": ["\n"],
                "messages": [{ "role": "user", "content": "Is it warm?" }] })
        );
        assert_eq!(request.left_out, ["logprobs"]);
        Answer::of(request, &chat_answer(said(), "length"))
    });
    let answer = &seen["answer"];
    assert_eq!(answer["choices"][0]["text"], "Yes, it is.");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!((&answer["object"], &answer["model"]), (&json!("text_completion"), &json!("tiny")));
    assert_eq!(answer["usage"]["total_tokens"], 27);
}

#[test]
fn openais_client_reads_an_old_completion_in_pieces() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "old", "prompt": "Is it warm? ", "stream": true,
        "echo": true, "stream_options": { "include_usage": true } });
    let pieces = || {
        vec![
            chunk(json!({ "role": "assistant", "content": "" }), None),
            chunk(json!({ "content": "Yes, " }), None),
            chunk(json!({ "content": "it is." }), None),
        ]
    };
    let seen = probe.ask("openai.completions.create", &arguments, |request| {
        let end = [chunk(json!({}), Some("stop")), usage_chunk()];
        Answer::pieces(request, pieces().into_iter().chain(end).collect())
    });
    assert_eq!(text_of(&seen["events"]), "Is it warm? Yes, it is.");
    let events = seen["events"].as_array().unwrap();
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events.last().unwrap()["usage"]["prompt_tokens"], 18);

    let seen = probe.ask("openai.completions.create", &arguments, |request| {
        Answer::pieces(request, pieces().into_iter().chain([broken_off()]).collect())
    });
    assert_eq!(seen["raised"], "APIError");
    assert_eq!(text_of(&seen["events"]), "Is it warm? Yes, it is.");
}

#[test]
fn what_old_completions_can_and_chats_cannot_is_an_error() {
    for (field, request) in [
        ("prompt", json!({ "prompt": ["a", "b"] })),
        ("prompt", json!({ "prompt": [1, 2, 3] })),
        ("prompt", json!({ "prompt": [[1], [2]] })),
        ("prompt", json!({ "model": "old" })),
        ("suffix", json!({ "prompt": "a", "suffix": "b" })),
        ("best_of", json!({ "prompt": "a", "best_of": 3 })),
    ] {
        let error = Form::Completions.read(request).unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Invalid);
        assert_eq!(Form::Completions.error(&error).1["error"]["param"], field);
    }
}

#[test]
fn openais_client_reads_a_chat_in_pieces() {
    let mut probe = Probe::start();
    let arguments = json!({ "model": "gpt-5", "messages": [{ "role": "user", "content": "?" }],
        "stream": true });
    let seen = probe.ask("openai.chat.completions.create", &arguments, |request| {
        assert!(request.wants_stream);
        Answer::pieces(request, words_and_calls())
    });
    assert_eq!(seen["events"].as_array().unwrap().len(), words_and_calls().len());
    let seen = probe.ask("openai.chat.completions.create", &arguments, |request| {
        let mut pieces = words_and_calls();
        pieces.truncate(4);
        Answer::pieces(request, pieces)
    });
    assert_eq!(seen["raised"], "APIError");
    assert_eq!(seen["body"]["code"], "broken_off");
}

#[test]
fn openais_client_reads_embeddings_of_a_server_that_only_knows_numbers() {
    let vector = [0.1, -2.5, 3.402_823_5e38, 0.0];
    let answer = json!({ "object": "list", "model": "tiny", "usage": { "prompt_tokens": 1, "total_tokens": 1 },
        "data": [{ "object": "embedding", "index": 0, "embedding": vector }] });
    let mut probe = Probe::start();
    for (arguments, encoding) in [
        (json!({ "model": "m", "input": "?" }), EmbeddingEncoding::Base64),
        (
            json!({ "model": "m", "input": "?", "encoding_format": "float" }),
            EmbeddingEncoding::Float,
        ),
    ] {
        let seen = probe.call("openai.embeddings.create", &arguments, |_, request| {
            assert_eq!(EmbeddingEncoding::of_request(&request).unwrap(), encoding);
            let encoded = encoding.encode(answer.clone()).unwrap();
            Answer::whole(&encoded)
        });
        let seen = seen["answer"]["data"][0]["embedding"].as_array().unwrap();
        for (seen, number) in seen.iter().zip(vector) {
            let seen = seen.as_f64().unwrap();
            assert!((seen - number).abs() <= number.abs() * 1e-7, "{seen} {number}");
        }
        assert_eq!(seen.len(), vector.len());
    }
}

#[test]
fn an_embedding_that_is_none_is_an_error() {
    for vector in [json!("AAA="), json!("?"), json!(1), json!(["a"]), json!([1e60]), json!(null)] {
        let answer = json!({ "data": [{ "embedding": vector }] });
        let error = EmbeddingEncoding::Base64.encode(answer).unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Garbled);
    }
    let error = EmbeddingEncoding::of_request(&json!({ "encoding_format": "int8" })).unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::Invalid);
}
