"""Makes calls with Anthropic's client for Python, and prints what they came to.

    anthropic_probe.py --base-url URL --form FORM,… [options]

The base URL is without `/v1`. What is printed and what the options are says `probe.py`.
"""

import os

import anthropic

import probe

def ask(content=None, **more):
    return client.messages.create(
        model=arguments.model,
        max_tokens=arguments.max_tokens,
        messages=[{"role": "user", "content": content or arguments.prompt}],
        **more,
    )


def whole(message):
    told.holds(message)
    told.said["finish_reason"] = message.stop_reason
    usage = message.usage
    told.said["usage"] = {"input": usage.input_tokens, "output": usage.output_tokens}
    for block in message.content:
        if block.type == "text":
            told.text(block.text)
        elif block.type == "tool_use":
            told.said["tool_calls"].append({"name": block.name, "arguments": block.input})


def messages():
    whole(ask())


def messages_stream():
    for event in probe.events(ask(stream=True), arguments.max_chunks):
        if event.type == "message_start":
            told.holds(event.message)
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            told.text(event.delta.text)
        elif event.type == "message_delta":
            told.said["finish_reason"] = event.delta.stop_reason


def tools():
    tool = {"name": "look_up", "description": "Looks it up.", "input_schema": probe.PARAMETERS}
    whole(ask(tools=[tool]))


def vision():
    source = {"type": "base64", "media_type": "image/png", "data": probe.PICTURE}
    picture = {"type": "image", "source": source}
    whole(ask(content=[{"type": "text", "text": arguments.prompt}, picture]))


FORMS = {
    "messages": messages,
    "messages-stream": messages_stream,
    "tools": tools,
    "vision": vision,
}

arguments = probe.options("anthropic_probe.py", FORMS, "ANTHROPIC_API_KEY")
told = probe.Told()
client = anthropic.Anthropic(
    api_key=arguments.api_key or os.environ.get("ANTHROPIC_API_KEY", "probe-key"),
    max_retries=arguments.max_retries,
    timeout=arguments.timeout,
    default_headers=probe.headers(arguments),
    http_client=anthropic.DefaultHttpxClient(
        event_hooks={"request": [told.asked], "response": [told.answered]}
    ),
)

for form, base_url in probe.calls(arguments):
    client = client.with_options(base_url=base_url)
    told.call(form, FORMS[form])
