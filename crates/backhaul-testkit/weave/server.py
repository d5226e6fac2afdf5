"""A real Weave trace server on the loopback: the SQLite store of the installed weave
behind its own adapter between outer and inner ids, and as much of wandb's own server
(projects, viewer) as a client asks for before it logs.

    server.py DATABASE [--port PORT] [--delay-start SECONDS]

Prints its port when it answers, and ends when stdin is closed. The database is made
where there is none. Any API key is right; none is answered with 401.

weave 0.52.23 has routes of its own; for later versions, which have none, they stand in
`routes.py`.
"""

import alone  # before weave

import argparse
import base64
import binascii
import socket
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from weave.trace_server.errors import handle_server_exception
from weave.trace_server.external_to_internal_trace_server_adapter import (
    ExternalTraceServer,
    IdConverter,
)
from weave.trace_server.sqlite_trace_server import (
    SqliteTraceServer,
    _conn_cursor,
    get_conn_cursor,
)
from weave.trace_server.trace_server_interface import (
    CallCreateBatchRes,
    CallEndRes,
    CallReadReq,
)

USER = "reference-user"
INFO = {"min_required_weave_python_version": "0.0.1", "trace_server_version": "0.0.1"}


class Projects(IdConverter):
    """Inner ids of the hosted service's form, made of the name. The names are kept in
    the database, so that a server that is started again finds them."""

    def __init__(self, database: str):
        self.connection, cursor = get_conn_cursor(database)
        cursor.execute("CREATE TABLE IF NOT EXISTS project_names (id TEXT PRIMARY KEY, name TEXT)")

    def ext_to_int_project_id(self, name: str) -> str:
        number = zlib.crc32(name.encode()) % 10**8
        inner = base64.b64encode(f"ProjectInternalId:{number}".encode()).decode()
        if self.int_to_ext_project_id(inner) is None:
            with self.connection:
                self.connection.execute("INSERT INTO project_names VALUES (?, ?)", (inner, name))
        return inner

    def int_to_ext_project_id(self, inner: str) -> str | None:
        query = "SELECT name FROM project_names WHERE id = ?"
        row = self.connection.execute(query, (inner,)).fetchone()
        return row and row[0]

    def ext_to_int_run_id(self, run_id: str) -> str:
        return run_id

    int_to_ext_run_id = ext_to_int_user_id = int_to_ext_user_id = ext_to_int_run_id


class Adapter(ExternalTraceServer):
    """weave's adapter and what it lacks.

    It would hand batches on with outer ids. And where the end of a call comes before its
    start, as it does now and then from clients that send them apart, the hosted service
    puts the two together, while the SQLite store would lose the end.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.early_ends = {}

    def call_start_batch(self, req):
        one = {"start": self.call_start, "end": self.call_end}
        return CallCreateBatchRes(res=[one[item.mode](item.req) for item in req.batch])

    def call_start(self, req):
        started = super().call_start(req)
        if end := self.early_ends.pop(started.id, None):
            super().call_end(end)
        return started

    def call_end(self, req):
        known = self.call_read(CallReadReq(project_id=req.end.project_id, id=req.end.id))
        if known.call is None:
            self.early_ends[req.end.id] = req
            return CallEndRes()
        return super().call_end(req)


class Store:
    """The store as routes call it, with the adapter's methods.

    All calls are made on one thread, and one that fails is rolled back: the store would
    leave its transaction open, and every other thread would find the database locked.
    What the store streams is answered as lines of JSON.
    """

    def __init__(self, database: str):
        self._database = database
        self._thread = ThreadPoolExecutor(1)
        self._adapter = self._thread.submit(self._open).result()

    def _open(self) -> Adapter:
        store = SqliteTraceServer(self._database)
        store.setup_tables()
        return Adapter(store, Projects(self._database))

    def projects_info(self, names: list[str]) -> list[dict]:
        """What `/service/projects_info` answers."""
        inner = self._adapter._idc.ext_to_int_project_id
        ids = self._thread.submit(lambda: [inner(name) for name in names]).result()
        both = zip(names, ids)
        return [{"external_project_id": name, "internal_project_id": id} for name, id in both]

    def __getattr__(self, method: str):
        return lambda request: self._thread.submit(self._call, method, request).result()

    def _call(self, method: str, request: BaseModel):
        sign(request)
        try:
            answer = getattr(self._adapter, method)(request)
            if isinstance(answer, Iterator):
                return [item.model_dump_json() + "\n" for item in answer]
            return answer
        finally:
            # After a call that succeeded there is nothing to roll back. 0.52.23 opens a
            # connection for each call, and keeps the last one in a variable of the module.
            last = _conn_cursor.get()
            connection = last if type(last) is tuple else get_conn_cursor(self._database)
            connection[0].rollback()


def sign(value) -> None:
    """Says who writes: a server knows it from the key, and the store takes no null."""
    if isinstance(value, list):
        for item in value:
            sign(item)
    elif isinstance(value, BaseModel):
        for field, inner in list(value):
            if field == "wb_user_id":
                value.wb_user_id = USER
            else:
                sign(inner)


def add_trace_routes(app: FastAPI, store: Store) -> None:
    """The official routes where this weave has them, else our own."""
    try:
        from weave.trace_server.reference import generate
    except ModuleNotFoundError:
        import routes

        routes.add(app, store, INFO)
        return

    class Service:
        trace_server_interface = store

        def server_info(self):
            return generate.ServerInfoRes(**INFO)

        def read_root(self):
            return {"status": "ok"}

    dependency = generate.ServiceDependency(service_factory=lambda auth: Service())
    app.include_router(generate.generate_routes(APIRouter(), dependency))
    app.include_router(generate.generate_v2_routes(APIRouter(prefix="/v2"), dependency))


def add_wandb_routes(app: FastAPI) -> None:
    """The GraphQL of wandb's own server, as far as `weave.init` goes."""

    @app.post("/graphql")
    async def graphql(request: Request):
        asked = await request.json()
        variables = asked.get("variables") or {}
        if "upsertModel" in asked["query"]:
            model = {"name": variables["name"], "description": None}
            return {"data": {"upsertModel": {"model": model}}}
        if "project(" in asked["query"]:
            return {"data": {"project": {"name": variables["name"]}}}
        viewer = {"username": USER, "defaultEntity": {"name": "local"}}
        return {"data": {"viewer": viewer}}


def has_key(request: Request) -> bool:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    try:
        user, _, key = base64.b64decode(credentials).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return scheme == "Basic" and user == "api" and key != ""


def make_app(store: Store) -> FastAPI:
    # Clients up to 0.52.42 send JSON without saying so.
    app = FastAPI(strict_content_type=False)

    @app.middleware("http")
    async def guard(request: Request, handle):
        if not has_key(request):
            return JSONResponse({"reason": "no API key"}, status_code=401)
        try:
            return await handle(request)
        except Exception as error:
            refusal = handle_server_exception(error)
            if refusal.status_code >= 500:
                traceback.print_exception(error)
            return JSONResponse(refusal.message, status_code=refusal.status_code)

    add_trace_routes(app, store)
    add_wandb_routes(app)
    return app


class Server(uvicorn.Server):
    """Says its port when it answers, and ends with stdin."""

    def __init__(self, app: FastAPI, listener: socket.socket):
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        self.listener = listener

    async def startup(self, sockets=None):
        await super().startup(sockets)
        threading.Thread(target=self.end_with_stdin, daemon=True).start()
        print(self.listener.getsockname()[1], flush=True)
        sys.stdout = sys.stderr  # the store prints, and nobody reads any more

    def end_with_stdin(self):
        sys.stdin.read()
        self.should_exit = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("database", help="the SQLite file")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--delay-start", type=float, default=0, metavar="SECONDS", help="refuse connections first"
    )
    arguments = parser.parse_args()

    app = make_app(Store(arguments.database))
    time.sleep(arguments.delay_start)
    with socket.create_server(("127.0.0.1", arguments.port)) as listener:
        # Connections inherit it. asyncio would set it for sockets of its own alone, and without
        # it each answer waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Server(app, listener).run(sockets=[listener])


if __name__ == "__main__":
    main()
