# Writes what an agent leaves in the folder of the prototype of Weave's offline mode: each kind
# of record, random digests that nobody writes down, times of day without a zone.
#
#   prototype_folder.py ROOT ENTITY PROJECT CALLS [plain]
#
# Says on stdout, as JSON, what it answered to the agent.
import datetime
import gzip
import json
import os
import secrets
import sys
import time

root, entity, project, calls, *rest = sys.argv[1:]
folder = os.path.join(root, entity, project)
is_plain = rest == ["plain"]


def uuid7():
    bits = time.time_ns() // 1_000_000 << 80 | 7 << 76 | secrets.randbits(12) << 64
    text = f"{bits | 2 << 62 | secrets.randbits(62):032x}"
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])


def write(kind, record):
    os.makedirs(os.path.join(folder, kind), exist_ok=True)
    day = datetime.datetime.now().strftime("%Y%m%d")
    path = os.path.join(folder, kind, f"{day}_0000.jsonl" + ("" if is_plain else ".gz"))
    with (open if is_plain else gzip.open)(path, "at", encoding="utf-8") as file:
        file.write(json.dumps(record, default=str) + "\n")


def log(kind, record_type, data):
    data = {"project_id": f"{entity}/{project}", **data}
    now = datetime.datetime.now().isoformat()
    write(kind, {"type": record_type, "timestamp": now, "data": data})
    digest = uuid7()
    time.sleep(0.003)  # as any agent: something happens between two versions
    return digest


def file(name, content):
    file_id = uuid7()
    os.makedirs(os.path.join(folder, "files"), exist_ok=True)
    with open(os.path.join(folder, "files", file_id), "wb") as raw:
        raw.write(content)
    log("files_metadata", "file_create", {"file_id": file_id, "name": name, "size": len(content)})
    return file_id


def obj(name, value):
    return log("objects", "obj_create", {"object_id": name, "val": value, "builtin_object_class": None})


def ref(path):
    return f"weave:///{entity}/{project}/{path}"


created = datetime.datetime.now()
write("metadata", {"entity": entity, "project": project, "created_at": created.isoformat()})
answers = {"created_at": created.timestamp()}
answers["code"] = file("obj.py", b"def predict(x):\n    return x\n")
answers["image"] = file("image.png", bytes(range(256)) * 20)
op = {"_type": "CustomWeaveType", "weave_type": {"type": "Op"}, "files": {"obj.py": answers["code"]}}
answers["op"] = obj("predict", op)
answers["table"] = log("tables", "table_create", {"rows": [{"q": "one"}, {"q": "two", "n": 2.50}]})
answers["dataset"] = obj("data", {"_type": "Dataset", "rows": ref(f"table/{answers['table']}")})
answers["second"] = obj("data", {"_type": "Dataset", "rows": []})
ids = [f"{number:08d}" for number in range(int(calls))]
for call in ids:
    image = {"_type": "CustomWeaveType", "files": {"image.png": answers["image"]}}
    inputs = {"data": ref(f"object/data:{answers['dataset']}/attr/rows/id/x"), "image": image}
    start = {"id": call, "op_name": ref(f"op/predict:{answers['op']}"), "inputs": inputs}
    log("calls", "call_start", {**start, "started_at": "2026-01-01T00:00:00.000001Z"})
    log("calls", "call_end", {"id": call, "output": 1e16, "ended_at": "2026-01-01T00:00:01Z"})
log("calls", "call_update", {"call_id": ids[0], "display_name": "first"})
# An op that was logged elsewhere: nothing here says what it was.
strange = uuid7()
log("calls", "call_start", {"id": "strange", "op_name": ref(f"op/elsewhere:{strange}")})
log("feedback", "feedback_create", {"id": uuid7(), "weave_ref": ref(f"call/{ids[0]}"), "payload": {"emoji": "x"}})
print(json.dumps(answers))
