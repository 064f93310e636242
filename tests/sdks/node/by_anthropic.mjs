// Anthropic's SDK for Node, as its users write it.

import Anthropic from "@anthropic-ai/sdk";
import { flow, ours, png, serve, weather } from "./line.mjs";

const client = (ask) =>
  new Anthropic({
    baseURL: ask.url.replace(/\/v1$/, ""),
    apiKey: ask.key ?? "unused",
    maxRetries: ask.retries ?? 0,
    timeout: 60_000,
  });

const asked = (ask, more = {}) => ({
  model: ask.model ?? "chat",
  max_tokens: 200,
  messages: [{ role: "user", content: ask.text ?? "Hello" }],
  ...ask.more,
  ...more,
});

const textOf = (message) =>
  message.content
    .filter((block) => block.type === "text")
    .map((block) => block.text)
    .join("");

const told = (message, response) => ({
  text: textOf(message),
  finish: message.stop_reason,
  usage: [message.usage.input_tokens, message.usage.output_tokens],
  headers: ours(response.headers),
});

async function chat(ask) {
  const { data, response } = await client(ask).messages.create(asked(ask), { headers: ask.headers }).withResponse();
  return told(data, response);
}

async function stream(ask) {
  const stream = client(ask).messages.stream(asked(ask), { headers: ask.headers });
  let pieces = 0;
  stream.on("text", () => (pieces += 1));
  const { response } = await stream.withResponse();
  return { ...told(await stream.finalMessage(), response), pieces };
}

async function tools(ask) {
  const tool = { name: weather.name, description: weather.description, input_schema: weather.schema };
  const messages = [{ role: "user", content: ask.text }];
  const first = await client(ask).messages.create(asked(ask, { messages, tools: [tool] }));
  const calls = first.content.filter((block) => block.type === "tool_use");
  messages.push({ role: "assistant", content: first.content });
  messages.push({
    role: "user",
    content: calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: weather.tell(call.input) })),
  });
  const stream = client(ask).messages.stream(asked(ask, { messages, tools: [tool] }));
  const last = await stream.finalMessage();
  return { text: textOf(last), called: calls.map((call) => call.input), finishes: [first.stop_reason, last.stop_reason] };
}

async function structured(ask) {
  const format = { type: "json_schema", schema: flow };
  const made = await client(ask).messages.create(asked(ask, { output_config: { format } }));
  return { structured: JSON.parse(textOf(made)) };
}

async function image(ask) {
  const source = { type: "base64", media_type: "image/png", data: png };
  const content = [{ type: "image", source }, { type: "text", text: "What is this?" }];
  const { data, response } = await client(ask)
    .messages.create(asked(ask, { messages: [{ role: "user", content }] }))
    .withResponse();
  return told(data, response);
}

serve({ chat, stream, tools, structured, image }, (error) => error instanceof Anthropic.AnthropicError);
