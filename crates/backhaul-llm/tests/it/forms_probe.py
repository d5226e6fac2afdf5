"""Asks with the clients of OpenAI and Anthropic, gives them what a test answers, and prints
what they make of it. There is no network in between.

In, by lines: a call `{"client", "method", "arguments"}`; then the answer to its request,
`{"status", "type", "body"}`. Out, by lines: `{"path", "body"}` of the request; then what the
client made of the answer, as JSON.
"""

import json
import sys

import anthropic
import httpx2
import openai


def out(value):
    print(json.dumps(value), flush=True)


def answered(request: httpx2.Request) -> httpx2.Response:
    out({"path": request.url.path, "body": json.loads(request.content)})
    answer = json.loads(sys.stdin.readline())
    headers = {"content-type": answer["type"]}
    return httpx2.Response(answer["status"], headers=headers, content=answer["body"].encode())


transport = httpx2.Client(transport=httpx2.MockTransport(answered))
common = {"api_key": "probe", "http_client": transport, "max_retries": 0}
clients = {
    "openai": openai.OpenAI(base_url="http://model/v1", **common),
    "anthropic": anthropic.Anthropic(base_url="http://model", **common),
}


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
    method = clients[call["client"]]
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
                events.append(whole(event))
            return {"events": events}
        return {"answer": whole(answer)}
    except (openai.APIError, anthropic.APIError) as error:
        status = getattr(error, "status_code", None)
        return {"events": events, "raised": type(error).__name__, "status": status,
                "body": error.body, "message": error.message}


for line in sys.stdin:
    out(seen(json.loads(line)))
