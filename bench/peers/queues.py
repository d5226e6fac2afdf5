"""Does for stores in Python what `backhaul-bench peer VERB PEER …` does for the others.

The verbs, and what they say, are those of `bench/src/peers/verbs.rs`. Peers: `weave` and
`weave-relaxed` (Weave's write-ahead log, which needs the environment of scripts/weave-venv),
`persist-queue` and `persist-queue-relaxed` (that of scripts/peer-venv).
"""

import itertools
import json
import os
import sys
import threading
import time

# Before anything is timed: weave takes seconds.
if sys.argv[2].startswith("weave"):
    from weave.durability.wal_consumer import JSONLWALConsumer
    from weave.durability.wal_directory_manager import FileWALDirectoryManager
    from weave.durability.wal_writer import JSONLWALWriter
else:
    import persistqueue
    from persistqueue.exceptions import Empty

BATCH = 256


class WeaveLog:
    """Flushes each record, or by its defaults each 64, or after half a second."""

    def __init__(self, folder, **options):
        directory = FileWALDirectoryManager(folder)
        consumers = [JSONLWALConsumer(path) for path in directory.list_files()]
        self._entries = (
            (consumer, entry) for consumer in consumers for entry in consumer.read_pending()
        )
        self._consumers = consumers
        self._taken = None
        self._open_log = lambda: JSONLWALWriter(directory, **options)
        self._log = None
        self._lock = threading.Lock()

    def append(self, body):
        # It makes a file as soon as it is there, which who only reads does not need.
        with self._lock:
            self._log = self._log or self._open_log()
        self._log.write(json.loads(body))

    def take(self, most):
        bodies = []
        for self._taken in itertools.islice(self._entries, most):
            record = self._taken[1].record
            bodies.append(json.dumps(record, separators=(",", ":")).encode())
        return bodies

    def settle(self):
        consumer, entry = self._taken
        consumer.acknowledge(entry.end_offset)

    def close(self):
        for consumer in self._consumers:
            consumer.close()
        if self._log:
            self._log.close()


class SQLiteQueue:
    def __init__(self, folder):
        # It removes what was taken when it is told so, as the others do.
        self._queue = persistqueue.SQLiteQueue(folder, multithreading=True, auto_commit=False)

    def append(self, body):
        self._queue.put(body)

    def take(self, most):
        return take(self._queue, most)

    def settle(self):
        self._queue.task_done()

    def close(self):
        self._queue.close()


class FileQueue:
    def __init__(self, folder):
        self._queue = persistqueue.Queue(folder, tempdir=folder)

    def append(self, body):
        self._queue.put(body)

    def take(self, most):
        return take(self._queue, most)

    def settle(self):
        self._queue.task_done()

    def close(self):
        pass


def take(queue, most):
    bodies = []
    try:
        while len(bodies) < most:
            body = queue.get_nowait()
            if body is None:
                break
            bodies.append(body)
    except Empty:
        pass
    return bodies


PEERS = {
    "weave": lambda folder: WeaveLog(folder, fsync_batch_size=1),
    "weave-relaxed": WeaveLog,
    "persist-queue": SQLiteQueue,
    "persist-queue-relaxed": FileQueue,
}


def corpus(path):
    with open(path, "rb") as file:
        return file.read().splitlines()


def peak_memory():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def in_threads(count, work):
    """Runs `work(number)` in so many threads; what they give, or the first error."""
    given, errors = [], []

    def run(number):
        try:
            given.append(work(number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return given


def fill(open_peer, folder, records, producers, ahead, seconds):
    bodies = corpus(records)
    cpu = time.process_time()
    store = open_peer(folder)
    end = time.perf_counter() + float(seconds)

    def produce(thread):
        took = []
        for body in itertools.islice(itertools.cycle(bodies), thread * 577, None):
            before = time.perf_counter()
            if before >= end:
                return took
            store.append(body)
            took.append(time.perf_counter() - before)

    began = time.perf_counter()
    took = sorted(itertools.chain.from_iterable(in_threads(int(producers), produce)))
    took_all, cpu = time.perf_counter() - began, time.process_time() - cpu
    store.close()
    at = lambda share: took[int((len(took) - 1) * share)] * 1e6
    peak = peak_memory() - sum(map(len, bodies))
    print(len(took), took_all, at(0.5), at(0.99), cpu, peak)


def load(open_peer, folder, records, wanted, seconds, batch, end):
    store = open_peer(folder)
    until = time.perf_counter() + float(seconds)
    count = size = 0
    for body in itertools.cycle(corpus(records)):
        if size >= int(wanted) or time.perf_counter() >= until:
            break
        store.append(body)
        count, size = count + 1, size + len(body)
    print(count, flush=True)
    if end == "leave":
        os._exit(0)
    store.close()


def drain(open_peer, folder, seconds):
    cpu, began = time.process_time(), time.perf_counter()
    store = open_peer(folder)
    opened = time.perf_counter() - began
    first, records, size = float("nan"), 0, 0
    while time.perf_counter() - began < float(seconds):
        bodies = store.take(BATCH)
        if not bodies:
            break
        if not records:
            first = time.perf_counter() - began
        records, size = records + len(bodies), size + sum(map(len, bodies))
        store.settle()
    took = time.perf_counter() - began - opened
    cpu = time.process_time() - cpu
    print(opened, first, records, size, took, cpu, peak_memory())


def read(open_peer, after):
    says = sys.stdout.buffer
    says.write(b"ready\n")
    says.flush()
    for folder in sys.stdin:
        store = None
        try:
            store = open_peer(folder.rstrip("\n"))
            # One by one where they are kept: what comes before an error is given.
            while bodies := store.take(BATCH if after == "settle" else 1):
                for body in bodies:
                    body = body if isinstance(body, bytes) else repr(body).encode()
                    says.write(b"=" + body.replace(b"\n", b" ") + b"\n")
                if after == "settle":
                    store.settle()
            says.write(b"done\n")
        except Exception as error:
            text = f"{type(error).__name__}: {error}".replace("\n", " ")
            says.write(b"error " + text.encode("utf-8", "replace") + b"\n")
        if store:
            store.close()
        says.flush()


def write(open_peer, folder, records, producers, first):
    bodies = corpus(records)
    store = open_peer(folder)
    numbers = itertools.count(int(first))

    def write_alone(_):
        while True:
            number = next(numbers)
            body = bodies[number % len(bodies)]
            store.append(b'{"number":%d,' % number + body[1:])
            os.write(1, b"%d\n" % number)

    in_threads(int(producers), write_alone)


def main():
    verb, peer, *arguments = sys.argv[1:]
    verbs = {"fill": fill, "load": load, "drain": drain, "read": read, "write": write}
    verbs[verb](PEERS[peer], *arguments)


main()
