use backhaul_llm::{ChatRequest, LlmClient as _, LlmErrorKind, Message, Part, ToolDefinition};
use backhaul_testkit::{LOCAL_TEXT, TinyModel};
use serde_json::json;

use super::{open, question};

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_refused_with_its_length() {
    let client = open(&TinyModel::chain().with_context(256));
    let request = question(&"hello ".repeat(300));
    let tokens = client.count_tokens(&request).await.unwrap().tokens;
    assert!(tokens > 300);
    for error in
        [client.complete(&request).await.unwrap_err(), client.stream(&request).await.unwrap_err()]
    {
        assert_eq!(error.kind(), LlmErrorKind::ContextLength);
        let numbers = format!("the prompt has {tokens} tokens, and the context 256:");
        assert!(error.message().starts_with(&numbers), "{error}");
    }
    assert_eq!(client.decoded_tokens(), 0);
    assert_eq!(client.complete(&question("hello")).await.unwrap().content(), LOCAL_TEXT);
}

#[tokio::test]
async fn what_a_request_must_not_ask_is_refused_and_the_next_call_is_answered() {
    let client = open(&TinyModel::chain());
    let asks = |name: &str, value| question("?").field(name, value);
    let image = Message::user(vec![Part::text("What is this?"), Part::image("image/png", b"...")]);
    let (unsupported, invalid) = (LlmErrorKind::Unsupported, LlmErrorKind::Invalid);
    let of_schema = |schema| question("?").json_schema("answer", schema);
    let requests = [
        (question("?").tools(&[ToolDefinition::new("look", "Looks.")]), unsupported),
        (asks("n", json!(2)), unsupported),
        (ChatRequest::new(vec![image]), unsupported),
        (ChatRequest::default(), invalid),
        (question("a\0b"), invalid),
        (question("?").max_tokens(0), invalid),
        (asks("temperature", json!("hot")), invalid),
        (asks("temperature", json!(-1)), invalid),
        (asks("top_p", json!(1.5)), invalid),
        (asks("stop", json!(3)), invalid),
        (asks("stop", json!(["", "b"])), invalid),
        (asks("response_format", json!({"type": "xml"})), invalid),
        (asks("response_format", json!({"type": "json_schema"})), invalid),
        (of_schema(json!({"type": "nothing"})), invalid),
        (of_schema(json!({"$ref": "#/nowhere"})), invalid),
        (of_schema(json!({"type": "string", "pattern": "^*$"})), invalid),
    ];
    for (request, kind) in requests {
        let error = client.complete(&request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{request:?}: {error}");
        assert_eq!(client.complete(&question("?")).await.unwrap().content(), LOCAL_TEXT);
    }
}

#[tokio::test]
async fn tools_that_must_not_be_called_and_roles_that_no_template_knows_are_no_trouble() {
    let client = open(&TinyModel::chain());
    let messages = vec![
        Message::system("Be brief."),
        Message::user("Look."),
        Message::assistant("").with("content", json!(null)),
        Message::tool_result("call-1", "It is warm."),
        Message::user(vec![Part::text("Is it "), Part::text("warm?")]),
    ];
    let request = ChatRequest::new(messages).field("tool_choice", json!("none"));
    let request = request.tools(&[ToolDefinition::new("look", "Looks.")]);
    assert_eq!(client.complete(&request).await.unwrap().content(), LOCAL_TEXT);
}

#[tokio::test]
async fn what_the_model_would_not_be_given_is_counted_as_an_estimate() {
    let client = open(&TinyModel::chain());
    let request = question("?").tools(&[ToolDefinition::new("look", "Looks.")]);
    assert!(!client.count_tokens(&request).await.unwrap().is_exact);
}
