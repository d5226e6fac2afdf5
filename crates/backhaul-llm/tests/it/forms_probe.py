"""Asks with the clients of OpenAI and Anthropic, gives them what a test answers, and prints
what they make of it. There is no network in between.

In, by lines: a call `{"client", "method", "arguments"}`; then the answer to its request,
`{"status", "type", "body"}`. Out, by lines: `{"path", "body"}` of the request; then what the
client made of the answer, as JSON.
"""

import importlib
import json
import sys

import httpx2


def out(value):
    print(json.dumps(value), flush=True)


def answered(request: httpx2.Request) -> httpx2.Response:
    out({"path": request.url.path, "body": json.loads(request.content)})
    answer = json.loads(sys.stdin.readline())
    headers = {"content-type": answer["type"]}
    return httpx2.Response(answer["status"], headers=headers, content=answer["body"].encode())


def client_of(name):
    """The module, which takes a second to load, and a client."""
    module = importlib.import_module(name)
    transport = httpx2.Client(transport=httpx2.MockTransport(answered))
    kind, url = {
        "openai": ("OpenAI", "http://model/v1"),
        "anthropic": ("Anthropic", "http://model"),
    }[name]
    client = getattr(module, kind)
    return module, client(base_url=url, api_key="probe", http_client=transport, max_retries=0)


def whole(value):
    """An answer as its type has it: what does not fit is an error."""
    value = type(value).model_validate(value.to_dict(), strict=False)
    return value.model_dump(mode="json", by_alias=True)


def final(stream):
    """What the client itself puts together of a stream."""
    if hasattr(stream, "get_final_response"):
        return stream.get_final_response()
    return stream.get_final_message()


def seen(call):
    module, method = client_of(call["client"])
    for name in call["method"].split("."):
        method = getattr(method, name)
    events = []
    try:
        answer = method(**call["arguments"])
        if call["method"].endswith(".stream"):
            with answer as stream:
                events = [event.type for event in stream]
                return {"events": events, "final": whole(final(stream))}
        if call["arguments"].get("stream"):
            for event in answer:
                # Of an old completion the type is the whole one's: it has a finish reason.
                is_piece = call["method"] == "completions.create"
                events.append(event.to_dict() if is_piece else whole(event))
            return {"events": events}
        return {"answer": whole(answer)}
    except module.APIError as error:
        status = getattr(error, "status_code", None)
        return {"events": events, "raised": type(error).__name__, "status": status,
                "body": error.body, "message": error.message}


for line in sys.stdin:
    out(seen(json.loads(line)))
