// The AI SDK as it is by default: `store` is not said, so its histories refer to items by their ids. And its failures.
import assert from "node:assert/strict";
import { aiLibrary, tell } from "./clients.mjs";

const { generateText, streamText, APICallError, provider } = await aiLibrary();

async function history(said) {
  const first = await generateText({ model: provider("m"), prompt: said });
  const made = first.responseMessages ?? first.response.messages;
  return [{ role: "user", content: said }, ...made, { role: "user", content: "and now?" }];
}

async function failure(asking) {
  const error = await asking.then(
    () => assert.fail("answered"),
    (error) => error,
  );
  assert(APICallError.isInstance(error), String(error));
  const { code, param } = JSON.parse(error.responseBody).error;
  return { status: error.statusCode, code, param, message: error.message, again: error.isRetryable };
}

async function streamedFailure(settings) {
  const errors = [];
  const result = streamText({ ...settings, onError: ({ error }) => errors.push(error) });
  await result.consumeStream();
  assert.equal(errors.length, 1);
  return failure(Promise.reject(errors[0]));
}

async function cut() {
  const errors = [];
  const result = streamText({ model: provider("cut"), prompt: "hello there", onError: ({ error }) => errors.push(error) });
  await result.consumeStream();
  const reason = await result.finishReason.then(String, () => "none");
  return { reason, errors: errors.length };
}

const messages = await history("hello");
const stateless = { openai: { store: false } };
const settings = { model: provider("m"), maxRetries: 0 };
tell({
  references: [
    await failure(generateText({ ...settings, messages })),
    await streamedFailure({ ...settings, messages }),
    await failure(generateText({ ...settings, messages: await history("think") })),
  ],
  stateless: (await generateText({ ...settings, messages, providerOptions: stateless })).text,
  limited: await failure(generateText({ ...settings, model: provider("fails"), prompt: "x" })),
  cut: await cut(),
});
