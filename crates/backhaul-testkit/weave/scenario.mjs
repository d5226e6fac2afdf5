// What `scenario.py` is, as far as Weave's client for Node goes: it has no threads to tell
// of, no notes, reactions, annotations, deletions, tags or files of its own.
//
//     scenario.mjs [--url URL] [--leave-out-a-call] [--pause-after STEP]
//
// The client is found by NODE_PATH.

import { once } from "node:events";
import { createRequire } from "node:module";
import { setImmediate } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    "leave-out-a-call": { type: "boolean" },
    "pause-after": { type: "string" },
  },
});
if (options.url) {
  // Of the one it takes the host alone, and asks there by https; of this agent it asks
  // nothing there, since the project is named with its entity.
  process.env.WANDB_BASE_URL = process.env.WF_TRACE_SERVER_URL = options.url;
  process.env.WANDB_API_KEY = "reference-key";
}
process.env.WEAVE_PRINT_CALL_LINK = "false";

const weave = createRequire(import.meta.url)("weave");

const add = weave.op(function add(a, b) {
  return a + b;
});

const addAll = weave.op(async function addAll(numbers) {
  let total = 0;
  for (const number of numbers) {
    total = await add(total, number);
  }
  return total;
});

async function nestedCalls() {
  await addAll(options["leave-out-a-call"] ? [1, 2] : [1, 2, 3]);
  await weave.withAttributes({ site: "buoy 7", try: 1 }, () => add(40, 2));
}

const refuse = weave.op(function refuse(reason) {
  throw new Error(reason);
});

async function exception() {
  await refuse("☀ too hot").catch(() => {});
}

const lookUp = weave.op(async function lookUp(city) {
  await setImmediate();
  return city.toUpperCase();
});

async function asyncCalls() {
  await Promise.all(["Oslo", "Łódź", "São Paulo"].map((city) => lookUp(city)));
}

async function objects(client) {
  const sensor = { label: "thermometer ☀", limits: { low: -40, high: 85.5, steps: [1, null] } };
  const reference = await client.publish(sensor, "sensor");
  await client.publish({ sensor, uri: reference.uri(), note: "two of one" }, "mast");
  await client.publish({ version: 1 }, "settings");
  await client.publish({ version: 2 }, "settings");
  await client.publish(new weave.StringPrompt({ name: "prompt", content: "Say {what}." }));
}

async function largeDataset() {
  const rows = Array.from({ length: 5000 }, (_, n) => ({ id: n, answer: n + n }));
  await new weave.Dataset({ name: "sums", rows }).save();
}

const draw = weave.op(function draw(size) {
  // The client does not look into it.
  return weave.weaveImage({ data: Buffer.alloc(size, "backhaul"), imageType: "png" });
});

async function image() {
  await draw(5_000);
}

const isRight = weave.op(function isRight({ modelOutput, datasetRow }) {
  return modelOutput === datasetRow.expected;
});

const double = weave.op(async function double({ datasetRow }) {
  return 2 * datasetRow.n;
});

async function evaluation() {
  const rows = [1, 2, 3].map((n) => ({ n, expected: n < 3 ? 2 * n : 7 }));
  const dataset = new weave.Dataset({ name: "doubles", rows });
  const wanted = new weave.Evaluation({ name: "doubling", dataset, scorers: [isRight] });
  await wanted.evaluate({ model: double });
}

async function feedback() {
  const logger = new weave.EvaluationLogger({ name: "by hand", model: "m", dataset: "d" });
  const prediction = await logger.logPredictionAsync({ question: "7 + 8?" }, "15");
  await prediction.logScore("right", true);
  await prediction.finish();
  await logger.logSummary({ of: 1 });
}

async function renamed(client) {
  const [, once] = await add.invoke(100, 1);
  await flushed(client);
  await client.updateCall(once.id, "the renamed one");
}

async function flushed(client) {
  await client.waitForBatchProcessing();
}

const STEPS = [
  nestedCalls,
  exception,
  asyncCalls,
  objects,
  largeDataset,
  image,
  evaluation,
  feedback,
  renamed,
];

// What the client says is no data.
console.log = console.error;
const client = await weave.init("local/scenario");
for (const step of STEPS) {
  await step(client);
  if (step.name === options["pause-after"]) {
    await flushed(client);
    process.stdout.write("paused\n");
    await once(process.stdin, "data");
    process.stdin.pause();
  }
}
await flushed(client);
