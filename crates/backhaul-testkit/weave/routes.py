"""The paths that clients 0.52.23 to 0.54.0 write to and read from, on the methods of
weave's store: for versions of weave that have a store and no routes."""

import json

from fastapi import Body, Depends, FastAPI, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from pydantic import BaseModel, ValidationError
from weave.trace_server import trace_server_interface as tsi

# Path, method of the store, its request.
POST = [
    ("/v2/{entity}/{project}/calls/complete", "calls_complete", tsi.CallsUpsertCompleteReq),
    ("/v2/{entity}/{project}/call/start", "call_start_v2", tsi.CallStartV2Req),
    ("/v2/{entity}/{project}/call/end", "call_end_v2", tsi.CallEndV2Req),
    ("/call/upsert_batch", "call_start_batch", tsi.CallCreateBatchReq),
    ("/call/start", "call_start", tsi.CallStartReq),
    ("/call/end", "call_end", tsi.CallEndReq),
    ("/call/update", "call_update", tsi.CallUpdateReq),
    ("/call/read", "call_read", tsi.CallReadReq),
    ("/calls/delete", "calls_delete", tsi.CallsDeleteReq),
    ("/calls/stream_query", "calls_query_stream", tsi.CallsQueryReq),
    ("/calls/query", "calls_query", tsi.CallsQueryReq),
    ("/calls/query_stats", "calls_query_stats", tsi.CallsQueryStatsReq),
    ("/calls/stats", "call_stats", tsi.CallStatsReq),
    ("/calls/usage", "calls_usage", tsi.CallsUsageReq),
    ("/trace/usage", "trace_usage", tsi.TraceUsageReq),
    ("/obj/create", "obj_create", tsi.ObjCreateReq),
    ("/obj/read", "obj_read", tsi.ObjReadReq),
    ("/obj/delete", "obj_delete", tsi.ObjDeleteReq),
    ("/objs/query", "objs_query", tsi.ObjQueryReq),
    ("/table/create", "table_create", tsi.TableCreateReq),
    ("/table/create_from_digests", "table_create_from_digests", tsi.TableCreateFromDigestsReq),
    ("/table/update", "table_update", tsi.TableUpdateReq),
    ("/table/query", "table_query", tsi.TableQueryReq),
    ("/table/query_stream", "table_query_stream", tsi.TableQueryReq),
    ("/table/query_stats", "table_query_stats", tsi.TableQueryStatsReq),
    ("/table/query_stats_batch", "table_query_stats_batch", tsi.TableQueryStatsBatchReq),
    ("/refs/read_batch", "refs_read_batch", tsi.RefsReadBatchReq),
    ("/file/content", "file_content_read", tsi.FileContentReadReq),
    ("/files/content", "file_content_read", tsi.FileContentReadReq),
    ("/feedback/create", "feedback_create", tsi.FeedbackCreateReq),
    ("/feedback/batch/create", "feedback_create_batch", tsi.FeedbackCreateBatchReq),
    ("/feedback/query", "feedback_query", tsi.FeedbackQueryReq),
    ("/feedback/purge", "feedback_purge", tsi.FeedbackPurgeReq),
    ("/feedback/replace", "feedback_replace", tsi.FeedbackReplaceReq),
    ("/feedback/stats", "feedback_stats", tsi.FeedbackStatsReq),
    ("/cost/create", "cost_create", tsi.CostCreateReq),
    ("/cost/query", "cost_query", tsi.CostQueryReq),
    ("/cost/purge", "cost_purge", tsi.CostPurgeReq),
    ("/threads/stream_query", "threads_query_stream", tsi.ThreadsQueryReq),
    ("/objs/{object_id}/versions/{digest}/tags/remove", "obj_remove_tags", tsi.ObjRemoveTagsReq),
    ("/objs/{object_id}/aliases/remove", "obj_remove_aliases", tsi.ObjRemoveAliasesReq),
]
PUT = [
    ("/objs/{object_id}/versions/{digest}/tags", "obj_add_tags", tsi.ObjAddTagsReq),
    ("/objs/{object_id}/aliases", "obj_set_aliases", tsi.ObjSetAliasesReq),
]
GET = [
    ("/tags", "tags_list", tsi.TagsListReq),
    ("/aliases", "aliases_list", tsi.AliasesListReq),
]


async def asked(request: Request) -> dict:
    """All that a request says: in its path, its query and its body, which is JSON
    whatever its Content-Type."""
    body = await request.body()
    return request.path_params | dict(request.query_params) | (json.loads(body) if body else {})


def answer(result) -> Response:
    if isinstance(result, list):
        return Response("".join(result), media_type="application/jsonl")
    if isinstance(result, tsi.FileContentReadRes):
        return Response(result.content, media_type="application/octet-stream")
    return Response(result.model_dump_json(), media_type="application/json")


def endpoint(store, method: str, model: type[BaseModel]):
    def handle(asked: dict = Depends(asked)) -> Response:
        # Newer clients say more than this version knows.
        return answer(getattr(store, method)(model.model_validate(asked, extra="ignore")))

    return handle


def add(app: FastAPI, store, info: dict) -> None:
    for method, table in [("POST", POST), ("PUT", PUT), ("GET", GET)]:
        for path, name, model in table:
            app.add_api_route(path, endpoint(store, name, model), methods=[method])
    add_service(app, store, info)
    add_files(app, store)
    add_spans(app, store)

    @app.exception_handler(ValidationError)
    def not_understood(request: Request, error: ValidationError):
        detail = error.errors(include_url=False, include_context=False)
        return JSONResponse({"detail": detail}, status_code=422)


def add_service(app: FastAPI, store, info: dict) -> None:
    @app.get("/server_info")
    def server_info():
        return info

    @app.get("/health")
    def health():
        return {"status": "ok"}

    @app.post("/service/projects_info")
    def projects_info(asked: dict = Depends(asked)):
        return store.projects_info(asked["project_ids"])


def add_files(app: FastAPI, store) -> None:
    @app.post("/file/create")
    @app.post("/files/create")
    def file_create(
        file: UploadFile, project_id: str = Form(), expected_digest: str | None = Form(None)
    ):
        request = tsi.FileCreateReq(
            project_id=project_id,
            name=file.filename,
            content=file.file.read(),
            expected_digest=expected_digest,
        )
        return answer(store.file_create(request))


def add_spans(app: FastAPI, store) -> None:
    @app.post("/otel/v1/traces")
    def otel_export(request: Request, body: bytes = Body(media_type="application/x-protobuf")):
        project_id = request.headers["project_id"]
        entity, project = project_id.split("/")
        spans = [
            tsi.ProcessedResourceSpans(
                entity=entity, project=project, run_id=None, resource_spans=resource_spans
            )
            for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans
        ]
        store.otel_export(tsi.OTelExportReq(processed_spans=spans, project_id=project_id))
        done = ExportTraceServiceResponse().SerializeToString()
        return Response(done, media_type="application/x-protobuf")
