//! An answer of a server.

use backhaul_sync::header::{CONTENT_TYPE, HeaderMap};
use backhaul_sync::{Answer, Incoming};
use bytes::Bytes;
use serde_json::Value;

use super::MOST_ANSWER_BYTES;
use super::failure;
use super::remarks::remarks;
use super::secrets::Secrets;
use crate::clocks::Running;
use crate::error::{LlmError, LlmErrorKind};

/// The longest answer that is read where it is none of success.
const MOST_ERROR_BYTES: usize = 64 << 10;

/// An answer of success that is being read. Dropping it breaks the request off.
#[derive(Debug)]
pub struct RawReply {
    /// The HTTP status, 2xx.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    name: String,
    incoming: Incoming,
    running: Running,
    secrets: Secrets,
}

impl RawReply {
    pub(super) async fn of(
        name: String,
        mut incoming: Incoming,
        running: Running,
        secrets: Secrets,
    ) -> Result<Self, LlmError> {
        let is_success = (200..300).contains(&incoming.status);
        if !is_success || is_page(&incoming.headers) {
            let status = incoming.status;
            let headers = incoming.headers.clone();
            let body = incoming.whole(MOST_ERROR_BYTES);
            // Whoever breaks off its error has said the status all the same.
            let whole = running.piece(async { Ok(body.await) }).await.ok().and_then(Result::ok);
            let body = whole.map(|answer| answer.body).unwrap_or_default();
            let answer = Answer { status, headers, body };
            return Err(failure::error_of(&name, &answer, &secrets));
        }
        let headers = std::mem::take(&mut incoming.headers);
        Ok(Self { status: incoming.status, headers, name, incoming, running, secrets })
    }

    /// The next piece of the body, as it comes. `None`: that was all.
    ///
    /// # Errors
    /// [`LlmErrorKind::BrokenOff`] and [`LlmErrorKind::Timeout`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, LlmError> {
        let Self { incoming, running, name, .. } = self;
        let piece = running.piece(async {
            incoming.piece().await.map_err(|error| {
                let message = format!("the answer of {name} broke off: {}", error.reason());
                LlmError::new(LlmErrorKind::BrokenOff, message)
            })
        });
        piece.await.map_err(|error| match error.kind() {
            LlmErrorKind::Timeout => {
                let message = format!("the answer of {name} broke off: {}", error.message());
                LlmError::new(LlmErrorKind::Timeout, message)
            }
            _ => error,
        })
    }

    /// Reads the whole answer as JSON.
    ///
    /// # Errors
    /// As for [`piece`](Self::piece); [`LlmErrorKind::Garbled`] where it is none, and what an
    /// error in its place says.
    pub async fn json(mut self) -> Result<Value, LlmError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(&piece);
            if body.len() > MOST_ANSWER_BYTES {
                let most = MOST_ANSWER_BYTES;
                return Err(self.garbled(&format!("is longer than {most} bytes")));
            }
        }
        if body.is_empty() {
            return Err(self.garbled("is empty: expected JSON"));
        }
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|error| self.garbled(&format!("is no JSON: {error}")))?;
        match answer.get("error") {
            Some(error) if !error.is_null() && answer.get("choices").is_none() => {
                Err(self.error_in_band(&answer))
            }
            _ => Ok(answer),
        }
    }

    /// What the server says of its answer beside it: the request's id, rate limits.
    pub fn remarks(&self) -> HeaderMap {
        remarks(&self.headers)
    }

    /// Says that the model has said something: from then on the clocks are those between two
    /// pieces.
    pub fn has_spoken(&mut self) {
        self.running.has_spoken();
    }

    /// The server did not answer as one of its sort does.
    pub(crate) fn garbled(&self, what: &str) -> LlmError {
        self.error(LlmErrorKind::Garbled, what)
    }

    /// An error of a kind, about the answer.
    pub(crate) fn error(&self, kind: LlmErrorKind, what: &str) -> LlmError {
        LlmError::new(kind, format!("the answer of {} {what}", self.name))
    }

    /// The error that the server says in the place of an answer, classified.
    pub fn error_in_band(&self, said: &Value) -> LlmError {
        let said = self.secrets.struck_out(said.to_string().as_bytes()).into_owned();
        failure::in_band_error(&self.name, &said).with_remarks(self.remarks())
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/html"))
}
