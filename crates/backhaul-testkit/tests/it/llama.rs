//! A real local model server.

use std::fs;
use std::net::TcpStream;

use backhaul_testkit::{LOCAL_TEXT, LlamaOptions, LlamaServer, TinyModel};
use serde_json::json;

use crate::ask::{Reply, ask};

fn chat(server: &LlamaServer, more: serde_json::Value) -> Reply {
    let mut body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 64});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(([127, 0, 0, 1], server.port()).into(), "/v1/chat/completions", &body.to_string())
}

#[test]
fn the_chain_model_says_its_sentence_whole_and_streamed() {
    let server = LlamaServer::start(&TinyModel::chain(), LlamaOptions::default()).unwrap();
    for temperature in [0.0, 1.0] {
        let whole = chat(&server, json!({"temperature": temperature}));
        let choice = &whole.json()["choices"][0];
        assert_eq!(choice["message"]["content"], LOCAL_TEXT);
        assert_eq!(choice["finish_reason"], "stop");
        let stream = chat(&server, json!({"temperature": temperature, "stream": true}));
        assert_eq!(stream.text("/choices/0/delta/content"), LOCAL_TEXT);
        assert!(stream.events().len() > 5, "a token at a time");
        assert_eq!(stream.data().last().unwrap(), "[DONE]");
    }
}

#[test]
fn a_server_is_gone_with_its_handle_and_comes_back_at_its_port() {
    let model = TinyModel::chain();
    let server = LlamaServer::start(&model, LlamaOptions::default()).unwrap();
    let port = server.port();
    assert_eq!(server.url(), format!("http://127.0.0.1:{port}"));
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let server = LlamaServer::start_at(port, &model, LlamaOptions::default()).unwrap();
    assert_eq!((server.port(), chat(&server, json!({})).status()), (port, 200));
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_its_length() {
    let options = LlamaOptions { context: 256, slots: 2, ..LlamaOptions::default() };
    let server = LlamaServer::start(&TinyModel::chain().with_context(256), options).unwrap();
    let address = ([127, 0, 0, 1], server.port()).into();
    let props = ask(address, "/props", "").json();
    assert_eq!(props["total_slots"], 2);
    let long = json!({"messages": [{"role": "user", "content": "hello ".repeat(300)}]});
    let reply = chat(&server, long);
    let error = &reply.json()["error"];
    assert_eq!((reply.status(), &error["type"]), (400, &json!("exceed_context_size_error")));
    assert_eq!(error["n_ctx"], 256);
    assert!(error["n_prompt_tokens"].as_u64().unwrap() > 300);
}

#[test]
fn the_random_model_keeps_to_a_schema_and_knows_tools_where_asked() {
    let model = TinyModel::random().knowing_tools();
    let server = LlamaServer::start(&model, LlamaOptions::default()).unwrap();
    let ok = json!({"type": "object", "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"], "additionalProperties": false});
    let form = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": ok}});
    let reply = chat(&server, json!({"response_format": form, "max_tokens": 200})).json();
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let said: serde_json::Value = serde_json::from_str(text).unwrap();
    assert!(said["ok"].is_boolean(), "{text}");
    let props = ask(([127, 0, 0, 1], server.port()).into(), "/props", "").json();
    assert_eq!(props["chat_template_caps"]["supports_tools"], true);
    assert_eq!(props["modalities"]["vision"], false);
}

#[test]
fn a_server_embeds_where_it_is_to() {
    let embed = |options| {
        let server = LlamaServer::start(&TinyModel::chain(), options).unwrap();
        let address = ([127, 0, 0, 1], server.port()).into();
        ask(address, "/v1/embeddings", &json!({"input": ["a", "b"]}).to_string())
    };
    assert_eq!(embed(LlamaOptions::default()).status(), 501);
    let embedded = embed(LlamaOptions { embeddings: true, ..LlamaOptions::default() }).json();
    assert_eq!(embedded["data"][1]["embedding"].as_array().unwrap().len(), 128);
}

#[test]
fn models_are_files_of_half_a_megabyte() {
    let files = [TinyModel::chain(), TinyModel::random(), TinyModel::chain().knowing_tools()];
    let files = files.map(|model| fs::read(model.file().unwrap()).unwrap());
    assert!(files.iter().all(|file| file.starts_with(b"GGUF") && file.len() < 600_000));
    assert!(files[0] != files[1] && files[0] != files[2]);
}
