"""Logs calls as Weave's own write-ahead log does, or as the prototype of its offline mode.

    wal.py HOW CALLS FOLDER SECONDS

HOW: `writer`, `manager` (what the client calls), `each` (the writer, told to flush each
record), `prototype` (gzip with a flush of zlib's after each record, no fsync) or `stream`
(one gzip stream, nothing else: the floor of its bytes). CALLS holds a record of the log on
each line. Ends after the time, or where the calls end. Prints records, seconds, the median
and the 99th percentile in microseconds, CPU seconds, bytes of the files.
"""

import gzip
import json
import os
import sys
import time


def writer(folder, **options):
    from weave.durability.wal_directory_manager import FileWALDirectoryManager
    from weave.durability.wal_writer import JSONLWALWriter

    log = JSONLWALWriter(FileWALDirectoryManager(folder), **options)
    return log.write, log.close


def manager(folder):
    from weave.durability import wal_manager

    wal_manager.WAL_ROOT = folder
    log = wal_manager.WALManager("local", "bench", api_key="key")
    return lambda record: log.write(record["type"], record["req"]), log.close


def prototype(folder, flush=True):
    file = gzip.open(os.path.join(folder, "20260101_0000.jsonl.gz"), "at", encoding="utf-8")

    def write(record):
        data = record["req"].get("start") or record["req"]["end"]
        line = {"type": record["type"], "timestamp": "2026-01-01T00:00:00.000001", "data": data}
        file.write(json.dumps(line) + "\n")
        if flush:
            file.flush()

    return write, file.close


HOW = {
    "writer": writer,
    "manager": manager,
    "each": lambda folder: writer(folder, fsync_batch_size=1),
    "prototype": prototype,
    "stream": lambda folder: prototype(folder, flush=False),
}


def main():
    how, calls, folder, seconds = sys.argv[1:]
    with open(calls, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    write, close = HOW[how](folder)
    took = []
    cpu, began = time.process_time(), time.perf_counter()
    end = began + float(seconds)
    for record in records:
        before = time.perf_counter()
        if before >= end:
            break
        write(record)
        took.append(time.perf_counter() - before)
    close()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    size = sum(
        os.path.getsize(os.path.join(path, name))
        for path, _, names in os.walk(folder)
        for name in names
        if ".jsonl" in name
    )
    took.sort()
    at = lambda share: took[int((len(took) - 1) * share)] * 1e6
    print(len(took), seconds, at(0.5), at(0.99), cpu, size)


main()
