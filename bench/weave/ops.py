"""Calls a function of so many bytes with the installed Weave client.

    ops.py HOW CALLS FOLDER URL

HOW: `function` (without Weave), `default`, or `wal` (with the client's write-ahead log).
Prints the median, the 99th percentile and the mean at the call site in microseconds, calls
a second until all is sent, CPU microseconds of a call, and two zeros.
"""

import os
import random
import statistics
import sys
import time

how, calls, folder, url = sys.argv[1:]
calls = int(calls)
os.environ["WANDB_BASE_URL"] = os.environ["WF_TRACE_SERVER_URL"] = url
os.environ["WANDB_API_KEY"] = "key"
os.environ["HOME"] = os.environ["WEAVE_SERVER_CACHE_DIR"] = folder
os.environ["WEAVE_PRINT_CALL_LINK"] = "false"
os.environ["WANDB_ERROR_REPORTING"] = "false"
if how == "wal":
    os.environ["WEAVE_ENABLE_WAL"] = "true"


def answer(question: str) -> str:
    return question[::-1]


client = None
if how != "function":
    import weave

    client = weave.init("local/bench")
    answer = weave.op(answer)

dice = random.Random(1)
words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(500)]
questions = [" ".join(dice.choices(words, k=200))[:450] for _ in range(1000)]
for n in range(20):
    answer(questions[n])
if client:
    client.flush()
latencies = []
cpu, began = time.process_time(), time.perf_counter()
for n in range(calls):
    question = questions[n % len(questions)]
    before = time.perf_counter_ns()
    answer(question)
    latencies.append((time.perf_counter_ns() - before) / 1e3)
if client:
    client.flush()
took, cpu = time.perf_counter() - began, time.process_time() - cpu
latencies.sort()
print(
    latencies[len(latencies) // 2],
    latencies[int((len(latencies) - 1) * 0.99)],
    statistics.fmean(latencies),
    calls / took,
    cpu / calls * 1e6,
    0,
    0,
)
sys.stdout.flush()
# The exit hooks of the client wait for what is measured above already.
os._exit(0)
