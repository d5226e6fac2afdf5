"""Changes a context as Python does it: a deep copy, and the change in the copy.

    deepcopy.py DOCUMENT

Says `ready`, and then for each line on stdin, `set` or `append`, the microseconds that one
such change took.
"""

import copy
import json
import sys
import time

with open(sys.argv[1], encoding="utf-8") as file:
    current = json.load(file)


def changed(old: dict, change: str, number: int) -> dict:
    new = copy.deepcopy(old)
    if change == "set":
        new["sensors"]["s500"]["celsius"] = number
    else:
        new["events"].append({"id": number, "kind": "reading", "text": "one more", "ok": True})
    return new


print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    began = time.perf_counter()
    current = changed(current, line.strip(), number)
    print((time.perf_counter() - began) * 1e6, flush=True)
