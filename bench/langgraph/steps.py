"""Runs a chain of nodes that do nothing with LangGraph, each of which sets one value.

    steps.py FOLDER NODES

Says `ready`, and then for each line on stdin the microseconds a step of one run:

    memory          without a checkpointer
    sqlite-sync     with SqliteSaver: a step is on disk before the next one begins
    sqlite-async    with SqliteSaver: it is written while the next one runs, the default
"""

import sys
import time
from pathlib import Path
from typing import TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

folder, nodes = Path(sys.argv[1]), int(sys.argv[2])


class State(TypedDict):
    number: int


def graph() -> StateGraph:
    builder = StateGraph(State)
    names = [f"n{number}" for number in range(nodes)]
    for number, name in enumerate(names):
        builder.add_node(name, lambda state, number=number: {"number": number})
    for source, target in zip([START, *names], [*names, END]):
        builder.add_edge(source, target)
    return builder


def run(compiled, run_id: int, **options) -> float:
    config = {"recursion_limit": nodes + 10, "configurable": {"thread_id": str(run_id)}}
    began = time.perf_counter()
    final = compiled.invoke({"number": -1}, config, **options)
    took = time.perf_counter() - began
    assert final["number"] == nodes - 1
    return took * 1e6 / nodes


in_memory = graph().compile()
with SqliteSaver.from_conn_string(str(folder / "checkpoints.sqlite")) as saver:
    kept = graph().compile(checkpointer=saver)
    print("ready", flush=True)
    for run_id, line in enumerate(sys.stdin):
        how = line.strip()
        if how == "memory":
            print(run(in_memory, run_id), flush=True)
        else:
            print(run(kept, run_id, durability=how.removeprefix("sqlite-")), flush=True)
