//! Earlier answers of the primary, for when no model answers.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::api_key::ApiKey;
use crate::completion::CompletionResult;
use crate::finish_reason::FinishReason;
use crate::metadata::{Metadata, Source};
use crate::request::{ChatRequest, Forwarded};

/// That of the files, which `docs/format.md` describes.
const FORMAT: u64 = 1;
/// What of a request has no part in its answer.
const NOT_COMPARED: [&str; 2] = ["stream", "stream_options"];
/// Headers that say on whose account a request is.
const ACCOUNT: [&str; 2] = ["openai-organization", "openai-project"];

/// Earlier answers of the primary, kept as files in a folder of their own, so that they outlive
/// the process. They are given again, marked with their age, where no model answers the very same
/// request ([`OfflineLlmClient::keep_answers`](crate::OfflineLlmClient::keep_answers)).
///
/// Requests are the same when their JSON is, but for the order of fields, `stream` and
/// `stream_options`, and when they are on the same account: the caller's own key, organization
/// and project, where he [forwards](crate::Forwarded) them. None of these is in a file, nor is
/// the request. Whole answers alone are kept, and no refusals.
#[derive(Debug)]
pub struct AnswerCache {
    folder: PathBuf,
    most_bytes: u64,
    max_age: Duration,
    /// What the files come to, or more. Who holds it writes.
    bytes: Mutex<u64>,
}

impl AnswerCache {
    /// A cache in a folder, which is made where it is not there, for its owner alone. Past
    /// `most_bytes` the oldest answers go.
    ///
    /// # Errors
    /// Where the folder cannot be made or read.
    pub fn open(
        folder: impl Into<PathBuf>,
        most_bytes: u64,
        max_age: Duration,
    ) -> io::Result<Self> {
        let folder = folder.into();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        let bytes = files(&folder)?.iter().map(|file| file.bytes).sum::<u64>();
        Ok(Self { folder, most_bytes, max_age, bytes: Mutex::new(bytes) })
    }

    /// Keeps an answer of the primary, where it is worth it.
    pub(super) fn keep(
        &self,
        key: &str,
        answer: &CompletionResult,
        now: SystemTime,
    ) -> io::Result<()> {
        if matches!(answer.finish_reason(), None | Some(FinishReason::ContentFilter)) {
            return Ok(());
        }
        let at = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let kept = json!({
            "format": FORMAT, "key": key, "at": at, "model": answer.metadata.model, "answer": answer.body(),
        });
        let text = kept.to_string();
        let bytes = text.len() as u64;
        if bytes > self.most_bytes {
            return Ok(());
        }
        let mut all = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        // Whole or not at all, and for its owner alone.
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        let path = self.path(key);
        file.persist(&path)?;
        *all += bytes;
        if *all > self.most_bytes {
            *all = self.make_room(&path)?;
        }
        Ok(())
    }

    /// The answer to the same request, not older than it may be.
    pub(super) fn find(&self, key: &str, now: SystemTime) -> Option<CompletionResult> {
        let path = self.path(key);
        let text = fs::read(&path).ok()?;
        let Some((at, model, answer)) = read(&text, key) else {
            tracing::warn!(path = %path.display(), "a kept answer cannot be read, and is left out");
            return None;
        };
        // One of the future: the clock was set back, and its age is not known.
        let age = now.duration_since(UNIX_EPOCH + at).ok().filter(|age| *age <= self.max_age)?;
        let metadata =
            Metadata { source: Source::Cache, age: Some(age), ..Metadata::of_model(model) };
        CompletionResult::from_json(answer, metadata).ok()
    }

    /// Removes the oldest, but for one. Some more than it takes, as all files are looked at.
    /// Returns what is left.
    fn make_room(&self, but: &Path) -> io::Result<u64> {
        let mut files = files(&self.folder)?;
        files.sort_by_key(|file| file.written);
        let mut left = files.iter().map(|file| file.bytes).sum::<u64>();
        if left > self.most_bytes {
            let enough = self.most_bytes / 8 * 7;
            for file in files.iter().filter(|file| file.path != but) {
                if left <= enough {
                    break;
                }
                // Another process may have been faster.
                let _ = fs::remove_file(&file.path);
                left -= file.bytes;
            }
        }
        Ok(left)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

/// What a request to a model is known by, in letters and digits. Neither it nor the key on whose
/// account it is can be read from that.
pub(super) fn key_of(client: &str, request: &ChatRequest) -> String {
    let mut asked = request.to_json();
    asked.retain(|name, _| !NOT_COMPARED.contains(&name.as_str()));
    let Forwarded { api_key, headers } = &request.forwarded;
    let api_key = api_key.as_ref().map(ApiKey::reveal);
    let account = ACCOUNT.map(|name| headers.get(name).map(|value| value.as_bytes()));
    let canonical = json!([client, api_key, account, sorted(&Value::Object(asked))]).to_string();
    Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let sorted = fields.into_iter().map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(sorted.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// When it was kept, since 1970, the model, and the answer.
fn read(text: &[u8], key: &str) -> Option<(Duration, String, Value)> {
    let mut kept: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let is_of_key = kept.get("format")? == FORMAT && kept.get("key")? == key;
    let at = Duration::from_secs(kept.get("at")?.as_u64()?);
    let model = kept.get("model")?.as_str()?.to_owned();
    let answer = kept.remove("answer")?;
    is_of_key.then_some((at, model, answer))
}

struct FileFacts {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

fn files(folder: &Path) -> io::Result<Vec<FileFacts>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // One that is gone meanwhile is none.
        let Ok(facts) = entry.metadata() else { continue };
        if facts.is_file() {
            let written = facts.modified()?;
            files.push(FileFacts { path: entry.path(), bytes: facts.len(), written });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;

    use backhaul_sync::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::message::Message;

    const DAY: Duration = Duration::from_secs(86_400);

    fn request(text: &str) -> ChatRequest {
        ChatRequest::new(vec![Message::user(text)]).model("large")
    }

    fn answer(text: &str, finish: Value) -> CompletionResult {
        let message = json!({ "role": "assistant", "content": text });
        let body = json!({
            "model": "large-1", "choices": [{ "message": message, "finish_reason": finish }],
        });
        CompletionResult::from_json(body, Metadata::of_model("large-1")).unwrap()
    }

    #[test]
    fn the_same_json_is_the_same_request() {
        let of = |json: Value| key_of("cloud", &ChatRequest::from_json(json).unwrap());
        let first = of(json!({ "messages": [{ "role": "user", "content": "Hi" }], "top_p": 1,
            "tools": [{ "a": 1, "b": 2 }] }));
        let same = of(json!({ "stream": true, "stream_options": {}, "top_p": 1,
            "tools": [{ "b": 2, "a": 1 }], "messages": [{ "content": "Hi", "role": "user" }] }));
        assert_eq!(first, same);
        let another = of(json!({ "messages": [{ "role": "user", "content": "Hi" }], "top_p": 1,
            "tools": [{ "b": 1, "a": 2 }] }));
        assert_ne!(first, another);
        assert_ne!(key_of("cloud", &request("Hi")), key_of("another", &request("Hi")));
    }

    #[test]
    fn what_is_on_another_account_is_another_request() {
        let of = |api_key: Option<&str>, project: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            let project = project.map(HeaderValue::from_static);
            headers.extend(project.map(|it| (HeaderName::from_static("openai-project"), it)));
            let api_key = api_key.and_then(ApiKey::new);
            key_of("cloud", &request("Hi").forwarding(Forwarded { api_key, headers }))
        };
        let accounts = [
            of(None, None),
            of(Some("sk-mine"), None),
            of(Some("sk-yours"), None),
            of(Some("sk-mine"), Some("mine")),
            of(Some("sk-mine"), Some("yours")),
        ];
        assert_eq!(accounts.iter().collect::<BTreeSet<_>>().len(), 5, "{accounts:?}");
        assert_eq!(of(Some("sk-mine"), Some("mine")), accounts[3]);
    }

    #[test]
    fn an_answer_is_given_again_with_its_age_until_it_is_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("answers");
        let cache = AnswerCache::open(&folder, 10_000, DAY).unwrap();
        let (key, now) = (key_of("cloud", &request("Hi")), UNIX_EPOCH + DAY * 10_000);
        cache.keep(&key, &answer("Yes.", json!("stop")), now).unwrap();
        let cache = AnswerCache::open(&folder, 10_000, DAY).unwrap();
        let found = cache.find(&key, now + DAY).unwrap();
        assert_eq!((found.content().as_str(), found.metadata.age), ("Yes.", Some(DAY)));
        assert_eq!((found.metadata.source, &*found.metadata.model), (Source::Cache, "large-1"));
        let second = Duration::from_secs(1);
        assert!(cache.find(&key, now + DAY + second).is_none(), "it is too old");
        assert!(cache.find(&key, now - second).is_none(), "its age is not known");
        assert!(cache.find(&key_of("cloud", &request("Ho")), now).is_none());
    }

    #[test]
    fn refusals_and_what_has_no_end_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = AnswerCache::open(dir.path(), 10_000, DAY).unwrap();
        for finish in [json!("content_filter"), json!(null)] {
            cache.keep("key", &answer("No.", finish), UNIX_EPOCH).unwrap();
        }
        assert!(files(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_file_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let cache = AnswerCache::open(dir.path(), 10_000, DAY).unwrap();
        cache.keep("key", &answer("Yes.", json!("stop")), UNIX_EPOCH).unwrap();
        let whole = fs::read(cache.path("key")).unwrap();
        fs::copy(cache.path("key"), cache.path("another")).unwrap();
        assert!(cache.find("another", UNIX_EPOCH).is_none(), "it is of another request");
        let later =
            String::from_utf8(whole.clone()).unwrap().replace("\"format\":1", "\"format\":2");
        fs::write(cache.path("key"), later).unwrap();
        assert!(cache.find("key", UNIX_EPOCH).is_none(), "it is of a format that is not known");
        for damaged in [&whole[..whole.len() / 2], b"", b"{}", b"\0\0\0"] {
            fs::write(cache.path("key"), damaged).unwrap();
            assert!(cache.find("key", UNIX_EPOCH).is_none());
        }
        cache.keep("key", &answer("Yes.", json!("stop")), UNIX_EPOCH).unwrap();
        assert!(cache.find("key", UNIX_EPOCH).is_some());
    }

    #[test]
    fn the_oldest_go_first_and_the_whole_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let text = "a".repeat(800);
        let cache = AnswerCache::open(dir.path(), 10_000, DAY).unwrap();
        for number in 0..30 {
            let key = format!("key-{number}");
            cache.keep(&key, &answer(&text, json!("stop")), UNIX_EPOCH).unwrap();
            let file = File::options().write(true).open(cache.path(&key)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(number)).unwrap();
            let bytes: u64 = files(dir.path()).unwrap().iter().map(|file| file.bytes).sum();
            assert!(bytes <= 10_000, "{bytes}");
        }
        let is_kept = |number: u64| cache.find(&format!("key-{number}"), UNIX_EPOCH).is_some();
        let kept: Vec<u64> = (0..30).filter(|number| is_kept(*number)).collect();
        assert!(kept.len() >= 7, "{kept:?}");
        assert!(kept.iter().copied().eq(30 - kept.len() as u64..30), "{kept:?}");
        cache.keep("large", &answer(&"a".repeat(20_000), json!("stop")), UNIX_EPOCH).unwrap();
        assert!(cache.find("large", UNIX_EPOCH).is_none() && is_kept(29));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let cache = AnswerCache::open(dir.path().join("answers"), 10_000, DAY).unwrap();
        cache.keep("key", &answer("Yes.", json!("stop")), UNIX_EPOCH).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cache.folder), mode(&cache.path("key"))), (0o700, 0o600));
    }
}
