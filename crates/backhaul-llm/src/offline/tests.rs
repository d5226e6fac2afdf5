//! The client with models that do what a test says, on a clock that a test moves.

mod kept;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_sync::{ConnectivityMonitor, ConnectivityOptions};
use futures_core::Stream;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::metadata::{Metadata, Outcome, Source};
use crate::{
    ChatRequest, ChunkStream, CompletionResult, LlmClient, LlmError, LlmErrorKind, LlmFuture,
    Message, ModelCapabilities, StreamChunk,
};

/// What a model does with one call.
#[derive(Debug, Clone)]
enum Act {
    Say(&'static str),
    Fail(LlmError),
    Hang,
    /// Pieces, and then an error.
    Break(Vec<&'static str>, LlmErrorKind),
}

/// A model by a script; the last act is done again and again. Clones are one.
#[derive(Clone)]
struct Model {
    name: &'static str,
    acts: Arc<Mutex<VecDeque<Act>>>,
    asked: Arc<AtomicUsize>,
    /// What a probe finds: none: it cannot be probed.
    is_there: Arc<Mutex<Option<bool>>>,
    seen: Arc<Mutex<Vec<ChatRequest>>>,
}

impl Model {
    fn new(name: &'static str, acts: &[Act]) -> Self {
        let acts = Arc::new(Mutex::new(acts.to_vec().into()));
        let is_there = Arc::new(Mutex::new(Some(false)));
        Self { name, acts, asked: Arc::default(), is_there, seen: Arc::default() }
    }

    fn local() -> Self {
        Self::new("local", &[Act::Say("local")])
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn then(&self, acts: &[Act]) {
        *self.acts.lock().unwrap() = acts.to_vec().into();
    }

    fn is_there(&self, answer: Option<bool>) {
        *self.is_there.lock().unwrap() = answer;
    }

    fn act(&self, request: &ChatRequest) -> Act {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().unwrap().push(request.clone());
        let mut acts = self.acts.lock().unwrap();
        let act = acts.front().unwrap().clone();
        if acts.len() > 1 {
            acts.pop_front();
        }
        act
    }
}

fn chunk(delta: serde_json::Value, finish: Option<&str>) -> StreamChunk {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    StreamChunk::from_json(json!({ "choices": [choice] })).unwrap()
}

fn pieces(texts: &[&str], end: Result<(), LlmErrorKind>) -> Vec<Result<StreamChunk, LlmError>> {
    let mut all = vec![Ok(chunk(json!({ "role": "assistant", "content": "" }), None))];
    all.extend(texts.iter().map(|text| Ok(chunk(json!({ "content": text }), None))));
    all.push(match end {
        Ok(()) => Ok(chunk(json!({}), Some("stop"))),
        Err(kind) => Err(error(kind)),
    });
    all
}

fn error(kind: LlmErrorKind) -> LlmError {
    LlmError::new(kind, "as the test has it")
}

struct Pieces(VecDeque<Result<StreamChunk, LlmError>>);

impl Stream for Pieces {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

impl LlmClient for Model {
    fn name(&self) -> &str {
        self.name
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(async {
            match self.act(request) {
                Act::Say(text) => {
                    let message = json!({ "role": "assistant", "content": text });
                    let choice = json!({ "message": message, "finish_reason": "stop" });
                    let body = json!({ "model": self.name, "choices": [choice] });
                    CompletionResult::from_json(body, Metadata::of_model(self.name))
                }
                Act::Fail(error) => Err(error),
                Act::Break(_, kind) => Err(error(kind)),
                Act::Hang => std::future::pending().await,
            }
        })
    }

    fn stream<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(async {
            let pieces = match self.act(request) {
                Act::Say(text) => pieces(&[text], Ok(())),
                Act::Break(texts, kind) => pieces(&texts, Err(kind)),
                Act::Fail(error) => return Err(error),
                Act::Hang => std::future::pending().await,
            };
            Ok(ChunkStream::new(Pieces(pieces.into()), Metadata::of_model(self.name)))
        })
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        Box::pin(async { Ok(ModelCapabilities::ALL) })
    }

    fn probe(&self) -> LlmFuture<'_, ()> {
        let is_there = *self.is_there.lock().unwrap();
        Box::pin(async move {
            match is_there {
                None => Err(error(LlmErrorKind::Unsupported)),
                Some(false) => Err(error(LlmErrorKind::Unreachable)),
                Some(true) => Ok(()),
            }
        })
    }
}

fn asking() -> Vec<Message> {
    vec![Message::user("Is it warm?")]
}

async fn text(client: &OfflineLlmClient) -> String {
    client.complete(asking()).await.unwrap().content()
}

async fn streamed(client: &OfflineLlmClient) -> (Vec<String>, Option<LlmErrorKind>, Metadata) {
    let mut stream = client.stream(asking()).await.unwrap();
    let mut texts = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => texts.push(chunk.content().to_owned()),
            Err(error) => return (texts, Some(error.kind()), stream.metadata),
        }
    }
    (texts, None, stream.metadata)
}

#[tokio::test(start_paused = true)]
async fn the_primary_answers_while_it_can() {
    let (cloud, local) = (Model::new("cloud", &[Act::Say("cloud")]), Model::local());
    let client = OfflineLlmClient::new(cloud, local.clone());
    let answer = client.complete(asking()).await.unwrap();
    assert_eq!((answer.content().as_str(), answer.metadata.source), ("cloud", Source::Primary));
    assert_eq!((answer.metadata.model.as_str(), &*answer.metadata.reason), ("cloud", ""));
    assert_eq!(answer.metadata.attempts.len(), 1);
    assert_eq!(local.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_the_first_call_alone_finds_out() {
    for act in [Act::Fail(error(LlmErrorKind::Unreachable)), Act::Hang] {
        let cloud = Model::new("cloud", &[act]);
        let client = OfflineLlmClient::new(cloud.clone(), Model::local());
        let began = Instant::now();
        let answer = client.complete(asking()).await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(answer.metadata.source, Source::Fallback);
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(text(&client).await, "local");
        }
        assert_eq!((cloud.asked(), began.elapsed()), (1, Duration::ZERO));
        let answer = client.complete(asking()).await.unwrap();
        let [skipped, answered] = answer.metadata.attempts.as_slice() else { panic!() };
        assert!(matches!(skipped.outcome, Outcome::Skipped { .. }), "{skipped:?}");
        assert_eq!(answered.outcome, Outcome::Answered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_can_be_reached_again_is_asked_after_one_probe() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    text(&client).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(cloud.asked(), 1, "probes are no calls");
    cloud.then(&[Act::Say("cloud")]);
    cloud.is_there(Some(true));
    assert_eq!(text(&client).await, "local");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(text(&client).await, "cloud");
    assert_eq!(client.status()[0].state, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_a_network_costs_one_slow_call_of_fifteen() {
    let cloud = Model::new("cloud", &[Act::Hang]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let mut slow = 0;
    for _ in 0..15 {
        let call = Instant::now();
        assert_eq!(text(&client).await, "local");
        slow += usize::from(call.elapsed() > Duration::from_millis(50));
        tokio::time::sleep_until(call + Duration::from_secs(4)).await;
    }
    assert_eq!((slow, cloud.asked()), (1, 1));
    cloud.then(&[Act::Say("cloud")]);
    cloud.is_there(Some(true));
    // It was there and did not answer: the call after the next probe tries it.
    tokio::time::sleep(OfflineLlmOptions::default().probe_max).await;
    assert_eq!(text(&client).await, "cloud");
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_comes_back_with_the_network_is_looked_at_without_waiting() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let monitor = ConnectivityMonitor::new(ConnectivityOptions::default()).unwrap();
    client.watch(&monitor);
    assert_eq!(text(&client).await, "local");
    monitor.set_offline();
    // Long enough for the longest wait between two looks.
    tokio::time::sleep(Duration::from_secs(100)).await;
    cloud.then(&[Act::Say("cloud")]);
    cloud.is_there(Some(true));
    monitor.set_online();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(text(&client).await, "cloud");
}

#[tokio::test(start_paused = true)]
async fn the_primary_has_no_more_than_half_of_the_callers_patience() {
    for (patience, waited) in [(None, 60.0), (Some(20), 10.0), (Some(600), 60.0)] {
        let client = patient(&Model::new("cloud", &[Act::Hang]));
        let request = ChatRequest::new(asking());
        let request = match patience {
            Some(seconds) => request.patience(Duration::from_secs(seconds)),
            None => request,
        };
        let began = Instant::now();
        assert_eq!(client.complete(request).await.unwrap().content(), "local");
        assert!((began.elapsed().as_secs_f64() - waited).abs() < 0.1, "{patience:?}");
    }
}

/// One that has a minute for a whole answer.
fn patient(cloud: &Model) -> OfflineLlmClient {
    let options =
        OfflineLlmOptions { answer_timeout_seconds: Some(60.0), ..OfflineLlmOptions::default() };
    let builder = OfflineLlmClient::builder(cloud.clone()).fallback(Model::local());
    builder.options(options).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn impatient_callers_shut_the_primary_for_nobody_else() {
    let cloud = Model::new("cloud", &[Act::Hang]);
    let client = patient(&cloud);
    for _ in 0..5 {
        let request = ChatRequest::new(asking()).patience(Duration::from_secs(2));
        assert_eq!(client.complete(request).await.unwrap().content(), "local");
    }
    assert_eq!((cloud.asked(), client.status()[0].state), (5, BreakerState::Closed));
    cloud.then(&[Act::Say("cloud")]);
    assert_eq!(text(&client).await, "cloud");
}

#[tokio::test(start_paused = true)]
async fn a_primary_of_which_callers_in_a_row_give_up_is_left_alone() {
    let cloud = Model::new("cloud", &[Act::Hang]);
    let client = patient(&cloud);
    for patience in [6, 1, 6, 1, 6] {
        let given_up = tokio::time::timeout(Duration::from_secs(patience), text(&client)).await;
        assert!(given_up.is_err(), "{patience}");
    }
    let began = Instant::now();
    assert_eq!(text(&client).await, "local");
    assert_eq!((cloud.asked(), began.elapsed()), (5, Duration::ZERO));
    // The local model may take its time, and be given up.
    let local = Model::new("local", &[Act::Hang]);
    let client = OfflineLlmClient::new(cloud.clone(), local.clone());
    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_secs(20), text(&client)).await;
    }
    assert_eq!(client.status()[1].state, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_there_and_does_not_answer_costs_one_call_now_and_then() {
    let cloud = Model::new("cloud", &[Act::Hang]);
    cloud.is_there(Some(true));
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let began = Instant::now();
    let mut slow = 0;
    while began.elapsed() < Duration::from_secs(300) {
        let call = Instant::now();
        text(&client).await;
        slow += usize::from(call.elapsed() > Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // After 1, 2, 4, 8, 16, 30, 30… seconds.
    assert!((8..=14).contains(&slow), "{slow}");
    assert_eq!(cloud.asked(), slow);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_probed_is_tried_by_one_call_at_a_time() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable)), Act::Hang]);
    cloud.is_there(None);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    text(&client).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let trying = tokio::spawn({
        let client = client.clone();
        async move { text(&client).await }
    });
    tokio::task::yield_now().await;
    for _ in 0..5 {
        assert_eq!(text(&client).await, "local");
    }
    assert_eq!(cloud.asked(), 2);
    assert_eq!(trying.await.unwrap(), "local");
}

#[tokio::test(start_paused = true)]
async fn all_tries_share_one_budget() {
    let failing = LlmError::new(LlmErrorKind::Busy, "oops").with_status(500);
    let cloud = Model::new("cloud", &[Act::Fail(failing.clone()), Act::Hang]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let began = Instant::now();
    let answer = client.complete(asking()).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!((cloud.asked(), answer.metadata.attempts.len()), (2, 3));
    assert_eq!(answer.metadata.reason, "timeout");

    let cloud = Model::new("cloud", &[Act::Fail(failing)]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let began = Instant::now();
    text(&client).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(cloud.asked(), 3, "max_retries are retries after the first try");
    // It is left alone by now, and that needs no second look.
    let began = Instant::now();
    assert_eq!(text(&client).await, "local");
    assert_eq!((cloud.asked(), began.elapsed()), (3, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_for_sure_is_not_asked_twice() {
    let wait = Duration::from_secs(7);
    for failing in [
        LlmError::new(LlmErrorKind::RateLimited, "slow down").with_status(429),
        LlmError::new(LlmErrorKind::Busy, "later").with_status(503).with_retry_after(wait),
        LlmError::new(LlmErrorKind::Busy, "<html>").with_status(502),
        LlmError::new(LlmErrorKind::Credentials, "no such key").with_status(401),
        error(LlmErrorKind::Garbled),
    ] {
        let cloud = Model::new("cloud", &[Act::Fail(failing)]);
        let client = OfflineLlmClient::new(cloud.clone(), Model::local());
        let began = Instant::now();
        assert_eq!(text(&client).await, "local");
        assert_eq!((cloud.asked(), began.elapsed()), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_is_left_alone_as_long_as_its_server_asks() {
    let wait = Duration::from_secs(10);
    for kind in [LlmErrorKind::RateLimited, LlmErrorKind::Busy] {
        let limited = LlmError::new(kind, "slow down").with_retry_after(wait);
        let cloud = Model::new("cloud", &[Act::Fail(limited), Act::Say("cloud")]);
        let client = OfflineLlmClient::new(cloud.clone(), Model::local());
        let ask = |model: &str| client.complete(ChatRequest::new(asking()).model(model));
        assert_eq!(ask("large").await.unwrap().content(), "local");
        let answer = ask("large").await.unwrap();
        assert_eq!((answer.content().as_str(), &*answer.metadata.reason), ("local", kind.name()));
        // Another model of the same server is not meant.
        assert_eq!(ask("small").await.unwrap().content(), "cloud");
        tokio::time::sleep(wait).await;
        assert_eq!(ask("large").await.unwrap().content(), "cloud");
    }
}

#[tokio::test(start_paused = true)]
async fn the_requests_own_fault_goes_back_to_the_caller() {
    for kind in [LlmErrorKind::Invalid, LlmErrorKind::ContextLength, LlmErrorKind::NotFound] {
        let (cloud, local) = (Model::new("cloud", &[Act::Fail(error(kind))]), Model::local());
        let client = OfflineLlmClient::new(cloud, local.clone());
        assert_eq!(client.complete(asking()).await.unwrap_err().kind(), kind);
        assert_eq!(client.stream(asking()).await.unwrap_err().kind(), kind);
        assert_eq!(local.asked(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_taken_is_said_until_it_is() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Credentials))]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    assert_eq!(text(&client).await, "local");
    assert!(client.status()[0].credentials.is_some());
    assert_eq!(client.status()[0].state, BreakerState::Closed, "another key may be taken");
    cloud.then(&[Act::Say("cloud")]);
    text(&client).await;
    assert_eq!(client.status()[0].credentials, None);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_no_trigger_goes_back_to_the_caller() {
    let (cloud, local) =
        (Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Credentials))]), Model::local());
    let mut options = OfflineLlmOptions::default();
    options.fall_back_on.remove(&LlmErrorKind::Credentials);
    let builder = OfflineLlmClient::builder(cloud).fallback(local.clone());
    let client = builder.options(options).build().unwrap();
    let failed = client.complete(asking()).await.unwrap_err();
    assert_eq!((failed.kind(), local.asked()), (LlmErrorKind::Credentials, 0));
}

#[tokio::test(start_paused = true)]
async fn fallbacks_are_asked_in_order_and_all_are_named_where_none_answers() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let near = Model::new("near", &[Act::Fail(error(LlmErrorKind::Busy))]);
    let builder = OfflineLlmClient::builder(cloud).fallback(near).fallback(Model::local());
    let client = builder.build().unwrap();
    let answer = client.complete(asking()).await.unwrap();
    let asked: Vec<_> = answer.metadata.attempts.iter().map(|it| it.client.as_str()).collect();
    assert_eq!(asked, ["cloud", "near", "local"]);

    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let local = Model::new("local", &[Act::Fail(error(LlmErrorKind::Engine))]);
    let failed = OfflineLlmClient::new(cloud, local).complete(asking()).await.unwrap_err();
    assert_eq!(failed.kind(), LlmErrorKind::Unavailable);
    assert!(failed.message().contains("cloud: ") && failed.message().contains("local: "));
    assert_eq!(failed.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_primary_alone_is_not_given_up_after_the_budget() {
    let failing = LlmError::new(LlmErrorKind::Unreachable, "no route").with_status(599);
    let cloud = Model::new("cloud", &[Act::Fail(failing)]);
    let client = OfflineLlmClient::builder(cloud).build().unwrap();
    let failed = client.complete(asking()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.status()), (LlmErrorKind::Unreachable, Some(599)));
    // Nobody else could answer: it is asked again, and its own error is told.
    let failed = client.complete(asking()).await.unwrap_err();
    assert_eq!((failed.status(), client.status()[0].failed), (Some(599), 2));
    let cloud = Model::new("cloud", &[Act::Hang]);
    let client = OfflineLlmClient::builder(cloud).build().unwrap();
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, client.complete(asking())).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_before_its_first_word_is_answered_by_another_model() {
    for act in [
        Act::Break(vec![], LlmErrorKind::BrokenOff),
        Act::Break(vec![""], LlmErrorKind::Busy),
        Act::Fail(error(LlmErrorKind::Unreachable)),
        Act::Hang,
    ] {
        let cloud = Model::new("cloud", &[act]);
        let client = OfflineLlmClient::new(cloud, Model::local());
        let (texts, failed, metadata) = streamed(&client).await;
        assert_eq!((texts.concat().as_str(), failed), ("local", None));
        assert_eq!((metadata.source, &*metadata.model), (Source::Fallback, "local"));
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_first_word_an_error_ends_the_stream_and_nobody_else_is_asked() {
    let act = Act::Break(vec!["It ", "is"], LlmErrorKind::BrokenOff);
    let (cloud, local) = (Model::new("cloud", &[act]), Model::local());
    let client = OfflineLlmClient::new(cloud, local.clone());
    let (texts, failed, metadata) = streamed(&client).await;
    assert_eq!((texts.concat().as_str(), failed), ("It is", Some(LlmErrorKind::BrokenOff)));
    assert_eq!((metadata.source, local.asked()), (Source::Primary, 0));
}

#[tokio::test(start_paused = true)]
async fn streams_that_break_off_again_and_again_have_the_primary_left_alone() {
    let act = Act::Break(vec!["It "], LlmErrorKind::Timeout);
    let cloud = Model::new("cloud", &[act]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    streamed(&client).await;
    let (texts, ..) = streamed(&client).await;
    assert_eq!((texts.concat().as_str(), cloud.asked()), ("local", 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_in_line_is_asked_whatever_became_of_it_before() {
    let gone = [Act::Fail(error(LlmErrorKind::Unreachable))];
    let [cloud, near, local] = ["cloud", "near", "local"].map(|name| Model::new(name, &gone));
    let builder = OfflineLlmClient::builder(cloud.clone()).fallback(near.clone());
    let client = builder.fallback(local.clone()).build().unwrap();
    client.complete(asking()).await.unwrap_err();
    // Somebody starts it, and it is used at once.
    local.then(&[Act::Say("local")]);
    assert_eq!(text(&client).await, "local");
    assert_eq!([cloud.asked(), near.asked(), local.asked()], [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_local_model_answers_one_at_a_time() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let client = OfflineLlmClient::new(cloud, Model::local());
    let first = client.stream(asking()).await.unwrap();
    let second = tokio::spawn({
        let client = client.clone();
        async move { text(&client).await }
    });
    let minute = Duration::from_secs(60);
    tokio::time::sleep(minute).await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap(), "local");
}

#[tokio::test(start_paused = true)]
async fn a_primary_is_asked_nothing_while_the_device_is_offline_on_purpose() {
    let (cloud, local) = (Model::new("cloud", &[Act::Say("cloud")]), Model::local());
    let client = OfflineLlmClient::new(cloud.clone(), local);
    let is_outage = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = Arc::clone(&is_outage);
    client.offline_while(move || {
        let outage = backhaul_sync::PlannedOutage { reason: "a test".to_owned(), left: None };
        switch.load(Ordering::SeqCst).then_some(outage)
    });
    let answer = client.complete(asking()).await.unwrap();
    assert_eq!((answer.content().as_str(), cloud.asked()), ("local", 0));
    let Outcome::Skipped { reason } = &answer.metadata.attempts[0].outcome else { panic!() };
    assert!(reason.contains("a test"), "{reason}");
    assert!(!client.is_primary_asked());
    is_outage.store(false, Ordering::SeqCst);
    assert!(client.is_primary_asked());
    assert_eq!(text(&client).await, "cloud");
}

#[tokio::test(start_paused = true)]
async fn whether_the_primary_is_asked_is_told_when_it_changes() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let mut state = client.primary_state();
    assert!(client.is_primary_asked());
    text(&client).await;
    state.changed().await.unwrap();
    assert!(!client.is_primary_asked());
    // Nobody asks anything, and still it is noticed that it is there again.
    cloud.is_there(Some(true));
    state.changed().await.unwrap();
    assert!(client.is_primary_asked());
    cloud.then(&[Act::Hang]);
    text(&client).await;
    state.changed().await.unwrap();
    assert!(!client.is_primary_asked());
    state.changed().await.unwrap();
    assert_eq!(*state.borrow(), BreakerState::HalfOpen);
    assert!(client.is_primary_asked(), "one call tries it");
}

#[tokio::test(start_paused = true)]
async fn the_primary_is_not_asked_while_a_monitor_says_that_there_is_no_link() {
    let cloud = Model::new("cloud", &[Act::Say("cloud")]);
    let client = OfflineLlmClient::new(cloud, Model::local());
    let monitor = backhaul_sync::ConnectivityMonitor::new(Default::default()).unwrap();
    client.watch(&monitor);
    assert!(client.is_primary_asked(), "nothing is known");
    monitor.set_offline();
    assert!(!client.is_primary_asked());
    monitor.set_online();
    assert!(client.is_primary_asked());
}

#[tokio::test(start_paused = true)]
async fn a_look_finds_out_what_the_first_call_would_pay_for() {
    let cloud = Model::new("cloud", &[Act::Say("cloud")]);
    let client = OfflineLlmClient::new(cloud.clone(), Model::local());
    let mut state = client.primary_state();
    client.look().await;
    assert!(!client.is_primary_asked());
    assert_eq!((text(&client).await.as_str(), cloud.asked()), ("local", 0));
    state.borrow_and_update();
    cloud.is_there(Some(true));
    state.changed().await.unwrap();
    client.look().await;
    assert!(client.is_primary_asked());

    // Who cannot be looked at is asked.
    cloud.is_there(None);
    client.look().await;
    assert_eq!(text(&client).await, "cloud");
    // While the device is offline on purpose nobody is looked at.
    cloud.is_there(Some(false));
    let planned = backhaul_sync::PlannedOutage { reason: "a test".to_owned(), left: None };
    client.offline_while(move || Some(planned.clone()));
    client.look().await;
    assert_eq!(*client.primary_state().borrow(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_the_primarys_goes_to_a_fallback() {
    let cloud = Model::new("cloud", &[Act::Fail(error(LlmErrorKind::Unreachable))]);
    let local = Model::local();
    let client = OfflineLlmClient::new(cloud.clone(), local.clone());
    let mut headers = backhaul_sync::header::HeaderMap::new();
    headers.insert("openai-project", "mine".parse().unwrap());
    let forwarded = crate::Forwarded { api_key: crate::ApiKey::new("sk-mine"), headers };
    client.complete(ChatRequest::new(asking()).forwarding(forwarded.clone())).await.unwrap();
    assert_eq!(cloud.seen.lock().unwrap()[0].forwarded, forwarded);
    assert_eq!(local.seen.lock().unwrap()[0].forwarded, crate::Forwarded::default());
}
