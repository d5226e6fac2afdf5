//! The questions as a Weave trace server is asked them: the JSON of a request, and of its
//! answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::calls::{self, or_default, page};
use super::failure::Failure;
use super::feedback::{self, FeedbackQuery};
use super::objects::{self, ObjectRead, ObjectsQuery};
use super::project_reads::View;
use super::tables::{self, TableQuery};
use super::{Calls, CallsQuery, Reads, refs};
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;
use crate::project::ProjectId;

/// Most addresses in one request, as at Weave's server.
const MAX_REFS: usize = 1000;

type Answer<T = Value> = Result<T, TraceError>;

/// The answers of a Weave trace server. Each takes the body of a request and gives that of
/// the answer.
///
/// Fields of a request that are not known are ignored. What is not here is
/// [`NotFound`](TraceErrorKind::NotFound) where the server answers with 404, and a request
/// that makes no sense is [`InvalidInput`](TraceErrorKind::InvalidInput).
impl Reads {
    /// `POST calls/stream_query`: calls, one a line. Costs are not included, whoever asks for
    /// them: what models cost is known to the server.
    ///
    /// # Errors
    /// As for [`calls`](Reads::calls).
    pub fn calls_stream_query(&self, request: &Value) -> Answer<Calls> {
        self.calls(&project_of(request)?, &read(request)?)
    }

    /// `POST calls/query_stats`: `{"count", "has_more", "total_storage_size_bytes"}`.
    ///
    /// # Errors
    /// As for [`calls`](Reads::calls), and for a limit below 1.
    pub fn calls_query_stats(&self, request: &Value) -> Answer {
        let query: CallsQuery = read(request)?;
        if query.limit.is_some_and(|limit| limit < 1) {
            return Err(invalid("the limit must be at least 1"));
        }
        let count = self.count_calls(&project_of(request)?, &query)?;
        let has_more = query.limit.is_some() && count >= page(query.limit, None).1;
        Ok(json!({"count": count, "has_more": has_more, "total_storage_size_bytes": 0}))
    }

    /// `POST call/read`: `{"call": …}`, with `null` for one that is not here.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn call_read(&self, request: &Value) -> Answer {
        #[derive(Deserialize)]
        struct CallRead {
            id: String,
            #[serde(default, deserialize_with = "or_default")]
            include_storage_size: bool,
        }
        let CallRead { id, include_storage_size } = read(request)?;
        let query = CallsQuery { include_storage_size, ..CallsQuery::default() };
        let of_project = self.project(&project_of(request)?);
        let call = of_project.with(&[Kind::Calls], |view| calls::read(view, &id, &query))?;
        Ok(json!({"call": call}))
    }

    /// `POST obj/read`: a version of an object, by its digest, `v0`, `latest` or an alias.
    ///
    /// # Errors
    /// [`NotFound`](TraceErrorKind::NotFound) where it is not here or was deleted.
    pub fn obj_read(&self, request: &Value) -> Answer {
        let query: ObjectRead = read(request)?;
        let object = self.objects(request, |view| objects::read(view, &query))?;
        Ok(json!({"obj": object}))
    }

    /// `POST objs/query`: versions of objects and ops.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn objs_query(&self, request: &Value) -> Answer {
        let query: ObjectsQuery = read(request)?;
        let objects = self.objects(request, |view| objects::query(view, &query))?;
        Ok(json!({"objs": objects}))
    }

    /// `GET tags`: all tags of a project.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn tags(&self, request: &Value) -> Answer {
        Ok(json!({"tags": self.objects(request, |view| objects::words(view, false))?}))
    }

    /// `GET aliases`: all aliases of a project.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn aliases(&self, request: &Value) -> Answer {
        Ok(json!({"aliases": self.objects(request, |view| objects::words(view, true))?}))
    }

    /// `POST table/query`: `{"rows": …}`. A table that is not here has none.
    ///
    /// # Errors
    /// For a field that cannot be sorted by, and where the folder cannot be read.
    pub fn table_query(&self, request: &Value) -> Answer {
        Ok(json!({"rows": self.table_query_stream(request)?}))
    }

    /// `POST table/query_stream`: the same rows, one a line.
    ///
    /// # Errors
    /// As for [`table_query`](Reads::table_query).
    pub fn table_query_stream(&self, request: &Value) -> Answer<Vec<Value>> {
        let query: TableQuery = read(request)?;
        let of_project = self.project(&project_of(request)?);
        of_project.with(&[Kind::Tables], |view| tables::query(view, &query))
    }

    /// `POST table/query_stats`: `{"count": …}`.
    ///
    /// # Errors
    /// [`NotFound`](TraceErrorKind::NotFound) where the table is not here.
    pub fn table_query_stats(&self, request: &Value) -> Answer {
        #[derive(Deserialize)]
        struct Stats {
            digest: String,
        }
        let Stats { digest } = read(request)?;
        match self.counts(request, std::slice::from_ref(&digest))?.first() {
            Some((_, count)) => Ok(json!({"count": count})),
            None => {
                let message = format!("there is no table {digest} here");
                Err(TraceError::new(TraceErrorKind::NotFound, message))
            }
        }
    }

    /// `POST table/query_stats_batch`: `{"tables": [{"count", "digest", …} …]}`.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn table_query_stats_batch(&self, request: &Value) -> Answer {
        #[derive(Deserialize)]
        struct Stats {
            #[serde(default, deserialize_with = "or_default")]
            digests: Vec<String>,
        }
        let counts = self.counts(request, &read::<Stats>(request)?.digests)?.into_iter();
        let tables: Vec<Value> =
            counts.map(|(digest, count)| json!({"count": count, "digest": digest, "storage_size_bytes": null})).collect();
        Ok(json!({"tables": tables}))
    }

    /// `POST refs/read_batch`: what addresses of objects, ops and their parts lead to, in any
    /// project: `{"vals": …}`.
    ///
    /// # Errors
    /// [`NotFound`](TraceErrorKind::NotFound) where one leads to nothing here;
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for more than 1,000, and for one that
    /// is no address of an object.
    pub fn refs_read_batch(&self, request: &Value) -> Answer {
        let found: Answer<Vec<Value>> = self.refs_read_each(request)?.into_iter().collect();
        Ok(json!({"vals": found?}))
    }

    /// The same, with a [`NotFound`](TraceErrorKind::NotFound) in the place of each that leads
    /// to nothing here.
    ///
    /// # Errors
    /// As for [`refs_read_batch`](Reads::refs_read_batch) otherwise.
    pub fn refs_read_each(&self, request: &Value) -> Answer<Vec<Answer>> {
        #[derive(Deserialize)]
        struct Refs {
            refs: Vec<String>,
        }
        let Refs { refs: wanted } = read(request)?;
        if wanted.len() > MAX_REFS {
            return Err(invalid(format!(
                "{} addresses are asked for: at most {MAX_REFS} at a time",
                wanted.len()
            )));
        }
        let kinds = [Kind::Ops, Kind::Objects, Kind::Tables];
        let mut values = BTreeMap::new();
        for (project, addresses) in refs::by_project(&wanted).map_err(Failure::into_error)? {
            let found = self.project(&project).with(&kinds, |view| refs::read(view, &addresses))?;
            values.extend(found);
        }
        Ok(values.into_values().collect())
    }

    /// `POST file/content`: the bytes of a file.
    ///
    /// # Errors
    /// As for [`file`](Reads::file).
    pub fn file_content(&self, request: &Value) -> Answer<Vec<u8>> {
        #[derive(Deserialize)]
        struct Content {
            digest: String,
        }
        self.file(&project_of(request)?, &read::<Content>(request)?.digest)
    }

    /// `POST feedback/query`: `{"result": …}`.
    ///
    /// # Errors
    /// For a query that makes no sense, and where the folder cannot be read.
    pub fn feedback_query(&self, request: &Value) -> Answer {
        let query: FeedbackQuery = read(request)?;
        let of_project = self.project(&project_of(request)?);
        let found = of_project.with(&[Kind::Feedback], |view| feedback::query(view, &query))?;
        Ok(json!({"result": found}))
    }

    fn objects<T>(&self, request: &Value, work: impl Fn(&View) -> super::Result<T>) -> Answer<T> {
        self.project(&project_of(request)?).with(&[Kind::Ops, Kind::Objects], work)
    }

    fn counts(&self, request: &Value, digests: &[String]) -> Answer<Vec<(String, u64)>> {
        let of_project = self.project(&project_of(request)?);
        of_project.with(&[Kind::Tables], |view| tables::counts(view, digests))
    }
}

/// The project that a request is about.
fn project_of(request: &Value) -> Answer<ProjectId> {
    let named = request["project_id"].as_str();
    let named = named.ok_or_else(|| invalid("the request names no project_id"))?;
    named.parse().map_err(|error| invalid(format!("{error}")))
}

fn read<T: DeserializeOwned>(request: &Value) -> Answer<T> {
    T::deserialize(request)
        .map_err(|error| invalid(format!("the request is not understood: {error}")))
}

fn invalid(message: impl Into<String>) -> TraceError {
    TraceError::new(TraceErrorKind::InvalidInput, message)
}
