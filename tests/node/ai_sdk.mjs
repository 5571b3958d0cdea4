// The AI SDK with its provider of the Responses API: text, streams, several steps with tools, images, schemas.
import assert from "node:assert/strict";
import { z } from "zod";
import { aiLibrary, tell } from "./clients.mjs";

const { generateText, streamText, tool, Output, provider, sent, atMost } = await aiLibrary();
const KEEPS_NOTHING = { openai: { store: false } };
const SEALS = { openai: { store: false, forceReasoning: true, reasoningSummary: "auto" } };
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

function tools(asked) {
  const run = (name) => async (input) => {
    asked.push([name, input.city]);
    return `${name}!`;
  };
  const inputSchema = z.object({ city: z.string() });
  return {
    get_weather: tool({ description: "Tell the weather.", inputSchema, execute: run("get_weather") }),
    get_time: tool({ inputSchema, execute: run("get_time") }),
  };
}

async function text() {
  const result = await generateText({ model: provider("m"), prompt: "think, then say hello", system: "Be kind." });
  assert.equal(result.text, "You said: think, then say hello");
  assert.equal(result.reasoningText, "Let me think.");
  assert.equal(result.finishReason, "stop");
  return [result.usage.inputTokens, result.usage.outputTokens, result.usage.totalTokens];
}

async function stream() {
  const result = streamText({ model: provider("m"), prompt: "think, then say hello" });
  const kinds = [];
  let said = "";
  for await (const part of result.fullStream) {
    assert.notEqual(part.type, "error", JSON.stringify(part.error));
    if (kinds.at(-1) !== part.type) kinds.push(part.type);
    if (part.type === "text-delta") said += part.text;
  }
  assert.equal(said, "You said: think, then say hello");
  assert.equal(await result.reasoningText, "Let me think.");
  assert.equal((await result.totalUsage).totalTokens, 18);
  return kinds;
}

/** Two turns, each of a step that calls and one that answers; the client carries the reasoning, since nothing is stored. */
async function steps(ask) {
  const asked = [];
  const messages = [{ role: "user", content: "think of the weather" }];
  const answers = [];
  const counts = [];
  for (const next of ["think of the weather tomorrow", "thanks"]) {
    const settings = { model: provider("m"), tools: tools(asked), stopWhen: atMost(4), providerOptions: SEALS };
    const result = await ask({ ...settings, messages });
    answers.push(await result.text);
    counts.push((await result.steps).length);
    const made = (await result.responseMessages) ?? (await result.response).messages;
    messages.push(...made, { role: "user", content: next });
  }
  const carried = sent.at(-1).input.filter((item) => item.type === "reasoning");
  assert(carried.every((item) => item.encrypted_content.length > 0));
  return { asked: asked.length, answers, counts, carried: carried.length };
}

async function streamedSteps(settings) {
  const result = streamText(settings);
  await result.consumeStream();
  return result;
}

async function image() {
  const content = [
    { type: "text", text: "What is this?" },
    { type: "image", image: PIXEL, mediaType: "image/png" },
  ];
  const result = await generateText({ model: provider("plain"), messages: [{ role: "user", content }] });
  return result.text;
}

async function object() {
  const schema = z.object({ name: z.string(), days: z.number() });
  const settings = { model: provider("plain"), prompt: "an event", output: Output.object({ schema }) };
  const result = streamText(settings);
  const partial = [];
  for await (const some of result.partialOutputStream) partial.push(some);
  assert.deepEqual(partial.at(-1), await result.output);
  assert.deepEqual((await generateText(settings)).output, await result.output);
  return result.output;
}

async function forced() {
  const made = tools([]);
  const toolChoice = { type: "tool", toolName: "get_time" };
  const settings = { model: provider("plain"), prompt: "hello", tools: made, toolChoice };
  const result = await generateText({ ...settings, providerOptions: KEEPS_NOTHING });
  return [result.finishReason, result.toolCalls.map((call) => call.toolName)];
}

tell({
  usage: await text(),
  stream: await stream(),
  steps: [await steps(generateText), await steps(streamedSteps)],
  image: await image(),
  object: await object(),
  forced: await forced(),
});
