//! Every way in which the primary's server goes wrong, with a real local model behind it.

use backhaul_llm::LlmErrorKind::{
    BrokenOff, Busy, ContextLength, Garbled, Invalid, NotFound, Timeout,
};
use backhaul_llm::{
    FinishReason, LlmError, LlmErrorKind, OfflineLlmClient, OfflineLlmOptions, OpenAiClient, Source,
};
use backhaul_testkit::{
    BlackHole, CLOUD_TEXT, FaultServer, LOCAL_TEXT, LlamaOptions, LlamaServer, LlmScenario,
    LlmScript, TinyModel,
};

use crate::support::{endpoint, nobody, question, read};

/// What a caller is told.
#[derive(Debug, PartialEq)]
enum Told {
    Cloud,
    Local,
    /// The primary said so much, and then an error came.
    Cut(LlmErrorKind),
    /// Nobody said anything.
    Error(LlmErrorKind),
    /// The model refused.
    Refused,
    /// A call of a tool.
    Called,
}

/// What is expected of an answer as a whole, and of one in pieces.
fn expected(scenario: LlmScenario) -> (Told, Told) {
    match scenario {
        LlmScenario::Healthy
        | LlmScenario::Slow
        | LlmScenario::NoDone
        | LlmScenario::Odd
        | LlmScenario::Crumbs
        | LlmScenario::UsageLast
        | LlmScenario::Reasoning
        | LlmScenario::Trickle => (Told::Cloud, Told::Cloud),
        LlmScenario::Refusal => (Told::Refused, Told::Refused),
        LlmScenario::ToolCall => (Told::Called, Told::Called),
        LlmScenario::BadRequest | LlmScenario::TooLarge => {
            (Told::Error(Invalid), Told::Error(Invalid))
        }
        LlmScenario::ContextLength => (Told::Error(ContextLength), Told::Error(ContextLength)),
        LlmScenario::NoSuchModel => (Told::Error(NotFound), Told::Error(NotFound)),
        LlmScenario::Silent
        | LlmScenario::ResetAtOnce
        | LlmScenario::HangUpAtOnce
        | LlmScenario::EmptyBody
        | LlmScenario::Portal
        | LlmScenario::BadGateway
        | LlmScenario::ServerError
        | LlmScenario::Overloaded
        | LlmScenario::RateLimit
        | LlmScenario::RateLimitSeconds
        | LlmScenario::RateLimitMillis
        | LlmScenario::BadKey
        | LlmScenario::Forbidden
        | LlmScenario::ErrorAfterRole
        | LlmScenario::SilentAfterRole => (Told::Local, Told::Local),
        LlmScenario::CutAt4
        | LlmScenario::HangUpAt4
        | LlmScenario::CutInLine
        | LlmScenario::EndsAt4
        | LlmScenario::CutInCharacter => (Told::Local, Told::Cut(BrokenOff)),
        LlmScenario::StallAt4 => (Told::Local, Told::Cut(Timeout)),
        LlmScenario::MalformedAt4 => (Told::Local, Told::Cut(Garbled)),
        LlmScenario::ErrorAt4 => (Told::Local, Told::Cut(Busy)),
    }
}

fn by_text(text: &str, error: Option<&LlmError>) -> Told {
    match (text, error) {
        (CLOUD_TEXT, None) => Told::Cloud,
        (LOCAL_TEXT, None) => Told::Local,
        ("Cloud model", Some(error)) => Told::Cut(error.kind()),
        ("", Some(error)) => Told::Error(error.kind()),
        other => panic!("{other:?}"),
    }
}

async fn whole(client: &OfflineLlmClient) -> Told {
    match client.complete(question()).await {
        Ok(answer) => {
            let source = match answer.content().as_str() {
                LOCAL_TEXT => Source::Fallback,
                _ => Source::Primary,
            };
            assert_eq!(answer.metadata.source, source, "{:?}", answer.metadata);
            match answer.finish_reason() {
                Some(FinishReason::ContentFilter) => Told::Refused,
                Some(FinishReason::ToolCalls) => Told::Called,
                _ => by_text(&answer.content(), None),
            }
        }
        Err(error) => by_text("", Some(&error)),
    }
}

async fn in_pieces(client: &OfflineLlmClient) -> Told {
    let mut stream = match client.stream(question()).await {
        Ok(stream) => stream,
        Err(error) => return by_text("", Some(&error)),
    };
    let (mut text, mut finish) = (String::new(), None);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => {
                text += chunk.content();
                finish = chunk.finish_reason().or(finish);
            }
            Err(error) => {
                assert_eq!(finish, None, "no reason is made up");
                return by_text(&text, Some(&error));
            }
        }
    }
    match finish {
        Some(FinishReason::ContentFilter) => Told::Refused,
        Some(FinishReason::ToolCalls) => Told::Called,
        Some(_) => by_text(&text, None),
        None => panic!("the stream ended, and nobody said why: {text}"),
    }
}

/// Long enough for a server that answers, with the model behind it on a busy machine.
fn options() -> OfflineLlmOptions {
    OfflineLlmOptions { timeout_seconds: 2.0, ..OfflineLlmOptions::default() }
}

fn llama() -> LlamaServer {
    LlamaServer::start(&TinyModel::chain(), LlamaOptions::default()).unwrap()
}

fn local(server: &LlamaServer) -> OpenAiClient {
    let endpoint = backhaul_llm::Endpoint::new(&format!("{}/v1", server.url())).unwrap();
    OpenAiClient::new(endpoint).with_own_model_always()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_primary_does_the_caller_is_told_the_truth() {
    let llama = llama();
    let server = FaultServer::llm(&LlmScript::new()).unwrap();
    for scenario in LlmScenario::ALL.iter().copied() {
        let client = || {
            let endpoint = endpoint(&server, "/v1");
            let clocks = backhaul_llm::Clocks {
                idle: std::time::Duration::from_millis(500),
                ..endpoint.clocks()
            };
            let cloud = OpenAiClient::new(endpoint.with_clocks(clocks));
            let builder = OfflineLlmClient::builder(cloud.with_model(scenario.model()));
            builder.fallback(local(&llama)).options(options()).build().unwrap()
        };
        let told = (whole(&client()).await, in_pieces(&client()).await);
        assert_eq!(told, expected(scenario), "{scenario}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_nobody_can_reach_is_asked_once() {
    let llama = llama();
    let hole = BlackHole::new().unwrap();
    for url in [nobody(), format!("{}/v1", hole.url()), "http://no.such.name.invalid/v1".to_owned()]
    {
        let cloud = OpenAiClient::new(backhaul_llm::Endpoint::new(&url).unwrap());
        let builder = OfflineLlmClient::builder(cloud.with_model("cloud"));
        let client = builder.fallback(local(&llama)).options(options()).build().unwrap();
        for call in 0..5 {
            let answer = client.complete(question()).await.unwrap();
            assert_eq!(answer.content(), LOCAL_TEXT, "{url}");
            let is_tried = !matches!(
                answer.metadata.attempts[0].outcome,
                backhaul_llm::Outcome::Skipped { .. }
            );
            assert_eq!(is_tried, call == 0, "{url}: {:?}", answer.metadata.attempts);
            assert_eq!(answer.metadata.model, local_name(&llama).await);
        }
    }
}

/// What the local server calls its model.
async fn local_name(server: &LlamaServer) -> String {
    use backhaul_llm::LlmClient as _;
    local(server).complete(&question()).await.unwrap().model().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_is_asked_again() {
    let llama = llama();
    let (script, options) = (LlmScript::new(), options());
    let server = FaultServer::llm(&script).unwrap();
    script.play(LlmScenario::ResetAtOnce);
    let cloud = OpenAiClient::new(endpoint(&server, "/v1")).with_model("cloud");
    let builder = OfflineLlmClient::builder(cloud).fallback(local(&llama));
    let client = builder.options(options).build().unwrap();
    assert_eq!(whole(&client).await, Told::Local);
    script.play(LlmScenario::Healthy);
    // By a probe in the background, which nobody waits for.
    while whole(&client).await != Told::Cloud {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (text, end) = read(client.stream(question()).await.unwrap()).await;
    assert_eq!((text.as_str(), end.is_ok()), (CLOUD_TEXT, true));
}
