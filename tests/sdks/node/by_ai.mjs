// Vercel's AI SDK, as its users write it, with one of its providers: openai (Responses), anthropic or compatible (chat).

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { flow, ours, png, serve, weather } from "./line.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const PROVIDERS = {
  openai: (settings) => createOpenAI(settings),
  anthropic: (settings) => createAnthropic(settings),
  compatible: (settings) =>
    createOpenAICompatible({ ...settings, name: "headgate", includeUsage: true, supportsStructuredOutputs: true }),
};

const provider = PROVIDERS[process.argv[2]];

const asked = (ask, more = {}) => ({
  model: provider({ baseURL: ask.url, apiKey: ask.key ?? "unused", headers: ask.headers })(ask.model ?? "chat"),
  prompt: ask.text ?? "Hello",
  maxOutputTokens: 200,
  maxRetries: ask.retries ?? 0,
  providerOptions: { openai: ask.more ?? {} },
  ...more,
});

const told = (result) => ({
  text: result.text,
  finish: result.finishReason,
  usage: [result.usage.inputTokens, result.usage.outputTokens],
  headers: ours(Object.entries(result.response.headers ?? {})),
});

const chat = async (ask) => told(await generateText(asked(ask)));

async function stream(ask) {
  let failed = null;
  const result = streamText(asked(ask, { onError: ({ error }) => (failed = error) }));
  let [text, pieces] = ["", 0];
  for await (const piece of result.textStream) {
    text += piece;
    pieces += 1;
  }
  const ends = await Promise.allSettled([result.finishReason, result.usage, result.response]);
  if (failed) throw failed instanceof Error ? failed : new Error(failed.message ?? failed);
  const [finishReason, usage, response] = ends.map((end) => end.value);
  return { ...told({ text, finishReason, usage, response }), pieces };
}

async function tools(ask) {
  const called = [];
  const execute = (given) => (called.push(given), weather.tell(given));
  const tools = {
    [weather.name]: tool({ description: weather.description, inputSchema: jsonSchema(weather.schema), execute }),
  };
  const result = await generateText(asked(ask, { tools, stopWhen: stepCountIs(2) }));
  return { text: result.text, called, finishes: result.steps.map((step) => step.finishReason) };
}

async function talk(ask) {
  const messages = [{ role: "user", content: ask.text }];
  const first = await generateText(asked(ask, { prompt: undefined, messages }));
  messages.push(...first.response.messages, { role: "user", content: "And you?" });
  return { ...told(await generateText(asked(ask, { prompt: undefined, messages }))), first: first.text };
}

async function structured(ask) {
  const output = Output.object({ schema: jsonSchema(flow), name: "flow" });
  return { structured: (await generateText(asked(ask, { output }))).output };
}

async function image(ask) {
  const content = [
    { type: "image", image: png, mediaType: "image/png" },
    { type: "text", text: "What is this?" },
  ];
  return told(await generateText(asked(ask, { prompt: undefined, messages: [{ role: "user", content }] })));
}

serve({ chat, stream, tools, talk, structured, image }, (error) => error instanceof Error);
