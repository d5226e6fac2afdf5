"""Reads the *.jsonl.gz and *.jsonl files of a folder with several readers, and prints
`reader<TAB>n<TAB>id` for each record that one finds.

    readers.py FOLDER python|duckdb|duckdb-auto|polars-scan|polars-stream|polars-schema|polars-read...
"""

import glob
import gzip
import json
import os
import sys


def by_python(pattern):
    for path in sorted(glob.glob(pattern)):
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                record = json.loads(line)
                yield record["n"], record["_backhaul"]["id"]


def by_duckdb(pattern, function):
    import duckdb

    query = f"SELECT n, _backhaul.id FROM {function}(?)"
    return duckdb.connect().execute(query, [pattern]).fetchall()


def by_polars_scan(pattern, engine):
    import polars

    frame = polars.scan_ndjson(pattern)
    chosen = frame.select("n", polars.col("_backhaul").struct.field("id"))
    return chosen.collect(engine=engine).rows()


def by_polars_schema(pattern):
    """Polars infers a schema from the first file, and refuses one without a line
    (a plain empty file too). With a schema it takes such files."""
    import polars

    schema = {"n": polars.Int64, "_backhaul": polars.Struct({"id": polars.String})}
    frame = polars.scan_ndjson(pattern, schema=schema)
    chosen = frame.select("n", polars.col("_backhaul").struct.field("id"))
    return chosen.collect().rows()


def by_polars_read(pattern):
    import polars

    for path in sorted(glob.glob(pattern)):
        frame = polars.read_ndjson(path)
        yield from frame.select("n", polars.col("_backhaul").struct.field("id")).rows()


READERS = {
    "python": by_python,
    "duckdb": lambda pattern: by_duckdb(pattern, "read_ndjson"),
    "duckdb-auto": lambda pattern: by_duckdb(pattern, "read_json_auto"),
    "polars-scan": lambda pattern: by_polars_scan(pattern, "in-memory"),
    "polars-stream": lambda pattern: by_polars_scan(pattern, "streaming"),
    "polars-schema": by_polars_schema,
    "polars-read": by_polars_read,
}

folder, *readers = sys.argv[1:]
for reader in readers:
    for n, record_id in READERS[reader](os.path.join(folder, "*.jsonl*")):
        print(f"{reader}\t{n}\t{record_id}")
