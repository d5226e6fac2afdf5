"""An agent that logs one of everything with the installed Weave client, the same each
time, so that what two servers hold of two runs can be compared.

    scenario.py [--url URL] [--project ENTITY/PROJECT] [--leave-out-a-call] [--pause-after STEP]

Without a URL the client finds its server by the variables of its environment. After the
step that is named by `--pause-after` the program prints `paused` and waits for a line on
stdin. It reads nothing back from the server.
"""

import argparse
import asyncio
import contextlib
import os
import random
import tempfile

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--url", help="base of the trace server and of the GraphQL server")
parser.add_argument("--project", default="local/scenario")
parser.add_argument("--leave-out-a-call", action="store_true")
parser.add_argument("--pause-after", metavar="STEP", help="one of the functions in STEPS")
arguments = parser.parse_args()

folder = tempfile.TemporaryDirectory()
if arguments.url:
    os.environ["WANDB_BASE_URL"] = os.environ["WF_TRACE_SERVER_URL"] = arguments.url
    os.environ["WANDB_API_KEY"] = "reference-key"
# The client's cache would hide objects from a server that is new.
os.environ.setdefault("WEAVE_SERVER_CACHE_DIR", folder.name)
# No keys and settings of whoever runs this.
os.environ["HOME"] = folder.name
os.environ["WEAVE_PRINT_CALL_LINK"] = "false"

import alone  # from here on the environment is read
import weave
from PIL import Image


@weave.op
def add(a: int, b: int) -> int:
    return a + b


@weave.op
def add_all(numbers: list) -> int:
    total = 0
    for number in numbers:
        total = add(total, number)
    return total


def nested_calls():
    numbers = [1, 2, 3]
    if arguments.leave_out_a_call:
        numbers.pop()
    add_all(numbers)
    with weave.attributes({"site": "buoy 7", "try": 1}):
        add(40, 2)


@weave.op
def divide(a: int, b: int) -> float:
    return a / b


def exception():
    with contextlib.suppress(ZeroDivisionError):
        divide(1, 0)


@weave.op
async def look_up(city: str) -> str:
    await asyncio.sleep(0)
    return city.upper()


@weave.op
async def look_up_all(cities: list) -> list:
    return await asyncio.gather(*[look_up(city) for city in cities])


def async_calls():
    asyncio.run(look_up_all(["Oslo", "Kiruna", "Tromsø"]))


@weave.op
def square(n: int) -> int:
    return n * n


@weave.op
def square_all(count: int) -> list:
    with weave.ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(square, range(count)))


def threads():
    square_all(20)
    with weave.thread("a-conversation"):
        square(101)
        square(102)


class Doubler(weave.Model):
    factor: float = 2.0

    @weave.op
    def predict(self, n: int) -> float:
        return self.factor * n


@weave.op
def is_right(expected: float, output: float) -> dict:
    return {"right": expected == output, "off_by": output - expected}


def evaluation():
    rows = [{"n": n, "expected": expected} for n, expected in [(1, 2.0), (2, 4.0), (3, 7.0)]]
    dataset = weave.Dataset(name="doubles", rows=rows)
    wanted = weave.Evaluation(name="doubling", dataset=dataset, scorers=[is_right])
    asyncio.run(wanted.evaluate(Doubler(), __weave={"display_name": "the evaluation"}))


class Sensor(weave.Object):
    label: str
    limits: dict


def objects():
    sensor = Sensor(label="thermometer ☀", limits={"low": -40, "high": 85.0, "steps": [1, 1.0, None]})
    reference = weave.publish(sensor, name="sensor")
    weave.publish({"sensor": sensor, "sensors": [reference], "note": "two of one"}, name="mast")
    weave.publish({"version": 1}, name="settings")
    weave.publish({"version": 2}, name="settings")
    weave.publish(weave.StringPrompt("Say {what}."), name="prompt")


def tags_and_aliases():
    reference = weave.publish({"release": True}, name="tagged")
    if hasattr(weave, "add_tags"):
        weave.add_tags(reference, ["checked", "field"])
        weave.set_aliases(reference, "production")


def large_dataset():
    rows = [{"id": n, "question": f"What is {n} + {n}?", "answer": n + n} for n in range(5000)]
    weave.publish(weave.Dataset(name="sums", rows=rows))


@weave.op
def draw(size: int) -> Image.Image:
    image = Image.new("RGB", (size, size))
    image.putdata([(x * 30, y * 30, 0) for y in range(size) for x in range(size)])
    return image


def image():
    draw(8)


@weave.op
def record(seed: int) -> weave.Content:
    return weave.Content.from_bytes(random.Random(seed).randbytes(5_000_000), extension="bin")


def large_file():
    record(7)


@weave.op
def is_large(output: int) -> bool:
    return output > 10


def feedback():
    _, call = add.call(7, 8)
    call.feedback.add_reaction("👍")
    call.feedback.add_note("As expected.")
    call.feedback.add("field-report", {"weather": "rain", "wind": 7.5})
    spec = weave.AnnotationSpec(name="quality", field_schema={"type": "integer", "maximum": 5})
    quality = weave.publish(spec, name="quality").uri()
    call.feedback.add("wandb.annotation.quality", {"value": 4}, annotation_ref=quality)
    asyncio.run(call.apply_scorer(is_large))


def renamed_and_deleted(client):
    _, once = add.call(100, 1)
    _, twice = add.call(100, 2)
    _, deleted = add_all.call([100, 3])
    # A server does nothing for a call that it has not seen, and the client sends on
    # several threads.
    client.flush()
    once.set_display_name("the renamed one")
    twice.set_display_name("renamed")
    client.delete_call(deleted)
    client.flush()
    twice.set_display_name("renamed again")


STEPS = [
    nested_calls,
    exception,
    async_calls,
    threads,
    evaluation,
    objects,
    tags_and_aliases,
    large_dataset,
    image,
    large_file,
    feedback,
    renamed_and_deleted,
]


def main():
    client = weave.init(arguments.project)
    for step in STEPS:
        step(client) if step is renamed_and_deleted else step()
        if step.__name__ == arguments.pause_after:
            client.flush()
            print("paused", flush=True)
            input()
    client.finish()


main()
