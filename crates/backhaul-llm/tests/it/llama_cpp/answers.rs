use std::env;
use std::process::Command;

use backhaul_llm::{ChatRequest, FinishReason, LlmClient as _, ModelCapabilities, StreamChunk};
use backhaul_testkit::{LOCAL_TEXT, TinyModel};
use serde_json::{Value, json};

use super::{open, question, rest};

async fn pieces(client: &backhaul_llm::LlamaCppClient, request: &ChatRequest) -> Vec<StreamChunk> {
    let mut stream = client.stream(request).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await {
        pieces.push(piece.unwrap());
    }
    pieces
}

#[tokio::test]
async fn the_chain_model_says_its_sentence() {
    let client = open(&TinyModel::chain());
    for temperature in [0.0, 1.0] {
        let request = question("Is it warm?").field("temperature", json!(temperature));
        let answer = client.complete(&request).await.unwrap();
        assert_eq!(answer.content(), LOCAL_TEXT);
        assert_eq!(answer.finish_reason(), Some(FinishReason::Stop));
        let counted = client.count_tokens(&request).await.unwrap();
        assert!(counted.is_exact);
        assert_eq!(answer.usage().prompt_tokens, counted.tokens);
        assert!(answer.usage().completion_tokens > 5);
        assert_eq!(answer.model(), client.name());
        assert_eq!(answer.metadata.model, client.name());
    }
}

#[tokio::test]
async fn a_stream_says_the_same_in_pieces_and_why_it_ended() {
    let client = open(&TinyModel::chain());
    let request = question("Is it warm?").field("stream_options", json!({"include_usage": true}));
    let pieces = pieces(&client, &request).await;
    let text: String = pieces.iter().map(StreamChunk::content).collect();
    assert_eq!(text, LOCAL_TEXT);
    assert!(pieces.len() > 5, "a token at a time");
    assert_eq!(pieces[0].delta().unwrap()["role"], "assistant");
    let ends: Vec<_> = pieces.iter().filter_map(StreamChunk::finish_reason).collect();
    assert_eq!(ends, [FinishReason::Stop]);
    let last = pieces.last().unwrap();
    assert_eq!(last.as_json()["choices"], json!([]));
    let usage = client.complete(&request).await.unwrap().usage();
    assert_eq!(last.usage(), Some(usage));
}

#[tokio::test]
async fn a_seed_gives_the_same_answer_again_whole_or_in_pieces() {
    let client = open(&TinyModel::random());
    let request = |seed: u64| {
        let request = question("Say something.").field("temperature", json!(1.5));
        request.field("seed", json!(seed)).max_tokens(60)
    };
    let whole = client.complete(&request(7)).await.unwrap().content();
    // Gibberish of bytes: characters come in several tokens, or broken.
    assert!(!whole.is_ascii(), "{whole}");
    assert_eq!(rest(client.stream(&request(7)).await.unwrap()).await, whole);
    assert_ne!(client.complete(&request(8)).await.unwrap().content(), whole);
}

#[tokio::test]
async fn an_answer_ends_at_the_most_tokens_and_says_so() {
    let client = open(&TinyModel::chain());
    let answer = client.complete(&question("Is it warm?").max_tokens(3)).await.unwrap();
    assert_eq!(answer.finish_reason(), Some(FinishReason::Length));
    assert_eq!(answer.usage().completion_tokens, 3);
    assert!(LOCAL_TEXT.starts_with(&answer.content()) && !answer.content().is_empty());
}

#[tokio::test]
async fn an_answer_ends_before_a_stop_text() {
    let client = open(&TinyModel::chain());
    // It ends in the middle of a token.
    let request = question("Is it warm?").field("stop", json!(["unheard of", "etwork"]));
    let answer = client.complete(&request).await.unwrap();
    assert_eq!(answer.content(), "Offline model here: the n");
    assert_eq!(answer.finish_reason(), Some(FinishReason::Stop));
    assert_eq!(rest(client.stream(&request).await.unwrap()).await, answer.content());
}

#[tokio::test]
async fn an_answer_ends_where_the_context_does_and_says_so() {
    let client = open(&TinyModel::random().with_context(256));
    let answer = client.complete(&question("Say something.")).await.unwrap();
    assert_eq!(answer.finish_reason(), Some(FinishReason::Length));
    assert_eq!(answer.usage().total_tokens(), 256);
}

#[tokio::test]
async fn gibberish_keeps_to_a_schema() {
    let client = open(&TinyModel::random());
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["ok", "level"],
        "properties": {"ok": {"type": "boolean"}, "level": {"enum": ["low", "high"]}},
    });
    for seed in 0..10 {
        let request = question("Is it warm?").json_schema("answer", schema.clone());
        let request = request.field("temperature", json!(1)).field("seed", json!(seed));
        let answer = client.complete(&request).await.unwrap();
        assert_eq!(answer.finish_reason(), Some(FinishReason::Stop));
        let said: Value = serde_json::from_str(&answer.content()).unwrap();
        assert!(
            said["ok"].is_boolean() && ["low", "high"].map(Value::from).contains(&said["level"])
        );
        assert_eq!(said.as_object().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_pattern_is_kept_to_or_named_as_not_kept() {
    let client = open(&TinyModel::random());
    let answer = async |pattern: &str| {
        let schema = json!({"type": "string", "pattern": pattern});
        let request = question("Is it warm?").json_schema("answer", schema).max_tokens(100);
        client.complete(&request).await.unwrap()
    };
    let kept = answer("^[a-c]{2,3}$").await;
    let said: String = serde_json::from_str(&kept.content()).unwrap();
    assert!((2..=3).contains(&said.len()) && said.chars().all(|it| "abc".contains(it)), "{said}");
    assert!(kept.metadata.changes.is_empty());
    let other = answer(r"^\d+$").await;
    assert!(other.content().starts_with('"'));
    assert_eq!(other.metadata.changes, [r"any string in place of ^\d+$"]);
}

#[tokio::test]
async fn gibberish_begins_an_object_where_one_is_asked_for() {
    let client = open(&TinyModel::random());
    let format = json!({"type": "json_object"});
    let request = question("Is it warm?").field("response_format", format).max_tokens(100);
    let answer = client.complete(&request).await.unwrap();
    match answer.finish_reason() {
        Some(FinishReason::Stop) => {
            let said: Value = serde_json::from_str(&answer.content()).unwrap();
            assert!(said.is_object());
        }
        reason => {
            assert_eq!(reason, Some(FinishReason::Length));
            assert!(answer.content().starts_with('{'), "{}", answer.content());
        }
    }
}

#[tokio::test]
async fn a_model_says_what_it_can_do() {
    let client = open(&TinyModel::chain().with_context(512));
    let mut can = ModelCapabilities::TEXT.with_context_tokens(512);
    can.json_schema = true;
    assert_eq!(client.capabilities().await.unwrap(), can);
    client.probe().await.unwrap();
    // Unasked, a model's context is at most 8,192 tokens.
    let client = open(&TinyModel::chain().with_context(32_768));
    let context = client.capabilities().await.unwrap().context_tokens;
    assert_eq!(context, Some(8_192));
}

#[test]
fn llama_cpp_writes_nothing_to_stderr_or_stdout() {
    let tests = ["the_chain_model_says_its_sentence", "a_pattern_is_kept_to_or_named_as_not_kept"];
    let tests = tests.map(|test| format!("llama_cpp::answers::{test}"));
    let arguments = ["--exact", "--nocapture", "--quiet"].into_iter();
    let arguments = arguments.chain(tests.iter().map(String::as_str));
    let output = Command::new(env::current_exe().unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("2 passed") && !said.contains("llama_"), "{said}");
}
