// The libraries of one generation, and what all programs share. argv: base URL, generation.
//
// Both generations are installed side by side: the newest asks for Node 22, the one before it runs on Node 20 too.
const PACKAGES = {
  newest: { openai: "openai", ai: "ai", provider: "@ai-sdk/openai" },
  previous: { openai: "openai-6", ai: "ai-6", provider: "ai-sdk-openai-3" },
};

const [, , root, generation] = process.argv;
const names = PACKAGES[generation];

export const baseURL = `${root}/v1`;

/** The openai library and its helper for zod. */
export async function openaiLibrary() {
  const { default: OpenAI } = await import(names.openai);
  const helpers = await import(`${names.openai}/helpers/zod`);
  const client = new OpenAI({ baseURL, apiKey: "sk", maxRetries: 0, timeout: 10_000 });
  return { OpenAI, client, ...helpers };
}

/** The AI SDK, and its provider of OpenAI's Responses API; `sent` takes the bodies of its requests. */
export async function aiLibrary() {
  globalThis.AI_SDK_LOG_WARNINGS = false;
  const ai = await import(names.ai);
  const { createOpenAI } = await import(names.provider);
  const sent = [];
  const recording = (url, init) => {
    sent.push(JSON.parse(init.body));
    return fetch(url, init);
  };
  const provider = createOpenAI({ baseURL, apiKey: "sk", fetch: recording });
  return { ...ai, provider, sent, atMost: ai.isStepCount ?? ai.stepCountIs };
}

/** The one line that the test reads. */
export function tell(seen) {
  console.log(JSON.stringify(seen));
}
