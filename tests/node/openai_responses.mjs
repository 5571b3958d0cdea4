// openai-node, Responses API: whole answers, typed events, the stream helper, tools and schemas.
import assert from "node:assert/strict";
import { z } from "zod";
import { openaiLibrary, tell } from "./clients.mjs";

const { client, zodTextFormat, zodResponsesFunction } = await openaiLibrary();
const Weather = z.object({ city: z.string() });
const weather = zodResponsesFunction({ name: "get_weather", description: "Tell the weather.", parameters: Weather });
const time = zodResponsesFunction({ name: "get_time", parameters: Weather });

async function whole() {
  const response = await client.responses.create({ model: "m", input: "hello", instructions: "Be kind." });
  assert.equal(response.output_text, "You said: hello");
  assert.equal(response.status, "completed");
  assert.equal(response.instructions, "Be kind.");
  assert.equal(response.usage.input_tokens_details.cached_tokens, 3);
  return response.usage.total_tokens;
}

async function events() {
  const seen = [];
  let text = "";
  for await (const event of await client.responses.create({ model: "m", input: "think, hello", stream: true })) {
    assert.equal(event.sequence_number, seen.length);
    seen.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.equal(text, "You said: think, hello");
  return seen;
}

async function helper() {
  const stream = client.responses.stream({ model: "m", input: "think, hello" });
  const heard = { reasoning: "", text: "", snapshot: "" };
  stream.on("response.reasoning_summary_text.delta", (event) => (heard.reasoning += event.delta));
  stream.on("response.output_text.delta", (event) => {
    heard.text += event.delta;
    heard.snapshot = event.snapshot;
  });
  const final = await stream.finalResponse();
  assert.deepEqual(heard, {
    reasoning: "Let me think.",
    text: "You said: think, hello",
    snapshot: "You said: think, hello",
  });
  assert.equal(final.output_text, heard.text);
  assert.equal(final.usage.total_tokens, 18);
  return final.output.map((item) => item.type);
}

async function tools(ask) {
  const input = [{ role: "user", content: "weather, and think" }];
  const first = await ask({ model: "m", input, tools: [weather, time], store: false });
  const calls = first.output.filter((item) => item.type === "function_call");
  for (const call of calls) assert.deepEqual(call.parsed_arguments, { city: "Ulm" });
  input.push(...first.output);
  for (const call of calls) {
    input.push({ type: "function_call_output", call_id: call.call_id, output: `${call.name}!` });
  }
  const second = await ask({ model: "m", input, tools: [weather, time], store: false });
  assert.equal(second.output_text, "It is get_weather! and get_time!.");
  return calls.map((call) => call.name);
}

async function parsed(ask) {
  const Party = z.object({ name: z.string(), days: z.int(), guests: z.array(z.string()) });
  const text = { format: zodTextFormat(Party, "party") };
  const answer = await ask({ model: "plain", input: "an event", text });
  return answer.output_parsed;
}

const wholly = (body) => client.responses.parse(body);
const streamed = (body) => client.responses.stream(body).finalResponse();

tell({
  tokens: await whole(),
  events: await events(),
  helper: await helper(),
  tools: [await tools(wholly), await tools(streamed)],
  parsed: [await parsed(wholly), await parsed(streamed)],
});
