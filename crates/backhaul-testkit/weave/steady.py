"""An agent that logs numbered things with the installed Weave client until its stdin is
closed, and then says `logged N`.

    steady.py NAME [--url URL] [--project ENTITY/PROJECT] [--pause SECONDS] [--at-least N]

Of each number it logs the calls `step` and, in it, `half`; of every fifth a note, of every
tenth a version of the object NAME, of every twentieth a file and a table. It prints
`logging` when it begins. Without a URL the client finds its server by the variables of its
environment.
"""

import argparse
import os
import sys
import tempfile
import threading

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("name", help="what tells this agent's things from others'")
parser.add_argument("--url", help="base of the trace server and of the GraphQL server")
parser.add_argument("--project", default="local/scenario")
parser.add_argument("--pause", type=float, default=0.0, help="seconds between two numbers")
parser.add_argument("--at-least", type=int, default=0, help="numbers before it may end")
arguments = parser.parse_args()

folder = tempfile.TemporaryDirectory()
if arguments.url:
    os.environ["WANDB_BASE_URL"] = os.environ["WF_TRACE_SERVER_URL"] = arguments.url
    os.environ["WANDB_API_KEY"] = "reference-key"
os.environ.setdefault("WEAVE_SERVER_CACHE_DIR", folder.name)
os.environ["HOME"] = folder.name
os.environ["WEAVE_PRINT_CALL_LINK"] = "false"

import alone  # from here on the environment is read
import weave

stopped = threading.Event()


def wait_for_the_end():
    sys.stdin.read()
    stopped.set()


@weave.op
def half(number: int) -> float:
    return number / 2


@weave.op
def step(agent: str, number: int) -> float:
    return half(number)


def insist(log, *values, **options):
    """A client that gets no answer for a second and a half gives up. This agent does not."""
    while True:
        try:
            return log(*values, **options)
        except Exception as error:
            print(f"again: {error}", file=sys.stderr)


def log(number: int):
    _, call = step.call(arguments.name, number)
    if number % 5 == 0:
        call.feedback.add_note(f"{arguments.name} {number}")
    if number % 10 == 0:
        insist(weave.publish, {"number": number}, name=arguments.name)
    if number % 20 == 0:
        content = f"{arguments.name} {number}".encode() * 100
        file = weave.Content.from_bytes(content, extension="bin")
        insist(weave.publish, {"file": file}, name=f"{arguments.name}-file")
        rows = [{"agent": arguments.name, "number": number, "row": row} for row in range(3)]
        insist(weave.publish, weave.Dataset(name=f"{arguments.name}-rows", rows=rows))


def main():
    client = weave.init(arguments.project)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    print("logging", flush=True)
    number = 0
    while not stopped.wait(arguments.pause) or number < arguments.at_least:
        number += 1
        log(number)
    client.finish()
    print(f"logged {number}", flush=True)


main()
