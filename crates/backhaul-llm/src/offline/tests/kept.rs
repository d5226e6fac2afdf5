//! Answers that are given again in an outage.

use tempfile::TempDir;

use super::*;
use crate::{ApiKey, Forwarded};

const AGE: Duration = Duration::from_secs(3_600);

/// A cloud, a model here, and a client that keeps answers in a folder.
fn keeping(acts: &[Act]) -> (Model, Model, OfflineLlmClient, TempDir) {
    let (cloud, local) = (Model::new("cloud", acts), Model::local());
    let client = OfflineLlmClient::new(cloud.clone(), local.clone());
    let dir = tempfile::tempdir().unwrap();
    client.keep_answers(AnswerCache::open(dir.path(), 1_000_000, AGE).unwrap());
    (cloud, local, client, dir)
}

fn unreachable() -> [Act; 1] {
    [Act::Fail(error(LlmErrorKind::Unreachable))]
}

fn files(dir: &TempDir) -> usize {
    std::fs::read_dir(dir.path()).unwrap().count()
}

#[tokio::test]
async fn an_answer_of_the_primary_is_given_again_where_no_model_answers() {
    let (cloud, local, client, dir) = keeping(&[Act::Say("cloud")]);
    assert_eq!(text(&client).await, "cloud");
    cloud.then(&unreachable());
    assert_eq!(text(&client).await, "local", "a model that answers comes first");
    local.then(&unreachable());
    let answer = client.complete(asking()).await.unwrap();
    assert_eq!((answer.content().as_str(), answer.metadata.source), ("cloud", Source::Cache));
    assert!(answer.metadata.age.is_some_and(|age| age < AGE));
    assert_eq!(answer.metadata.attempts.len(), 2);
    let another = client.complete(vec![Message::user("Another one?")]).await.unwrap_err();
    assert_eq!((another.kind(), another.attempts().len()), (LlmErrorKind::Unavailable, 2));

    // Another process.
    let client = OfflineLlmClient::new(cloud, local);
    client.keep_answers(AnswerCache::open(dir.path(), 1_000_000, AGE).unwrap());
    assert_eq!(client.complete(asking()).await.unwrap().metadata.source, Source::Cache);
}

#[tokio::test]
async fn a_whole_answer_is_given_again_in_pieces_and_streamed_ones_are_not_kept() {
    let (cloud, local, client, dir) = keeping(&[Act::Say("cloud")]);
    assert_eq!(streamed(&client).await.0.concat(), "cloud");
    assert_eq!(files(&dir), 0);
    text(&client).await;
    cloud.then(&unreachable());
    local.then(&unreachable());
    let mut stream = client.stream(asking()).await.unwrap();
    assert_eq!(stream.metadata.source, Source::Cache);
    let said = stream.next().await.unwrap().unwrap();
    assert_eq!((said.content(), said.finish_reason()), ("cloud", None));
    let end = stream.next().await.unwrap().unwrap();
    assert_eq!(
        end.as_json()["choices"][0],
        json!({ "index": 0, "delta": {}, "finish_reason": "stop" })
    );
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn only_an_outage_has_an_answer_given_again() {
    let (cloud, local, client, _dir) = keeping(&[Act::Say("cloud")]);
    text(&client).await;
    local.then(&unreachable());
    for kind in [LlmErrorKind::Invalid, LlmErrorKind::ContextLength] {
        cloud.then(&[Act::Fail(error(kind))]);
        assert_eq!(client.complete(asking()).await.unwrap_err().kind(), kind);
    }
    cloud.then(&[Act::Fail(error(LlmErrorKind::Credentials))]);
    let refused = client.complete(asking()).await.unwrap_err();
    assert_eq!(refused.kind(), LlmErrorKind::Unavailable, "the key may be withdrawn");
    // The local server's key is another matter.
    cloud.then(&unreachable());
    local.then(&[Act::Fail(error(LlmErrorKind::Credentials))]);
    assert_eq!(client.complete(asking()).await.unwrap().metadata.source, Source::Cache);
}

#[tokio::test]
async fn an_answer_of_a_fallback_is_never_kept() {
    let (_, _, client, dir) = keeping(&unreachable());
    assert_eq!(text(&client).await, "local");
    assert_eq!(files(&dir), 0);
}

#[tokio::test]
async fn who_asks_with_another_key_is_not_given_the_answer_and_no_key_is_in_a_file() {
    let (cloud, local, client, dir) = keeping(&[Act::Say("cloud")]);
    let with = |key: &str| {
        let forwarded = Forwarded { api_key: ApiKey::new(key), ..Default::default() };
        client.complete(ChatRequest::new(asking()).forwarding(forwarded))
    };
    with("sk-mine").await.unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let kept = std::fs::read_to_string(file.path()).unwrap();
        assert!(kept.contains("cloud") && !kept.contains("sk-mine"), "{kept}");
        assert!(!file.file_name().to_str().unwrap().contains("sk-mine"));
    }
    cloud.then(&unreachable());
    local.then(&unreachable());
    assert_eq!(with("sk-yours").await.unwrap_err().kind(), LlmErrorKind::Unavailable);
    assert_eq!(client.complete(asking()).await.unwrap_err().kind(), LlmErrorKind::Unavailable);
    assert_eq!(with("sk-mine").await.unwrap().metadata.source, Source::Cache);
}
