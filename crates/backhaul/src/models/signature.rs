//! Says in an answer who gave it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use backhaul_llm::{Attempt, Metadata};
use serde_json::{Map, Value};

const SOURCE: HeaderName = HeaderName::from_static("x-backhaul-source");
const MODEL: HeaderName = HeaderName::from_static("x-backhaul-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-backhaul-attempts");
const REASON: HeaderName = HeaderName::from_static("x-backhaul-reason");
const TRIMMED: HeaderName = HeaderName::from_static("x-backhaul-trimmed-tokens");
const AGE: HeaderName = HeaderName::from_static("x-backhaul-age");

/// The key under which a body says the same. Clients keep what they do not know.
const KEY: &str = "backhaul";

/// Who gave an answer, in headers and in its body.
pub(super) struct Signature<'a>(pub(super) &'a Metadata);

impl Signature<'_> {
    pub(super) fn head(&self, headers: &mut HeaderMap) {
        let Metadata { source, model, reason, attempts, trimmed_tokens, age, remarks, .. } = self.0;
        headers.extend(remarks.clone());
        headers.insert(SOURCE, HeaderValue::from_static(source.name()));
        let mut text = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text)
                && !text.is_empty()
            {
                headers.insert(name, value);
            }
        };
        text(MODEL, model);
        text(REASON, reason);
        Self::of_attempts(attempts, headers);
        if *trimmed_tokens > 0 {
            headers.insert(TRIMMED, HeaderValue::from(*trimmed_tokens));
        }
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
    }

    /// How many tries there were.
    pub(super) fn of_attempts(attempts: &[Attempt], headers: &mut HeaderMap) {
        if !attempts.is_empty() {
            headers.insert(ATTEMPTS, HeaderValue::from(attempts.len()));
        }
    }

    pub(super) fn body(&self, body: &mut Map<String, Value>) {
        body.insert(KEY.to_owned(), Value::Object(self.0.to_json()));
    }
}
