"""Makes calls with OpenAI's client for Python, and prints what they came to.

    openai_probe.py --base-url URL/v1 --form FORM,… [options]

What is printed and what the options are says `probe.py`.
"""

import os
from functools import partial

import openai

import probe

def chat(content=None, stream=False, **more):
    messages = [{"role": "user", "content": content or arguments.prompt}]
    limit = {"max_tokens": arguments.max_tokens}
    if stream:
        more |= {"stream": True, "stream_options": {"include_usage": True}}
    answer = client.chat.completions.create(
        model=arguments.model, messages=messages, **limit, **more
    )
    if stream:
        for chunk in probe.events(answer, arguments.max_chunks):
            whole(chunk, lambda choice: choice.delta)
    else:
        whole(answer, lambda choice: choice.message)


def whole(completion, message):
    """A completion, or a chunk of one."""
    told.holds(completion)
    usage = getattr(completion, "usage", None)
    if usage:
        told.said["usage"] = {"input": usage.prompt_tokens, "output": usage.completion_tokens}
    for choice in completion.choices:
        told.said["finish_reason"] = choice.finish_reason or told.said["finish_reason"]
        told.text(message(choice).content)
        for call in message(choice).tool_calls or []:
            calls = told.said["tool_calls"]
            if getattr(call, "index", None) is None or call.index == len(calls):
                calls.append({"name": call.function.name, "arguments": ""})
            calls[-1]["arguments"] += call.function.arguments or ""


def schema():
    form = {"name": "answer", "strict": True, "schema": probe.SCHEMA}
    chat(response_format={"type": "json_schema", "json_schema": form})


def tools(stream=False):
    tool = {"name": "look_up", "description": "Looks it up.", "parameters": probe.PARAMETERS}
    chat(stream=stream, tools=[{"type": "function", "function": tool}], tool_choice="auto")


def vision():
    url = f"data:image/png;base64,{probe.PICTURE}"
    picture = {"type": "image_url", "image_url": {"url": url}}
    chat(content=[{"type": "text", "text": arguments.prompt}, picture])


def completions(stream=False):
    answer = client.completions.create(
        model=arguments.model,
        prompt=arguments.prompt,
        max_tokens=arguments.max_tokens,
        stream=stream,
    )
    for completion in probe.events(answer, arguments.max_chunks) if stream else [answer]:
        told.holds(completion)
        for choice in completion.choices:
            told.said["finish_reason"] = choice.finish_reason or told.said["finish_reason"]
            told.text(choice.text)


def responses():
    response = client.responses.create(model=arguments.model, input=arguments.prompt)
    told.holds(response)
    told.said["finish_reason"] = response.status
    told.text(response.output_text)


def responses_stream():
    stream = client.responses.create(model=arguments.model, input=arguments.prompt, stream=True)
    for event in probe.events(stream, arguments.max_chunks):
        if event.type == "response.output_text.delta":
            told.text(event.delta)
        elif event.type in ("response.created", "response.completed"):
            told.holds(event.response)
            told.said["finish_reason"] = event.response.status


def embeddings():
    answer = client.embeddings.create(model=arguments.model, input=arguments.prompt)
    told.holds(answer)
    told.said["embedding"] = answer.data[0].embedding


def models():
    told.said["model"] = [model.id for model in client.models.list()]


def model():
    told.said["model"] = client.models.retrieve(arguments.model).id


FORMS = {
    "chat": chat,
    "stream": partial(chat, stream=True),
    "tools": tools,
    "tools-stream": partial(tools, stream=True),
    "schema": schema,
    "vision": vision,
    "responses": responses,
    "responses-stream": responses_stream,
    "embeddings": embeddings,
    "models": models,
    "model": model,
    "completions": completions,
    "completions-stream": partial(completions, stream=True),
}

arguments = probe.options("openai_probe.py", FORMS, "OPENAI_API_KEY")
told = probe.Told()
client = openai.OpenAI(
    api_key=arguments.api_key or os.environ.get("OPENAI_API_KEY", "probe-key"),
    max_retries=arguments.max_retries,
    timeout=arguments.timeout,
    default_headers=probe.headers(arguments),
    http_client=openai.DefaultHttpxClient(
        event_hooks={"request": [told.asked], "response": [told.answered]}
    ),
)

for form, base_url in probe.calls(arguments):
    client = client.with_options(base_url=base_url)
    told.call(form, FORMS[form])
