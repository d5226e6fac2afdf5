# Writes files as the prototype of Weave's offline mode did: a GzipFile opened for appending,
# one line and a flush per record, no lock, no fsync.
#
#   prototype.py threads PATH COUNT     four threads that share one file object
#   prototype.py append PATH FROM TO    one process; a line on stdout after each record
import gzip
import json
import sys
import threading


def record(number):
    data = {"id": f"{number:08d}", "inputs": {"x": number, "text": "sensor " * (number % 17)}}
    return json.dumps({"type": "call_start", "timestamp": "2026-01-01T00:00:00.000001", "data": data})


def append(path, numbers, told=None):
    with gzip.open(path, "at", encoding="utf-8") as file:
        for number in numbers:
            file.write(record(number) + "\n")
            file.flush()
            if told:
                print(number, file=told, flush=True)


mode, path, *rest = sys.argv[1:]
if mode == "append":
    append(path, range(int(rest[0]), int(rest[1])), sys.stdout)
else:
    count = int(rest[0])
    with gzip.open(path, "at", encoding="utf-8") as file:

        def write(first):
            for number in range(first, count, 4):
                try:
                    file.write(record(number) + "\n")
                    file.flush()
                except Exception:
                    pass  # as the prototype: nothing is said

        threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
