"""An agent that logs what a program in any language can log, with the installed Weave
client, the same each time: `scenario.rs` of the tests of backhaul-weave does the same.

    plain.py --url URL [--leave-out-a-call]
"""

import argparse
import asyncio
import contextlib
import os
import random
import tempfile

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--url", required=True, help="base of the trace server and of the GraphQL server")
parser.add_argument("--leave-out-a-call", action="store_true")
arguments = parser.parse_args()

folder = tempfile.TemporaryDirectory()
os.environ["WANDB_BASE_URL"] = os.environ["WF_TRACE_SERVER_URL"] = arguments.url
os.environ["WANDB_API_KEY"] = "reference-key"
os.environ["WEAVE_SERVER_CACHE_DIR"] = os.environ["HOME"] = folder.name
os.environ["WEAVE_PRINT_CALL_LINK"] = "false"

import alone  # from here on the environment is read
import weave


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
    with weave.attributes({"site": "buoy 7", "try": {"number": 1}}):
        with weave.attributes({"try": {"last": False}, "height": 2.5}):
            add(40, 2)


@weave.op
def divide(a: float, b: float) -> float:
    return a / b


@weave.op
def divide_all(numbers: list) -> list:
    results = []
    for a, b in numbers:
        with contextlib.suppress(ZeroDivisionError):
            results.append(divide(a, b))
    return results


def exceptions():
    divide_all([[1.0, 2.0], [1.0, 0.0], [1e300, 1e-5]])
    with contextlib.suppress(ZeroDivisionError):
        divide(1.0, 0.0)


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
        add_all([1, 2])
        square(102)


@weave.op
def ask(question: str) -> dict:
    usage = {"prompt_tokens": len(question), "completion_tokens": 2, "total_tokens": len(question) + 2}
    return {"model": "local-3b", "usage": usage, "text": "42"}


@weave.op
def ask_all(questions: list) -> list:
    return [ask(question)["text"] for question in questions]


def models():
    ask_all(["How many?", "How warm?", "☀ or ☂?"])


@weave.op
def values(given: dict) -> dict:
    return {key: given[key] for key in given if key not in ("api_key", "nested")}


def odd_values():
    values(
        {
            "floats": [1.0, 0.1, 1e16, 1e-7, -0.0, 2.5],
            "whole": [0, -1, 9007199254740993, 18446744073709551615],
            "none": None,
            "texts": ["", "a\nb", "é☀\U0001f600", "\u007f\u0001", 'quo"te\\'],
            "empty": [{}, [], ""],
            "api_key": "s3cret",
            "nested": [{"Authorization": "s3cret", "kept": True}],
        }
    )


def objects():
    weave.publish({"version": 1}, name="settings")
    settings = weave.publish({"version": 2, "limits": {"low": -40, "high": 85.0}}, name="settings")
    weave.publish({"settings": settings, "note": "one of another"}, name="mast")
    weave.publish([1, "two", 3.0], name="a list!")
    weave.publish(weave.StringPrompt("Say {what}."), name="prompt")
    if hasattr(weave, "add_tags"):
        weave.add_tags(settings, ["checked", "field"])
        weave.set_aliases(settings, "production")


def dataset():
    rows = [{"id": n, "question": f"What is {n} + {n}?", "answer": n + n} for n in range(500)]
    weave.publish(weave.Dataset(name="sums", rows=rows, description="of two"))


@weave.op
def record(seed: int) -> weave.Content:
    return weave.Content.from_bytes(bytes((seed + n) % 251 for n in range(200_000)), mimetype="audio/wav")


def file():
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
    _, deleted = add_all.call([100, 3])
    client.flush()
    once.set_display_name("the renamed one")
    client.delete_call(deleted)
    client.flush()


def main():
    client = weave.init("local/scenario")
    nested_calls()
    exceptions()
    async_calls()
    threads()
    models()
    odd_values()
    objects()
    dataset()
    file()
    feedback()
    renamed_and_deleted(client)
    client.finish()


main()
