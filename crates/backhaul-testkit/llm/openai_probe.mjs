// What `openai_probe.py` is, with OpenAI's client for Node: the same options, forms and
// output, which `probe.py` describes.
//
//     openai_probe.mjs --base-url URL/v1 --form FORM,… [options]
//
// The client is found by NODE_PATH.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    "base-url": { type: "string" },
    form: { type: "string" },
    model: { type: "string", default: "cloud-model" },
    prompt: { type: "string", default: "Is the network up?" },
    "api-key": { type: "string" },
    "max-retries": { type: "string", default: "2" },
    timeout: { type: "string", default: "20" },
    "max-tokens": { type: "string", default: "64" },
    "max-chunks": { type: "string" },
    header: { type: "string", multiple: true, default: [] },
  },
});
const { OpenAI } = createRequire(import.meta.url)("openai");

// What is known of the call that is being made.
let begun = 0;
let said = {};
const seconds = () => Math.round((performance.now() - begun) * 10) / 10000;

// A client's own fetch, which is counted.
async function countedFetch(url, init) {
  said.attempts += 1;
  const response = await fetch(url, init);
  const own = [...response.headers].filter(([name]) => name.startsWith("x-backhaul-"));
  said.headers = Object.fromEntries(own);
  return response;
}

let client = new OpenAI({
  apiKey: options["api-key"] ?? process.env.OPENAI_API_KEY ?? "probe-key",
  maxRetries: Number(options["max-retries"]),
  timeout: Number(options.timeout) * 1000,
  defaultHeaders: Object.fromEntries(
    options.header.map((header) => [
      header.slice(0, header.indexOf("=")),
      header.slice(header.indexOf("=") + 1),
    ]),
  ),
  fetch: countedFetch,
});

function text(piece) {
  if (piece) {
    said.text += piece;
    said.first_seconds ??= seconds();
  }
}

function holds(body) {
  said.model = body.model ?? said.model;
  said.backhaul = body.backhaul ?? said.backhaul;
}

// The events of a stream, of which there may be more.
async function* events(stream) {
  let left = Number(options["max-chunks"] ?? Infinity);
  for await (const event of stream) {
    yield event;
    left -= 1;
    if (left === 0) {
      stream.controller.abort();
      return;
    }
  }
}

// A completion, or a chunk of one.
function whole(completion) {
  holds(completion);
  if (completion.usage) {
    const { prompt_tokens, completion_tokens } = completion.usage;
    said.usage = { input: prompt_tokens, output: completion_tokens };
  }
  for (const choice of completion.choices) {
    const message = choice.delta ?? choice.message;
    said.finish_reason = choice.finish_reason ?? said.finish_reason;
    text(message.content);
    for (const call of message.tool_calls ?? []) {
      if (call.index === undefined || call.index === said.tool_calls.length) {
        said.tool_calls.push({ name: call.function.name, arguments: "" });
      }
      said.tool_calls.at(-1).arguments += call.function.arguments ?? "";
    }
  }
}

async function chat(more = {}, content = options.prompt) {
  const answer = await client.chat.completions.create({
    model: options.model,
    messages: [{ role: "user", content }],
    max_tokens: Number(options["max-tokens"]),
    ...more,
  });
  if (!more.stream) {
    return whole(answer);
  }
  for await (const chunk of events(answer)) {
    whole(chunk);
  }
}

const object = (properties) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const STREAM = { stream: true, stream_options: { include_usage: true } };
const TOOLS = {
  tools: [
    {
      type: "function",
      function: {
        name: "look_up",
        description: "Looks it up.",
        parameters: object({ city: { type: "string" } }),
      },
    },
  ],
  tool_choice: "auto",
};
const SCHEMA = {
  response_format: {
    type: "json_schema",
    json_schema: { name: "answer", strict: true, schema: object({ ok: { type: "boolean" } }) },
  },
};
// A picture of one dot.
const PICTURE =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

async function vision() {
  const image_url = { url: `data:image/png;base64,${PICTURE}` };
  await chat({}, [
    { type: "text", text: options.prompt },
    { type: "image_url", image_url },
  ]);
}

async function completions(stream = false) {
  const { model, prompt } = options;
  const max_tokens = Number(options["max-tokens"]);
  const answer = await client.completions.create({ model, prompt, max_tokens, stream });
  for await (const completion of stream ? events(answer) : [answer]) {
    holds(completion);
    for (const choice of completion.choices) {
      said.finish_reason = choice.finish_reason ?? said.finish_reason;
      text(choice.text);
    }
  }
}

async function responses() {
  const { model, prompt: input } = options;
  const response = await client.responses.create({ model, input });
  holds(response);
  said.finish_reason = response.status;
  text(response.output_text);
}

async function responsesStream() {
  const { model, prompt: input } = options;
  const stream = await client.responses.create({ model, input, stream: true });
  for await (const event of events(stream)) {
    if (event.type === "response.output_text.delta") {
      text(event.delta);
    } else if (event.type === "response.created" || event.type === "response.completed") {
      holds(event.response);
      said.finish_reason = event.response.status;
    }
  }
}

async function embeddings() {
  const { model, prompt: input } = options;
  const answer = await client.embeddings.create({ model, input });
  holds(answer);
  said.embedding = answer.data[0].embedding;
}

async function models() {
  said.model = [];
  for await (const model of client.models.list()) {
    said.model.push(model.id);
  }
}

async function model() {
  said.model = (await client.models.retrieve(options.model)).id;
}

const FORMS = {
  chat: () => chat(),
  stream: () => chat(STREAM),
  tools: () => chat(TOOLS),
  "tools-stream": () => chat({ ...TOOLS, ...STREAM }),
  schema: () => chat(SCHEMA),
  vision,
  responses,
  "responses-stream": responsesStream,
  embeddings,
  models,
  model,
  completions: () => completions(),
  "completions-stream": () => completions(true),
};
const forms = (options.form ?? "").split(",");
for (const form of forms) {
  if (!(form in FORMS)) {
    console.error(`--form ${form}: expected one or more of ${Object.keys(FORMS).join(",")}`);
    process.exit(2);
  }
}
const baseURLs = options["base-url"]?.split(",") ?? [];
if (baseURLs.length > 1 && baseURLs.length !== forms.length) {
  console.error("--base-url: expected one, or one for each form");
  process.exit(2);
}
for (const [number, form] of forms.entries()) {
  if (baseURLs.length > 0) {
    client = client.withOptions({ baseURL: baseURLs[number % baseURLs.length] });
  }
  said = {
    form,
    ok: false,
    text: "",
    finish_reason: null,
    model: null,
    tool_calls: [],
    error: null,
    attempts: 0,
    headers: {},
    backhaul: null,
    first_seconds: null,
  };
  begun = performance.now();
  try {
    await FORMS[form]();
    said.ok = true;
  } catch (error) {
    said.error = {
      class: error.constructor.name,
      message: String(error.message),
      status: error.status ?? null,
      body: error.error ?? null,
    };
  }
  said.seconds = seconds();
  console.log(JSON.stringify(said));
}
