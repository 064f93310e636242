// OpenAI's SDK for Node, as its users write it.

import OpenAI from "openai";
import { flow as schema, ours, serve } from "./line.mjs";

const client = (ask) =>
  new OpenAI({ baseURL: ask.url, apiKey: ask.key ?? "unused", maxRetries: ask.retries ?? 0, timeout: 60_000 });

const asked = (ask) => ({
  model: ask.model ?? "chat",
  messages: [{ role: "user", content: ask.text ?? "Hello" }],
  ...ask.more,
});

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Tells the weather of a city, in celsius or fahrenheit.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, unit: { type: "string" } },
      required: ["city", "unit"],
      additionalProperties: false,
    },
  },
};

const usageOf = (usage) => (usage ? [usage.prompt_tokens, usage.completion_tokens] : null);

async function chat_async(ask) {
  const { data, response } = await client(ask)
    .chat.completions.create(asked(ask), { headers: ask.headers })
    .withResponse();
  const [choice] = data.choices;
  return {
    text: choice.message.content,
    finish: choice.finish_reason,
    usage: usageOf(data.usage),
    headers: ours(response.headers),
    request_id: data._request_id,
  };
}

async function stream_async(ask) {
  const leaving = new AbortController();
  const { data, response } = await client(ask)
    .chat.completions.create(
      { ...asked(ask), stream: true, stream_options: { include_usage: true } },
      { headers: ask.headers, signal: leaving.signal },
    )
    .withResponse();
  let [text, finish, usage, pieces] = ["", null, null, 0];
  for await (const chunk of data) {
    const choice = chunk.choices[0];
    finish = choice?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
    if (!choice?.delta.content) continue;
    text += choice.delta.content;
    pieces += 1;
    if (pieces === ask.leave_after) leaving.abort();
  }
  return { text, finish, usage: usageOf(usage), pieces, headers: ours(response.headers) };
}

async function tools(ask) {
  const called = [];
  const runner = client(ask).chat.completions.runTools({
    ...asked(ask),
    parallel_tool_calls: false,
    tools: [
      {
        type: "function",
        function: {
          ...weather.function,
          parse: JSON.parse,
          function: (given) => (called.push(given), `21 degrees ${given.unit} in ${given.city}`),
        },
      },
    ],
  });
  return { text: await runner.finalContent(), called };
}

async function structured(ask) {
  const made = await client(ask).chat.completions.parse({
    ...asked(ask),
    response_format: { type: "json_schema", json_schema: { name: "flow", strict: true, schema } },
  });
  const forced = await client(ask).chat.completions.create({
    ...asked(ask),
    tools: [{ type: "function", function: { name: "Flow", parameters: schema, strict: true } }],
    tool_choice: { type: "function", function: { name: "Flow" } },
  });
  return {
    structured: {
      json_schema: JSON.parse(made.choices[0].message.content),
      function_calling: JSON.parse(forced.choices[0].message.tool_calls[0].function.arguments),
    },
  };
}

async function embed(ask) {
  const got = await client(ask).embeddings.create({ model: ask.model ?? "chat", input: ["one", "two"], dimensions: 64 });
  return { vectors: got.data.map((each) => each.embedding) };
}

const responses = async (ask) => ({
  text: (await client(ask).responses.create({ model: ask.model ?? "chat", input: ask.text ?? "Hello" })).output_text,
});

const abilities = { chat_async, stream_async, tools, structured, embed, responses };

serve(abilities, (error) => error instanceof OpenAI.OpenAIError);
