use std::num::NonZeroU32;
use std::time::Duration;

use backhaul_llm::{
    ChatRequest, LlamaCppClient, LlamaCppOptions, LlmClient as _, LlmErrorKind, Message,
};
use backhaul_testkit::{LOCAL_TEXT, TinyModel};
use serde_json::json;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{open, open_with, question, rest};

/// A model that goes on until it is stopped: its context takes minutes to fill.
fn endless(waiting_calls: usize) -> LlamaCppClient {
    let context_tokens = NonZeroU32::new(65_536);
    let options = LlamaCppOptions { context_tokens, waiting_calls, ..LlamaCppOptions::default() };
    open_with(&TinyModel::random(), options)
}

#[tokio::test]
async fn a_prompt_is_computed_only_from_where_it_differs() {
    let client = open(&TinyModel::chain());
    let first = question("Is it warm? It was cold yesterday, and the day before it rained.");
    let answer = client.complete(&first).await.unwrap();
    let computed = client.decoded_tokens();
    // The last token of the answer says that it is over, and needs no place.
    assert_eq!(computed, answer.usage().total_tokens() - 1);
    // The same again: the last token of the prompt, and the answer.
    client.complete(&first).await.unwrap();
    let again = client.decoded_tokens() - computed;
    assert_eq!(again, answer.usage().completion_tokens);
    // The conversation goes on: what was said is warm.
    let mut more = first.clone();
    more.messages.push(Message::assistant(answer.content()));
    more.messages.push(Message::user("And now?"));
    let before = client.decoded_tokens();
    let next = client.complete(&more).await.unwrap();
    let computed = client.decoded_tokens() - before;
    let warm = computed - (next.usage().completion_tokens - 1);
    assert_eq!(warm, next.usage().prompt_tokens - (answer.usage().total_tokens() - 1));
    let details = &next.body()["usage"]["prompt_tokens_details"];
    assert_eq!(details["cached_tokens"], json!(answer.usage().total_tokens() - 1));
    // Another one: nothing but what each prompt begins with.
    let other = ChatRequest::new(vec![Message::system("Be brief."), Message::user("?")]);
    let answer = client.complete(&other).await.unwrap();
    let details = &answer.body()["usage"]["prompt_tokens_details"];
    assert!(details["cached_tokens"].as_u64().unwrap() < 5);
    assert_eq!(answer.content(), LOCAL_TEXT);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_broken_off() {
    let client = endless(8);
    let mut stream = client.stream(&question("Go on.")).await.unwrap();
    for _ in 0..5 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    // Its turn comes when the model has stopped.
    client.complete(&question("Go on.").max_tokens(1)).await.unwrap();
    assert!(client.decoded_tokens() < 30_000, "{}", client.decoded_tokens());
}

#[tokio::test]
async fn a_prompt_that_nobody_waits_for_is_broken_off() {
    let client = endless(8);
    let long = question(&"hello ".repeat(8_000)).max_tokens(1);
    let tokens = client.count_tokens(&long).await.unwrap().tokens;
    tokio::select! {
        biased;
        whole = client.complete(&long) => panic!("it was not broken off: {whole:?}"),
        () = async { while client.decoded_tokens() == 0 { yield_now().await } } => {}
    }
    client.complete(&question("Go on.").max_tokens(1)).await.unwrap();
    assert!(client.decoded_tokens() < tokens, "{} of {tokens}", client.decoded_tokens());
}

#[tokio::test]
async fn two_callers_at_once_are_answered_one_after_the_other() {
    let client = open(&TinyModel::chain());
    let (first, second) = (question("Is it warm?"), question("Is it cold?"));
    let stream = async { rest(client.stream(&second).await.unwrap()).await };
    let (whole, streamed) = tokio::join!(client.complete(&first), stream);
    assert_eq!((whole.unwrap().content().as_str(), streamed.as_str()), (LOCAL_TEXT, LOCAL_TEXT));
}

#[tokio::test]
async fn as_many_calls_wait_as_may_and_one_that_gives_up_leaves_its_place() {
    let client = endless(1);
    let request = question("Go on.").max_tokens(1);
    let running = client.stream(&question("Go on.")).await.unwrap();
    let at_once = Duration::ZERO;
    let mut waits = client.complete(&request);
    assert!(timeout(at_once, &mut waits).await.is_err(), "it waits");
    let error = client.complete(&request).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::Busy);
    drop(waits);
    let mut waits = client.complete(&request);
    assert!(timeout(at_once, &mut waits).await.is_err(), "it waits");
    drop(running);
    waits.await.unwrap();
}

#[tokio::test]
async fn whoever_has_heard_the_end_can_ask_again_where_nobody_may_wait() {
    let client = open_with(
        &TinyModel::chain(),
        LlamaCppOptions { waiting_calls: 0, ..LlamaCppOptions::default() },
    );
    for _ in 0..200 {
        client.complete(&question("?").max_tokens(1)).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_comes_to_its_end_without_the_client() {
    let client = open(&TinyModel::chain());
    let stream = client.stream(&question("?")).await.unwrap();
    drop(client);
    assert_eq!(rest(stream).await, LOCAL_TEXT);
}
