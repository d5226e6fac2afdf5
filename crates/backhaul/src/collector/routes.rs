//! What the collector answers to which request.

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};

use super::asked::Asked;
use super::reads::Found::{Bytes, Json};
use super::reads::Read;
use super::{
    WeaveCollector, calls, costs, feedback, files, graphql, objects, reads, refs, service_info,
    spans, tables,
};
use crate::intake::Refusal;

/// Stores what a request says. Blocks until that is durable.
type Write = fn(&WeaveCollector, &mut Asked) -> Result<Response, Refusal>;

/// The first parts of the paths that Weave's trace server has. What is asked for at one of
/// them and not known here is the real server's to answer.
const FAMILIES: &[&str] = &[
    "actions",
    "agents",
    "aliases",
    "annotation_queue",
    "annotation_queues",
    "call",
    "calls",
    "completions",
    "cost",
    "dataset_sources",
    "evaluations",
    "feedback",
    "file",
    "files",
    "geolocate",
    "image",
    "obj",
    "objs",
    "otel",
    "project",
    "refs",
    "service",
    "table",
    "tags",
    "threads",
    "trace",
];

/// All that a collector can be asked for. What it does not know is answered by its fallback.
pub(crate) fn router(collector: WeaveCollector) -> Router {
    let below_traces = trace_routes().fallback(pass);
    trace_routes()
        .route("/graphql", post(graphql::answer))
        .nest("/traces", below_traces)
        .fallback(pass_what_is_weaves)
        .with_state(collector)
}

fn trace_routes() -> Router<WeaveCollector> {
    Router::new()
        .route("/health", get(service_info::health))
        .route("/server_info", get(service_info::server_info))
        .route("/service/projects_info", post(service_info::projects_info))
        .route("/v2/{entity}/{project}/calls/complete", write(calls::complete))
        .route("/v2/{entity}/{project}/call/start", write(calls::start))
        .route("/v2/{entity}/{project}/call/end", write(calls::end))
        .route("/call/upsert_batch", write(calls::upsert_batch))
        .route("/call/start", write(calls::start))
        .route("/call/end", write(calls::end))
        .route("/call/update", write(calls::update))
        .route("/calls/delete", write(calls::delete))
        .route("/obj/create", write(objects::create))
        .route("/obj/delete", write(objects::delete))
        .route("/objs/{object_id}/versions/{digest}/tags", put_write(objects::tag))
        .route("/objs/{object_id}/aliases", put_write(objects::alias))
        .route("/table/create", write(tables::create))
        .route("/table/create_from_digests", write(tables::create_of_rows))
        .route("/table/update", write(tables::update))
        .route("/file/create", write(files::create))
        .route("/files/create", write(files::create))
        .route("/feedback/create", write(feedback::create))
        .route("/feedback/batch/create", write(feedback::create_batch))
        .route("/feedback/purge", write(feedback::purge))
        .route("/feedback/replace", write(feedback::replace))
        .route("/cost/create", write(costs::create))
        .route("/otel/v1/traces", write(spans::export))
        .route("/otel/v1/trace", write(spans::export))
        .route("/agents/otel/v1/traces", write(spans::export))
        .route("/calls/stream_query", read(reads::calls))
        .route("/calls/query_stats", read(|reads, asked| reads.calls_query_stats(asked).map(Json)))
        .route("/call/read", read(|reads, asked| reads.call_read(asked).map(Json)))
        .route("/obj/read", read(|reads, asked| reads.obj_read(asked).map(Json)))
        .route("/objs/query", read(|reads, asked| reads.objs_query(asked).map(Json)))
        .route("/tags", get_read(|reads, asked| reads.tags(asked).map(Json)))
        .route("/aliases", get_read(|reads, asked| reads.aliases(asked).map(Json)))
        .route("/table/query", read(|reads, asked| reads.table_query(asked).map(Json)))
        .route("/table/query_stream", read(reads::table_rows))
        .route("/table/query_stats", read(|reads, asked| reads.table_query_stats(asked).map(Json)))
        .route(
            "/table/query_stats_batch",
            read(|reads, asked| reads.table_query_stats_batch(asked).map(Json)),
        )
        .route("/refs/read_batch", post(refs::read_batch))
        .route("/file/content", read(|reads, asked| reads.file_content(asked).map(Bytes)))
        .route("/files/content", read(|reads, asked| reads.file_content(asked).map(Bytes)))
        .route("/feedback/query", read(|reads, asked| reads.feedback_query(asked).map(Json)))
}

fn write(write: Write) -> MethodRouter<WeaveCollector> {
    post(move |collector, places, request| take(collector, places, request, write))
}

fn put_write(write: Write) -> MethodRouter<WeaveCollector> {
    put(move |collector, places, request| take(collector, places, request, write))
}

fn read(read: Read) -> MethodRouter<WeaveCollector> {
    post(move |collector, request| look_up(collector, request, read))
}

fn get_read(read: Read) -> MethodRouter<WeaveCollector> {
    get(move |collector, request| look_up(collector, request, read))
}

async fn look_up(
    State(collector): State<WeaveCollector>,
    request: Request,
    read: Read,
) -> Result<Response, Refusal> {
    match Asked::receive(&collector, request).await {
        Ok(asked) => collector.look_up(asked, read).await,
        Err(refused) => Ok(refused),
    }
}

async fn take(
    State(collector): State<WeaveCollector>,
    places: RawPathParams,
    request: Request,
    write: Write,
) -> Result<Response, Refusal> {
    let mut asked = match Asked::receive(&collector, request).await {
        Ok(asked) => asked,
        Err(refused) => return Ok(refused),
    };
    asked.set_places(&places);
    let shared = collector.clone();
    collector.intake().work(move || write(&shared, &mut asked)).await?
}

/// Has the real server answer.
async fn pass(
    State(collector): State<WeaveCollector>,
    request: Request,
) -> Result<Response, Refusal> {
    match Asked::receive(&collector, request).await {
        Ok(asked) => collector.upstream().pass(&asked).await,
        Err(refused) => Ok(refused),
    }
}

/// Has the real server answer where it is Weave's to answer: at `/` there are others.
async fn pass_what_is_weaves(
    collector: State<WeaveCollector>,
    request: Request,
) -> Result<Response, Refusal> {
    let mut parts = request.uri().path().split('/').skip(1);
    let is_weaves = match parts.next() {
        // Of a project, and not a later version of something else.
        Some("v2") => parts.nth(2).is_some(),
        family => family.is_some_and(|family| FAMILIES.contains(&family)),
    };
    match is_weaves {
        true => pass(collector, request).await,
        false => Err(Refusal::not_found(request.uri())),
    }
}
