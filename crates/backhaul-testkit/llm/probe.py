"""What the probes of both Python clients share: their options and what they print.

A probe makes one call after the other, one for each form, and prints a line with one JSON
object for each, also of a call that failed:

    form            the form of the call
    ok              whether the client took the answer for whole
    text            what was said, as far as it came
    finish_reason   as the client has it, null where there was none
    model           that of the answer; of a list the names of all
    tool_calls      name and arguments of each
    error           {class, status, body} of what the client raised
    attempts        requests that the client sent
    headers         those of the last answer that begin with `x-backhaul-`
    backhaul        the field of that name in the body, or in the last chunk that has one
    first_seconds   until the first text of a stream
    seconds         all in all
    embedding       of the form `embeddings`
    usage           {input, output} where it is told

The first call of a form takes longer: the clients load much of themselves only then.
With --max-chunks N the client goes away after so many events of a stream.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable

# A picture of one dot.
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


def options(name: str, forms: Iterable[str], key: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name, description="Makes calls with a real client.")
    parser.add_argument(
        "--base-url",
        help="one, or one for each form; default: what the client takes from its environment",
    )
    parser.add_argument("--form", required=True, help=f"one or more of {','.join(forms)}")
    parser.add_argument("--model", default="cloud-model")
    parser.add_argument("--prompt", default="Is the network up?")
    parser.add_argument("--api-key", help=f"default: {key}, else `probe-key`")
    parser.add_argument("--max-retries", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--max-chunks", type=int, help="events after which the client goes away")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    arguments.form = arguments.form.split(",")
    for form in arguments.form:
        if form not in forms:
            parser.error(f"--form {form}: expected one or more of {','.join(forms)}")
    arguments.base_url = (arguments.base_url or "").split(",")
    if len(arguments.base_url) not in (1, len(arguments.form)):
        parser.error("--base-url: expected one, or one for each form")
    return arguments


def calls(arguments: argparse.Namespace) -> Iterable[tuple[str, str | None]]:
    """Each form, and where it is to be asked."""
    for number, form in enumerate(arguments.form):
        yield form, arguments.base_url[number % len(arguments.base_url)] or None


class Told:
    """What a call comes to, written down as it comes."""

    def __init__(self):
        self.said: dict = {}
        self.begun = 0.0

    def call(self, form: str, make: Callable[[], None]):
        """Makes the call, and prints what it came to."""
        self.said = {
            "form": form,
            "ok": False,
            "text": "",
            "finish_reason": None,
            "model": None,
            "tool_calls": [],
            "error": None,
            "attempts": 0,
            "headers": {},
            "backhaul": None,
            "first_seconds": None,
        }
        self.begun = time.monotonic()
        try:
            make()
            self.said["ok"] = True
        except Exception as error:
            self.said["error"] = {
                "class": type(error).__name__,
                "message": str(error),
                "status": getattr(error, "status_code", None),
                "body": getattr(error, "body", None),
            }
        self.said["seconds"] = self.seconds()
        print(json.dumps(self.said), flush=True)

    def asked(self, _request):
        """To be called by the client for each request that it sends."""
        self.said["attempts"] += 1

    def answered(self, response):
        """To be called by the client for each head of an answer."""
        self.said["headers"] = {
            name.lower(): value
            for name, value in response.headers.items()
            if name.lower().startswith("x-backhaul-")
        }

    def text(self, text: str | None):
        if text:
            self.said["text"] += text
            self.said["first_seconds"] = self.said["first_seconds"] or self.seconds()

    def holds(self, value):
        """Model and own field of a body or of a chunk."""
        self.said["model"] = getattr(value, "model", None) or self.said["model"]
        extra = getattr(value, "model_extra", None) or {}
        self.said["backhaul"] = extra.get("backhaul", self.said["backhaul"])

    def seconds(self) -> float:
        return round(time.monotonic() - self.begun, 4)


def events(stream, most: int | None):
    """The events of a stream, or the first of them."""
    for number, event in enumerate(stream, 1):
        yield event
        if number == most:
            stream.close()
            return


def headers(arguments: argparse.Namespace) -> dict[str, str]:
    return dict(header.split("=", 1) for header in arguments.header)
