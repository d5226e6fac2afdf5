"""Makes one call with Anthropic's client for Python, and prints what it came to.

    anthropic_probe.py --base-url URL --form FORM [options]

The base URL is without `/v1`. What is printed and what the options are says `probe.py`.
"""

import os

import anthropic

import probe

FORMS = ["messages", "messages-stream", "tools", "vision"]
arguments = probe.options("anthropic_probe.py", FORMS, "ANTHROPIC_API_KEY")
told = probe.Told(arguments.max_chunks)
client = anthropic.Anthropic(
    base_url=arguments.base_url,
    api_key=arguments.api_key or os.environ.get("ANTHROPIC_API_KEY", "probe-key"),
    max_retries=arguments.max_retries,
    timeout=arguments.timeout,
    default_headers=probe.headers(arguments),
    http_client=anthropic.DefaultHttpxClient(
        event_hooks={"request": [told.asked], "response": [told.answered]}
    ),
)


def ask(content=arguments.prompt, **more):
    return client.messages.create(
        model=arguments.model,
        max_tokens=arguments.max_tokens,
        messages=[{"role": "user", "content": content}],
        **more,
    )


def whole(told: probe.Told, message):
    told.holds(message)
    told.said["finish_reason"] = message.stop_reason
    usage = message.usage
    told.said["usage"] = {"input": usage.input_tokens, "output": usage.output_tokens}
    for block in message.content:
        if block.type == "text":
            told.text(block.text)
        elif block.type == "tool_use":
            told.said["tool_calls"].append({"name": block.name, "arguments": block.input})


def messages(told: probe.Told):
    whole(told, ask())


def messages_stream(told: probe.Told):
    for event in told.events(ask(stream=True)):
        if event.type == "message_start":
            told.holds(event.message)
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            told.text(event.delta.text)
        elif event.type == "message_delta":
            told.said["finish_reason"] = event.delta.stop_reason


def tools(told: probe.Told):
    tool = {"name": "look_up", "description": "Looks it up.", "input_schema": probe.PARAMETERS}
    whole(told, ask(tools=[tool]))


def vision(told: probe.Told):
    source = {"type": "base64", "media_type": "image/png", "data": probe.PICTURE}
    picture = {"type": "image", "source": source}
    whole(told, ask(content=[{"type": "text", "text": arguments.prompt}, picture]))


told.call(
    {
        "messages": messages,
        "messages-stream": messages_stream,
        "tools": tools,
        "vision": vision,
    }[arguments.form]
)
