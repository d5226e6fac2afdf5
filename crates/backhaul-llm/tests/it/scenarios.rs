//! Every way in which a model's server goes wrong, as both clients tell of it.

use std::time::Duration;

use backhaul_llm::LlmErrorKind::{
    self, BrokenOff, Busy, ContextLength, Credentials, Garbled, Invalid, NotFound, RateLimited,
    Timeout, Unreachable,
};
use backhaul_llm::{AnthropicClient, Clocks, LlmClient, LlmError, OpenAiClient};
use backhaul_testkit::{CLOUD_TEXT, FaultServer, LlmScenario, LlmScript};

use crate::support::{endpoint, question, read};

/// The text of four tokens.
const FOUR: &str = "Cloud model";

/// What comes of a scenario: the text that came, and the kind of the error that ended it.
type Outcome = (&'static str, Option<LlmErrorKind>);

const WHOLE: Outcome = (CLOUD_TEXT, None);

fn failed(kind: LlmErrorKind) -> Outcome {
    ("", Some(kind))
}

fn cut(kind: LlmErrorKind) -> Outcome {
    (FOUR, Some(kind))
}

/// What is expected of an answer as a whole, and of one in pieces.
fn expected(scenario: LlmScenario) -> (Outcome, Outcome) {
    let both = |outcome| (outcome, outcome);
    match scenario {
        LlmScenario::Healthy
        | LlmScenario::Slow
        | LlmScenario::NoDone
        | LlmScenario::Odd
        | LlmScenario::Crumbs
        | LlmScenario::UsageLast
        | LlmScenario::Reasoning
        | LlmScenario::Trickle => both(WHOLE),
        LlmScenario::Refusal | LlmScenario::ToolCall => both(("", None)),
        LlmScenario::Silent => both(failed(Timeout)),
        LlmScenario::ResetAtOnce | LlmScenario::HangUpAtOnce => both(failed(Unreachable)),
        LlmScenario::EmptyBody | LlmScenario::Portal => both(failed(Garbled)),
        LlmScenario::BadGateway | LlmScenario::ServerError | LlmScenario::Overloaded => {
            both(failed(Busy))
        }
        LlmScenario::RateLimit | LlmScenario::RateLimitSeconds | LlmScenario::RateLimitMillis => {
            both(failed(RateLimited))
        }
        LlmScenario::BadKey | LlmScenario::Forbidden => both(failed(Credentials)),
        LlmScenario::BadRequest | LlmScenario::TooLarge => both(failed(Invalid)),
        LlmScenario::ContextLength => both(failed(ContextLength)),
        LlmScenario::NoSuchModel => both(failed(NotFound)),
        LlmScenario::ErrorAfterRole => both(failed(Busy)),
        LlmScenario::SilentAfterRole => both(failed(Timeout)),
        LlmScenario::CutAt4 | LlmScenario::HangUpAt4 | LlmScenario::CutInLine => {
            (failed(BrokenOff), cut(BrokenOff))
        }
        LlmScenario::StallAt4 => (failed(Timeout), cut(Timeout)),
        LlmScenario::MalformedAt4 => (failed(Garbled), cut(Garbled)),
        LlmScenario::ErrorAt4 => (failed(Busy), cut(Busy)),
        LlmScenario::EndsAt4 | LlmScenario::CutInCharacter => (failed(Garbled), cut(BrokenOff)),
    }
}

/// The scenarios that Anthropic's messages do not have, or have in another way: whole, they
/// say what chat says; in pieces, a stream without its last event is broken off.
fn expected_of_messages(scenario: LlmScenario) -> (Outcome, Outcome) {
    match scenario {
        LlmScenario::Refusal | LlmScenario::ToolCall => (WHOLE, WHOLE),
        LlmScenario::NoDone => (WHOLE, (CLOUD_TEXT, Some(BrokenOff))),
        other => expected(other),
    }
}

/// Shorter where nothing comes any more, so that nobody waits for long.
fn clocks(scenario: LlmScenario) -> Clocks {
    match scenario {
        LlmScenario::Silent => Clocks::LOCAL.at_most(Duration::from_millis(100)),
        LlmScenario::SilentAfterRole | LlmScenario::StallAt4 => {
            Clocks { idle: Duration::from_secs(1), ..Clocks::LOCAL }
        }
        _ => Clocks::LOCAL,
    }
}

async fn outcomes(
    client: &dyn LlmClient,
) -> ((String, Option<LlmError>), (String, Option<LlmError>)) {
    let whole = match client.complete(&question()).await {
        Ok(answer) => (answer.content(), None),
        Err(error) => (String::new(), Some(error)),
    };
    let pieces = match client.stream(&question()).await {
        Ok(stream) => {
            let (text, end) = read(stream).await;
            (text, end.err())
        }
        Err(error) => (String::new(), Some(error)),
    };
    (whole, pieces)
}

async fn check(
    make: impl Fn(&FaultServer, LlmScenario) -> Box<dyn LlmClient>,
    expected: impl Fn(LlmScenario) -> (Outcome, Outcome),
) {
    let server = FaultServer::llm(&LlmScript::new()).unwrap();
    for scenario in LlmScenario::ALL.iter().copied() {
        let client = make(&server, scenario);
        let (whole, pieces) = outcomes(client.as_ref()).await;
        for (form, found, expected) in
            [("whole", whole, expected(scenario).0), ("in pieces", pieces, expected(scenario).1)]
        {
            let (text, error) = found;
            let kind = error.as_ref().map(LlmError::kind);
            assert_eq!((text.as_str(), kind), expected, "{scenario}, {form}: {error:?}");
        }
    }
}

#[tokio::test]
async fn the_client_of_openais_protocol_tells_them_all_apart() {
    let client = |server: &FaultServer, scenario: LlmScenario| {
        let endpoint = endpoint(server, "/v1").with_clocks(clocks(scenario));
        Box::new(OpenAiClient::new(endpoint).with_model(scenario.model())) as Box<dyn LlmClient>
    };
    check(client, expected).await;
}

#[tokio::test]
async fn the_client_of_anthropics_messages_tells_them_all_apart() {
    let client = |server: &FaultServer, scenario: LlmScenario| {
        let endpoint = endpoint(server, "").with_clocks(clocks(scenario));
        Box::new(AnthropicClient::at(endpoint, scenario.model())) as Box<dyn LlmClient>
    };
    check(client, expected_of_messages).await;
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_told() {
    let server = FaultServer::llm(&LlmScript::new()).unwrap();
    for (scenario, expected) in [
        (LlmScenario::RateLimit, None),
        (LlmScenario::RateLimitSeconds, Some(Duration::from_secs(1))),
        (LlmScenario::RateLimitMillis, Some(Duration::from_millis(100))),
        (LlmScenario::Overloaded, Some(Duration::from_secs(1))),
    ] {
        let client = OpenAiClient::new(endpoint(&server, "/v1")).with_model(scenario.model());
        let error = client.complete(&question()).await.unwrap_err();
        assert_eq!(error.retry_after(), expected, "{scenario}");
    }
}
