// openai-node: failures are of the library's own classes, and a cut stream is no answer.
import assert from "node:assert/strict";
import { openaiLibrary, tell } from "./clients.mjs";

const { OpenAI, client } = await openaiLibrary();

async function refused(body) {
  const error = await client.responses.create(body).then(
    () => assert.fail("answered"),
    (error) => error,
  );
  assert(error instanceof OpenAI.APIError);
  const { status, code, param } = error;
  return { kind: error.constructor.name, status, code, param, wait: error.headers.get("retry-after") };
}

async function cut() {
  const seen = [];
  let last;
  for await (const event of await client.responses.create({ model: "cut", input: "hello there", stream: true })) {
    seen.push(event.type);
    last = event;
  }
  assert(!seen.includes("response.completed"));
  assert(last.response.error.message.length > 0);
  return seen.at(-1);
}

const calls = [{ type: "function_call_output", call_id: "gone", output: "x" }];
tell({
  refused: [
    await refused({ model: "m", input: "x", previous_response_id: "resp_1" }),
    await refused({ model: "m", input: calls, stream: true }),
    await refused({ model: "fails", input: "x" }),
    await refused({ model: "fails", input: "x", stream: true }),
    await refused({ model: "nobody", input: "x" }),
  ],
  cut: await cut(),
});
