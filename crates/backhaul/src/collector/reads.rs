//! What clients read.
//!
//! The real server answers where it can be reached and has all that was logged here: it knows
//! what others logged too. Otherwise the folder answers, and what is not in it is asked of the
//! server after all.

use std::iter::Peekable;

use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use backhaul_sync::Url;
use backhaul_weave::{Calls, Kind, ProjectId, Reads, TraceError};
use serde_json::{Map, Value};

use super::answers::{self, bad, refusal};
use super::asked::Asked;
use super::{WeaveCollector, lines};
use crate::intake::Refusal;

/// What the folder answers to a question.
pub(super) enum Found {
    Json(Value),
    /// One a line, each read when it is its turn.
    Calls(Box<Peekable<Calls>>),
    /// One a line.
    Rows(Vec<Value>),
    Bytes(Vec<u8>),
}

/// Answers a question from the folder. Blocks.
pub(super) type Read = fn(&Reads, &Value) -> Result<Found, TraceError>;

pub(super) fn calls(reads: &Reads, question: &Value) -> Result<Found, TraceError> {
    let mut calls = reads.calls_stream_query(question)?.peekable();
    // What goes wrong at once is told as such.
    match calls.next_if(Result::is_err) {
        Some(Err(error)) => Err(error),
        _ => Ok(Found::Calls(Box::new(calls))),
    }
}

pub(super) fn table_rows(reads: &Reads, question: &Value) -> Result<Found, TraceError> {
    reads.table_query_stream(question).map(Found::Rows)
}

impl WeaveCollector {
    /// Answers a question, by the server or from the folder.
    ///
    /// # Errors
    /// Those of the folder, where the server has no answer either.
    pub(super) async fn look_up(&self, asked: Asked, read: Read) -> Result<Response, Refusal> {
        let (collector, mut asked) = (self.clone(), asked);
        let (question, is_all_there, asked) = self
            .intake()
            .work(move || {
                let question = collector.question(&mut asked)?;
                let is_all_there = collector.is_all_there(&question);
                Ok::<_, Refusal>((question, is_all_there, asked))
            })
            .await??;
        if is_all_there && let Some(answer) = self.of_server(&asked).await {
            return Ok(answer);
        }
        let reads = self.reads().clone();
        let found = self
            .intake()
            .work(move || {
                let mut found = read(&reads, &question).map_err(|error| refusal(&error))?;
                Ok((found.is_empty(), found))
            })
            .await?;
        match found {
            Ok((false, found)) => found.into_response(),
            Ok((true, nothing)) => match self.of_server(&asked).await {
                Some(answer) => Ok(answer),
                None => nothing.into_response(),
            },
            Err(refusal) => self.of_server(&asked).await.ok_or(refusal),
        }
    }

    /// What the server answers, unless it refuses.
    pub(super) async fn of_server(&self, asked: &Asked) -> Option<Response> {
        let answer = self.upstream().pass(asked).await.ok()?;
        answer.status().is_success().then_some(answer)
    }

    /// The body of a question, or what stands in its address. Blocks.
    pub(super) fn question(&self, asked: &mut Asked) -> Result<Value, Refusal> {
        if asked.method == Method::GET {
            let address = Url::parse("http://collector").and_then(|base| {
                base.join(asked.uri.path_and_query().map_or("", |path| path.as_str()))
            });
            let address = address.map_err(|error| bad(format!("the address: {error}")))?;
            let pairs = address.query_pairs();
            let fields = pairs.map(|(name, text)| (name.into_owned(), text.into_owned().into()));
            return Ok(Value::Object(fields.collect::<Map<_, _>>()));
        }
        let body = asked.json(self.intake())?;
        backhaul_json::from_slice(body.as_bytes())
            .map_err(|error| bad(format!("the body: {error}")))
    }

    /// Whether the server can be reached, as far as is known, and everything of the project
    /// that is asked about is delivered. Blocks.
    fn is_all_there(&self, question: &Value) -> bool {
        let project = question["project_id"].as_str();
        let project = project.and_then(|name| name.parse::<ProjectId>().ok());
        self.upstream().is_reachable() && project.is_some_and(|project| self.is_delivered(&project))
    }

    fn is_delivered(&self, project: &ProjectId) -> bool {
        Kind::ALL.into_iter().all(|kind| match self.server().spool(project, kind) {
            Ok(Some(spool)) => spool.status().is_ok_and(|status| status.books.pending == 0),
            Ok(None) => true,
            Err(_) => false,
        })
    }
}

impl Found {
    /// Whether the folder had nothing to say.
    fn is_empty(&mut self) -> bool {
        match self {
            // What was asked for stands first.
            Self::Json(answer) => match answer.as_object().and_then(|it| it.values().next()) {
                Some(Value::Array(items)) => items.is_empty(),
                Some(Value::Number(count)) => count.as_u64() == Some(0),
                Some(Value::Null) | None => true,
                Some(_) => false,
            },
            Self::Calls(calls) => calls.peek().is_none(),
            Self::Rows(rows) => rows.is_empty(),
            Self::Bytes(_) => false,
        }
    }

    fn into_response(self) -> Result<Response, Refusal> {
        match self {
            Self::Json(answer) => Ok(answers::held(&answer)),
            Self::Calls(calls) => Ok(lines::answer(calls)),
            Self::Rows(rows) => Ok(lines::answer(rows.into_iter().map(Ok))),
            Self::Bytes(bytes) => {
                let octets = [(header::CONTENT_TYPE, "application/octet-stream")];
                Ok((octets, bytes).into_response())
            }
        }
    }
}
