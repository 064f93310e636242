// How a test commands a client: one object of JSON a line, in and out, as ../clients/line.py has it.

import { createInterface } from "node:readline";

export const ours = (headers) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith("x-headgate-") || name.startsWith("x-request-")));

// Does what each line asks for; an error that is not the client's own (`theirs`) ends the program.
export async function serve(abilities, theirs) {
  for await (const line of createInterface({ input: process.stdin })) {
    const ask = JSON.parse(line);
    let told;
    try {
      told = await abilities[ask.do](ask);
    } catch (error) {
      if (!theirs(error)) throw error;
      told = { error: { classes: classesOf(error), text: textOf(error), status: error.status ?? error.statusCode ?? null } };
    }
    console.log(JSON.stringify(told));
  }
}

function classesOf(error) {
  const classes = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) classes.push(kind.name);
  return classes;
}

const textOf = (error) => (error.cause && error.cause !== error ? `${error.message}: ${error.cause.message}` : error.message);

export const flow = {
  type: "object",
  properties: { gate: { type: "string" }, litres: { type: "integer" }, open: { type: "boolean" } },
  required: ["gate", "litres", "open"],
  additionalProperties: false,
};

export const weather = {
  name: "get_weather",
  description: "Tells the weather of a city.",
  schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  tell: (given) => `21 degrees in ${given.city}`,
};

// A picture of one pixel.
export const png =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
