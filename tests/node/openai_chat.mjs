// openai-node, Chat Completions, where the provider only has the Responses API.
import assert from "node:assert/strict";
import { z } from "zod";
import { openaiLibrary, tell } from "./clients.mjs";

const { OpenAI, client, zodResponseFormat } = await openaiLibrary();
const model = "modern";
const said = (content) => [{ role: "user", content }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

async function chunks() {
  let text = "";
  let usage;
  const finishes = [];
  const body = { model, messages: said("hello there"), stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.chat.completions.create(body)) {
    assert.equal(chunk.object, "chat.completion.chunk");
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      text += choice.delta.content ?? "";
      if (choice.finish_reason) finishes.push(choice.finish_reason);
    }
  }
  assert.deepEqual(finishes, ["stop"]);
  assert.equal(usage.total_tokens, 18);
  return text;
}

async function helper() {
  const stream = client.chat.completions.stream({ model, messages: said("hello there") });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.content, text);
  return text;
}

async function runner() {
  const asked = [];
  const run = (name) => (args) => {
    asked.push([name, args.city]);
    return `${name}!`;
  };
  const tool = (name) => ({
    type: "function",
    function: { name, parameters, parse: JSON.parse, function: run(name) },
  });
  const runner = client.chat.completions.runTools({
    model,
    stream: true,
    messages: said("weather, please"),
    tools: [tool("get_weather"), tool("get_time")],
  });
  return { answer: await runner.finalContent(), asked };
}

async function parsed() {
  const format = zodResponseFormat(z.object({ name: z.string(), days: z.int() }), "party");
  const body = { model, messages: said("an event"), response_format: format };
  return (await client.chat.completions.parse(body)).choices[0].message.parsed;
}

async function limited(stream) {
  const body = { model: "modern-fails", messages: said("x"), stream };
  const error = await client.chat.completions.create(body).catch((error) => error);
  assert(error instanceof OpenAI.RateLimitError);
  return [error.status, error.code, error.headers.get("retry-after")];
}

async function cut() {
  const body = { model: "modern-cut", messages: said("hello there"), stream: true };
  const finishes = [];
  const reading = async () => {
    for await (const chunk of await client.chat.completions.create(body)) {
      finishes.push(...chunk.choices.map((choice) => choice.finish_reason).filter(Boolean));
    }
  };
  await assert.rejects(reading, OpenAI.APIError);
  return finishes;
}

tell({
  chunks: await chunks(),
  helper: await helper(),
  runner: await runner(),
  parsed: await parsed(),
  limited: [await limited(false), await limited(true)],
  cut: await cut(),
});
