"""Generated values, dumped by CPython for the Rust tests, and checked on their way back.

    dump      one JSON document a line: {"plain": text, "pretty": text, "hash": hex}
    check     reads one compact document a line and compares it with the value
    floats    one `repr` and one bit pattern a line
    times     one `isoformat` and its microseconds a line
"""

import hashlib
import json
import random
import struct
import sys
from datetime import datetime, timedelta, timezone

COUNT = 1500


def text(rng):
    pools = [
        "abc xyz/\\\"'", "\x00\x01\x1f\x7f\x80\n\r\t\b\f", "äöüß漢字\u2028\ufeff\ufffe",
        "🔥😀\U0010ffff", "\ud800\udbff\udc00\udfff", "\ufdd0\ufdd1d800NaN-Infinity",
    ]
    return "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(12)))


def number(rng):
    return rng.choice([
        lambda: rng.randrange(-10, 10),
        lambda: rng.getrandbits(rng.choice([31, 53, 64, 65, 300])) * rng.choice([1, -1]),
        lambda: rng.uniform(-1, 1) * 10.0 ** rng.randrange(-320, 308),
        lambda: struct.unpack("<d", rng.randbytes(8))[0],
        lambda: float(rng.randrange(10**17)),
        lambda: rng.choice([float("nan"), float("inf"), float("-inf"), 0.0, -0.0]),
    ])()


def value(rng, depth=0):
    kind = rng.randrange(7 if depth < 5 else 5)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind in (1, 2):
        return number(rng)
    if kind in (3, 4):
        return text(rng)
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    return {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(5))}


def values():
    rng = random.Random(20240115)
    for _ in range(COUNT):
        item = {text(rng): value(rng) for _ in range(rng.randrange(1, 5))}
        # As Python has it after a file: two neighbouring lone surrogates of one text have
        # become one character there, which changes lengths and the order of keys.
        yield json.loads(json.dumps(item))


def dump():
    for item in values():
        digest = hashlib.sha256((json.dumps(item, sort_keys=True) + "|").encode()).hexdigest()
        print(json.dumps({"plain": json.dumps(item), "pretty": json.dumps(item, indent=2), "hash": digest}))


def check():
    lines = sys.stdin.buffer.read().split(b"\n")
    for item, line in zip(values(), lines, strict=True):
        # A repr tells 1 from 1.0 and True, and finds NaN equal to itself.
        if repr(json.loads(line)) != repr(item):
            sys.exit(f"changed: {item!a} is now {line!a}")
    print("same", COUNT)


def floats():
    rng = random.Random(7)
    for _ in range(20000):
        number_ = rng.choice([
            struct.unpack("<d", rng.randbytes(8))[0],
            rng.uniform(-1, 1) * 10.0 ** rng.randrange(-8, 20),
            float(rng.randrange(10**18)),
        ])
        print(json.dumps(number_), struct.unpack("<Q", struct.pack("<d", number_))[0])


def times():
    rng = random.Random(8)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    first = datetime.min.replace(tzinfo=timezone.utc)
    for _ in range(5000):
        seconds = rng.randrange(0, 315_000_000_000)
        micros = rng.choice([0, rng.randrange(1_000_000)])
        moment = first + timedelta(seconds=seconds, microseconds=micros)
        offset = timezone(timedelta(minutes=rng.randrange(-1439, 1440)))
        elsewhere = moment.astimezone(offset) if 2 < moment.year < 9990 else moment
        print(moment.isoformat(), elsewhere.isoformat(), (moment - epoch) // timedelta(microseconds=1))


{"dump": dump, "check": check, "floats": floats, "times": times}[sys.argv[1]]()
