"""Asks a Weave trace server for all that it holds of a project and prints it as JSON in
which everything that differs between two runs of one program has a stable name.

    normal.py URL ENTITY/PROJECT

- An id of a call, a trace or feedback is named by its place in the tree of calls. Calls
  stand in the order of what they say, whatever the order they came in.
- An op is named by its name alone: neither the digest of its version nor its `obj.py`
  counts.
- Times, durations, `attributes.weave`, the text of a traceback, and who wrote are there
  or not, and that is all. Where the rows of a table tell durations, its digests and those
  of what refers to it are not compared either.

Everything else is as the server answers it: digests of objects, tables, rows and files,
aliases, refs and what they lead to.
"""

import base64
import hashlib
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

URL, PROJECT = sys.argv[1:]
KEY = base64.b64encode(b"api:reference-key").decode()
# The server's own limit.
REFS_PER_REQUEST = 1000
ROWS_PER_REQUEST = 1000

REF = re.compile(r"weave:///[^/]+/[^/]+/(op|object|table|call)/[^\s\"\\]+")
TIMES = {"started_at", "ended_at", "created_at"}
DURATIONS = {"latency_ms", "model_latency"}
WRITERS = {"wb_user_id"}


def ask(path: str, body: dict | None = None) -> bytes | None:
    """The answer; None where the server has no such thing."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Basic {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, data, headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise SystemExit(f"{path}: {error.code} {error.read().decode()}") from error


def ask_of_project(path: str, **body) -> bytes | None:
    return ask(path, {"project_id": PROJECT} | body)


def parsed(answer: bytes | None):
    return answer and json.loads(answer)


def strings(value):
    """All strings in a value, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def canonical(value) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def sorted_by_content(values) -> list:
    return sorted(values, key=canonical)


class Names:
    """What stands in place of ids and digests, wherever they stand in a text."""

    def __init__(self):
        self.names: dict[str, str] = {}
        self.pattern = None

    def add(self, found: str | None, name: str) -> None:
        if found:
            self.names.setdefault(found, name)
            self.pattern = None

    def put(self, value):
        if isinstance(value, str):
            if self.pattern is None:
                # The longest first: none of them is cut by another.
                longest_first = sorted(self.names, key=len, reverse=True)
                self.pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
            return self.pattern.sub(lambda found: self.names[found[0]], value)
        if isinstance(value, list):
            return [self.put(inner) for inner in value]
        if isinstance(value, dict):
            return {self.put(key): self.put(inner) for key, inner in value.items()}
        return value


def steady(value, key: str = ""):
    """The value without what no two runs share; ids are left to `Names`."""
    if value is None:
        return None
    if key in TIMES:
        return "(a time)"
    if key in DURATIONS:
        return "(a duration)"
    if key in WRITERS:
        return "(a writer)"
    # A client for Node tells it as plain text.
    if key == "exception" and isinstance(value, str) and value.startswith("{"):
        return json.loads(value) | {"traceback": "(a traceback)"}
    if key == "attributes" and isinstance(value, dict):
        return {
            inner: "(the client)" if inner == "weave" else steady(value[inner]) for inner in value
        }
    if isinstance(value, dict):
        return {inner: steady(value[inner], inner) for inner in value}
    if isinstance(value, list):
        return [steady(inner) for inner in value]
    return value


def trees(calls: list[dict], names: Names) -> list[dict]:
    """The calls as trees in the order of their content, with names for their ids."""
    anonymous = Names()
    children: dict[str | None, list[dict]] = {}
    known = {call["id"] for call in calls}
    for call in calls:
        parent = call["parent_id"]
        children.setdefault(parent if parent in known else None, []).append(call)
        for id in (call["id"], call["trace_id"]):
            anonymous.add(id, "(an id)")

    def tree(call: dict) -> dict:
        under = [tree(child) for child in children.get(call["id"], [])]
        says = canonical(anonymous.put(names.put(steady(call))))
        under.sort(key=lambda child: child["order"])
        return {"call": call, "children": under, "order": [says, [t["order"] for t in under]]}

    def name(tree: dict, place: str) -> None:
        names.add(tree["call"]["id"], f"(call {place})")
        names.add(tree["call"]["trace_id"], f"(trace {place})")
        for number, child in enumerate(tree["children"]):
            name(child, f"{place}.{number}")

    def show(tree: dict) -> dict:
        return names.put(steady(tree["call"])) | {"children": list(map(show, tree["children"]))}

    roots = sorted((tree(call) for call in children.get(None, [])), key=lambda t: t["order"])
    for number, root in enumerate(roots):
        name(root, str(number))
    return [show(root) for root in roots]


def read_table(digest: str) -> list:
    """Digest and value of each row."""
    rows = []
    while True:
        place = {"limit": ROWS_PER_REQUEST, "offset": len(rows)}
        page = parsed(ask_of_project("/table/query", digest=digest, **place))["rows"]
        rows += [[row["digest"], row["val"]] for row in page]
        if len(page) < ROWS_PER_REQUEST:
            return rows


def files_in(value):
    """Name and digest of each file that a value is made of."""
    if isinstance(value, dict):
        if value.get("_type") == "CustomWeaveType":
            yield from value.get("files", {}).items()
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from files_in(inner)


def name_what_differs(objects: list[dict], tables: dict[str, list], files: dict, names: Names):
    for digest, name in files.items():
        if name == "obj.py":
            names.add(digest, "(obj.py)")
    for digest, rows in tables.items():
        for row, value in rows:
            if steady(value) != value:
                names.add(row, "(a row)")
                names.add(digest, "(a table)")
    for object in objects:
        if object["kind"] == "op" or "(a table)" in canonical(names.put(object["val"])):
            names.add(object["digest"], "(a version)")


def file(name: str, digest: str) -> dict:
    content = ask_of_project("/file/content", digest=digest)
    if content is None:
        return {"name": name, "digest": digest, "missing": True}
    sha = hashlib.sha256(content).hexdigest()
    return {"name": name, "digest": digest, "bytes": len(content), "sha256": sha}


def read_refs(refs: list[str]) -> dict:
    """What refs lead to. One that leads nowhere fails all that are asked for with it."""
    if len(refs) > REFS_PER_REQUEST:
        return read_refs(refs[:REFS_PER_REQUEST]) | read_refs(refs[REFS_PER_REQUEST:])
    answer = parsed(ask("/refs/read_batch", {"refs": refs}))
    if answer is not None:
        return dict(zip(refs, answer["vals"], strict=True))
    if len(refs) == 1:
        return {refs[0]: "(nothing)"}
    half = len(refs) // 2
    return read_refs(refs[:half]) | read_refs(refs[half:])


def main() -> None:
    calls = [json.loads(line) for line in ask_of_project("/calls/stream_query").splitlines()]
    project = urllib.parse.quote(PROJECT, safe="")
    tags = parsed(ask(f"/tags?project_id={project}"))
    # A server that has no tags does not know the question either.
    and_tags = {} if tags is None else {"include_tags_and_aliases": True}
    objects = parsed(ask_of_project("/objs/query", **and_tags))["objs"]
    feedback = parsed(ask_of_project("/feedback/query"))["result"]
    everything = [calls, objects, feedback]

    found = {(ref[0], ref[1]) for text in strings(everything) for ref in REF.finditer(text)}
    digests = sorted({ref.split("/")[6] for ref, kind in found if kind == "table"})
    tables = {digest: read_table(digest) for digest in digests}
    values = read_refs(sorted(ref for ref, kind in found if kind in ("op", "object")))
    files = {digest: name for name, digest in files_in([everything, list(values.values())])}

    names = Names()
    name_what_differs(objects, tables, files, names)
    roots = trees(calls, names)
    for item in feedback:
        names.add(item["id"], "(an id)")

    kept_files = [file(name, digest) for digest, name in files.items() if name != "obj.py"]
    normal = {
        "calls": roots,
        "count": parsed(ask_of_project("/calls/query_stats"))["count"],
        "objects": sorted_by_content(names.put(steady(object)) for object in objects),
        "tables": sorted_by_content(names.put(steady([*item])) for item in tables.items()),
        "files": sorted_by_content(kept_files),
        "feedback": sorted_by_content(names.put(steady(item)) for item in feedback),
        "refs": names.put(steady(values)),
        "tags": tags,
        "aliases": parsed(ask(f"/aliases?project_id={project}")),
    }
    json.dump(normal, sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    print()


main()
