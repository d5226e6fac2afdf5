//! During an outage: what llama.cpp's own server is given of a request that it cannot answer as
//! it is.

use backhaul_llm::{
    ChatRequest, ChunkStream, CompletionResult, Endpoint, FinishReason, LlmClient, LlmErrorKind,
    Message, OfflineLlmClient, OpenAiClient, Part, Source, ToolCall, ToolDefinition,
};
use backhaul_testkit::{LOCAL_TEXT, LlamaOptions, LlamaServer, TinyModel};
use serde_json::{Map, Value, json};

use crate::support::{nobody, read};

const CONTEXT: u32 = 256;

fn small(model: TinyModel) -> LlamaServer {
    in_context(CONTEXT, model)
}

fn in_context(context: u32, model: TinyModel) -> LlamaServer {
    let options = LlamaOptions { context, ..LlamaOptions::default() };
    LlamaServer::start(&model.with_context(context), options).unwrap()
}

fn local(server: &LlamaServer) -> OpenAiClient {
    let endpoint = Endpoint::new(&format!("{}/v1", server.url())).unwrap();
    OpenAiClient::new(endpoint).with_own_model_always()
}

/// A client whose primary nobody can reach.
fn offline(server: &LlamaServer) -> OfflineLlmClient {
    let cloud = OpenAiClient::new(Endpoint::new(&nobody()).unwrap());
    OfflineLlmClient::new(cloud.with_model("cloud"), local(server))
}

/// A conversation of so many turns, in which a tool was called each time.
fn talk(turns: usize) -> ChatRequest {
    let turn = |at: usize| {
        let id = format!("call_{at}");
        let call = ToolCall::new(&id, "read_sensor", Map::new());
        [
            Message::user(format!("Is it warm in room {at}?")),
            Message::assistant("").with_tool_calls(&[call]),
            Message::tool_result(id, format!("{at} degrees")),
            Message::assistant("It is, and it was before."),
        ]
    };
    let mut messages = vec![Message::system("Be brief.")];
    messages.extend((0..turns).flat_map(turn));
    messages.push(Message::user("And outside?"));
    ChatRequest::new(messages).max_tokens(64).field("temperature", json!(0))
}

/// The answer, and the same in pieces: they tell the same of what was done.
async fn answers(client: &OfflineLlmClient, request: &ChatRequest) -> CompletionResult {
    let answer = client.complete(request.clone()).await.unwrap();
    assert_eq!((answer.content().as_str(), answer.metadata.source), (LOCAL_TEXT, Source::Fallback));
    let stream = client.stream(request.clone()).await.unwrap();
    let (told, pieces) = (&answer.metadata, &stream.metadata);
    assert_eq!((&told.changes, told.trimmed_tokens), (&pieces.changes, pieces.trimmed_tokens));
    assert_eq!(read(stream).await.0, LOCAL_TEXT);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_conversation_is_answered_with_as_much_of_it_as_there_is_room_for() {
    for model in [TinyModel::chain(), TinyModel::chain().knowing_tools()] {
        let server = small(model);
        let (client, request) = (offline(&server), talk(60));
        let answer = answers(&client, &request).await;
        let left_out: Vec<_> =
            answer.metadata.changes.iter().filter(|it| it.contains("oldest turns")).collect();
        let [left_out] = left_out[..] else { panic!("{:?}", answer.metadata.changes) };
        let left_out: usize = left_out.split(' ').next().unwrap().parse().unwrap();
        assert!((1..60).contains(&left_out), "{left_out}");
        // By the server's own count it fits, and one more turn would not have.
        let prompt = answer.usage().prompt_tokens;
        let room = u64::from(CONTEXT) - 64;
        assert!(prompt <= room && prompt + 70 > room, "{prompt}");
        let counted = local(&server).count_tokens(&request).await.unwrap();
        assert!(counted.is_exact && counted.tokens > 2_000, "{counted:?}");
        assert!(answer.metadata.trimmed_tokens > counted.tokens - room - 70);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_word_that_there_is_no_room_for_is_the_callers_to_shorten() {
    let server = small(TinyModel::chain());
    let client = offline(&server);
    let long = ChatRequest::new(vec![Message::user("hello ".repeat(200))]);
    for error in [
        client.complete(long.clone()).await.unwrap_err(),
        client.stream(long).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), LlmErrorKind::ContextLength);
        assert_eq!(error.to_json()["error"]["code"], "context_length_exceeded");
        assert!(error.message().contains("room for 192, of a context of 256"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_long_is_read_without_its_middle() {
    let server = in_context(2 * CONTEXT, TinyModel::chain().knowing_tools());
    let mut request = talk(0);
    let call = ToolCall::new("call_0", "read_log", Map::new());
    request.messages.push(Message::assistant("").with_tool_calls(&[call]));
    request.messages.push(Message::tool_result("call_0", "warm, 漢 ".repeat(500)));
    let answer = answers(&offline(&server), &request).await;
    assert_eq!(answer.metadata.changes, ["1 result of a tool cut in the middle"]);
    let prompt = answer.usage().prompt_tokens;
    assert!(prompt <= u64::from(2 * CONTEXT) - 64 && prompt > 200, "{prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_a_text_to_a_model_that_cannot_see() {
    let server = small(TinyModel::chain());
    let parts = vec![Part::text("What is this?"), Part::image("image/png", b"no image")];
    let request = ChatRequest::new(vec![Message::user(parts)]).field("temperature", json!(0));
    // Without that the server fails.
    local(&server).complete(&request).await.unwrap_err();
    let answer = answers(&offline(&server), &request).await;
    assert_eq!(answer.metadata.changes, ["1 image replaced by text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_gives_one_answer_is_not_asked_for_two() {
    let server = small(TinyModel::chain());
    let request = talk(0).field("n", json!(2));
    local(&server).complete(&request).await.unwrap_err();
    let answer = answers(&offline(&server), &request).await;
    assert_eq!(answer.metadata.changes, ["1 answer in place of 2: this model gives no more"]);
}

fn tool(name: &str) -> ToolDefinition {
    ToolDefinition::new(name, "Switches something.").parameters(json!({
        "type": "object",
        "properties": { "on": { "$ref": "#/$defs/switch" } },
        "required": ["on"],
        "additionalProperties": false,
        "$defs": { "switch": { "type": "boolean" } },
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_to_come_comes_of_a_model_that_cannot_be_told_so() {
    let named = json!({ "type": "function", "function": { "name": "heat" } });
    for model in [TinyModel::random(), TinyModel::random().knowing_tools()] {
        let server = LlamaServer::start(&model, LlamaOptions::default()).unwrap();
        let client = offline(&server);
        for (choice, names) in [(&named, &["heat"][..]), (&"required".into(), &["heat", "light"])] {
            let request = talk(2)
                .max_tokens(400)
                .tools(&[tool("heat"), tool("light")])
                .field("tool_choice", choice.clone())
                .field("parallel_tool_calls", json!(true));
            let answer = client.complete(request.clone()).await.unwrap();
            assert_eq!(answer.finish_reason(), Some(FinishReason::ToolCalls), "{answer:?}");
            assert!(answer.content().is_empty() && answer.usage().completion_tokens > 0);
            let [call] = answer.tool_calls().try_into().unwrap();
            assert!(names.contains(&call.name.as_str()) && call.arguments["on"].is_boolean());
            let told = &answer.metadata.changes;
            assert_eq!(told[0], "the call of a tool was asked for as JSON");
            let stream = client.stream(request).await.unwrap();
            assert_eq!(&stream.metadata.changes, told);
            let (name, arguments) = called(stream).await;
            assert!(names.contains(&name.as_str()), "{name}");
            assert!(arguments["on"].is_boolean(), "{arguments}");
        }
    }
}

/// The call that a stream makes: the tool and its arguments.
async fn called(mut stream: ChunkStream) -> (String, Value) {
    let (mut name, mut arguments, mut ids) = (String::new(), String::new(), 0);
    let mut finish = None;
    while let Some(chunk) = stream.next().await.transpose().unwrap() {
        assert_eq!(chunk.content(), "");
        let call = chunk.delta().and_then(|delta| delta.get("tool_calls")?.get(0));
        ids += usize::from(call.is_some_and(|call| call.get("id").is_some()));
        let function = call.and_then(|call| call.get("function"));
        let text = |field: &str| function.and_then(|it| it.get(field)?.as_str()).unwrap_or("");
        name += text("name");
        arguments += text("arguments");
        finish = chunk.finish_reason().or(finish);
    }
    assert_eq!((ids, finish), (1, Some(FinishReason::ToolCalls)), "{arguments}");
    (name, serde_json::from_str(&arguments).unwrap())
}
