// The playground: a conversation that lives in this page alone, and what became of each of its calls.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const { api, element, failed, format } = headgate;
  const at = (id) => document.getElementById(id);
  const csrf = document.querySelector('meta[name="csrf"]')?.content;
  const turns = []; // {role, content} as the API takes them
  let going = null; // an AbortController while an answer comes

  // -- as whom, and of which model -----------------------------------------------------------------------------------

  const asked = () => (at("key").value ? `?key=${encodeURIComponent(at("key").value)}` : "");

  function offer(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, label]) => element("option", { value }, label)));
    if (entries.some(([value]) => value === chosen)) select.value = chosen;
  }

  async function choices(first) {
    try {
      const told = await api("GET", `/admin/playground${asked()}`);
      if (first) {
        const mine = told.keys.map((key) => [key.name, key.team ? `${key.name}, of ${key.team}` : key.name]);
        offer(at("key"), told.models.length ? [["", "nobody: an admin"], ...mine] : mine);
        if (!told.models.length && mine.length) return choices(false);
      }
      offer(at("model"), told.models.map((name) => [name, name]), at("model").value);
      at("send").disabled = !told.models.length;
    } catch (error) {
      failed(error);
    }
  }

  // -- a turn --------------------------------------------------------------------------------------------------------

  function turn(role, text) {
    const shown = element("li", { class: `turn ${role}` }, text);
    at("nothing").hidden = true;
    at("turns").append(shown);
    shown.scrollIntoView({ block: "nearest" });
    return shown;
  }

  function body() {
    const number = (id) => (at(id).value === "" ? undefined : Number(at(id).value));
    const system = at("system").value.trim();
    const stream = at("stream").checked;
    return {
      model: at("model").value,
      messages: [...(system ? [{ role: "system", content: system }] : []), ...turns],
      temperature: number("temperature"),
      max_tokens: number("max"),
      stream,
      stream_options: stream ? { include_usage: true } : undefined,
    };
  }

  async function ask(text) {
    turns.push({ role: "user", content: text });
    turn("user", text);
    const shown = turn("assistant going", "");
    going = new AbortController();
    busy(true);
    const told = { began: performance.now(), first: null, text: "", thought: "", usage: null, finish: null };
    let id = null;
    try {
      const answer = await fetch(`/admin/playground/chat${asked()}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...(csrf ? { "x-csrf-token": csrf } : {}) },
        body: JSON.stringify(body()),
        signal: going.signal,
      });
      id = answer.headers.get("x-request-id");
      told.deployment = answer.headers.get("x-headgate-deployment");
      told.warnings = answer.headers.get("x-headgate-warnings");
      if (!answer.ok) throw new Error((await answer.json()).error?.message ?? `The gateway answered with ${answer.status}.`);
      if (answer.headers.get("content-type")?.startsWith("text/event-stream")) await follow(answer, told, shown);
      else take(await answer.json(), told, shown);
      if (!told.text && !told.thought) shown.textContent = "(no text)";
      turns.push({ role: "assistant", content: told.text });
    } catch (error) {
      if (error.name === "AbortError") {
        shown.append(element("span", { class: "thought" }, "stopped"));
        turns.push({ role: "assistant", content: told.text });
      } else {
        turns.pop(); // so that it can be asked again
        shown.classList.add("bad");
        shown.append(`${told.text ? "\n" : ""}${error.message}`);
      }
    } finally {
      told.took = performance.now() - told.began;
      shown.classList.remove("going");
      going = null;
      busy(false);
      if (id) became(id, told);
    }
  }

  function take(answer, told, shown) {
    const choice = answer.choices?.[0];
    told.usage = answer.usage;
    told.finish = choice?.finish_reason;
    grow(told, shown, choice?.message?.content ?? "", choice?.message?.reasoning_content ?? choice?.message?.reasoning ?? "");
  }

  async function follow(answer, told, shown) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      held += value;
      const events = held.split(/\r?\n\r?\n/);
      held = events.pop();
      for (const event of events) {
        const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
        if (!data || data === "[DONE]") continue;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(chunk.error.message);
        if (chunk.usage) told.usage = chunk.usage;
        const choice = chunk.choices?.[0];
        if (choice?.finish_reason) told.finish = choice.finish_reason;
        grow(told, shown, choice?.delta?.content ?? "", choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? "");
      }
    }
  }

  function grow(told, shown, text, thought) {
    if (!text && !thought) return;
    told.first ??= performance.now() - told.began;
    told.text += text;
    told.thought += thought;
    if (thought) {
      const place = shown.querySelector(".thought") ?? shown.insertBefore(element("span", { class: "thought" }), shown.firstChild);
      place.textContent = told.thought;
    }
    if (text) shown.append(text);
    shown.scrollIntoView({ block: "nearest" });
  }

  // -- what became of it ---------------------------------------------------------------------------------------------

  async function became(id, told) {
    at("told").hidden = false;
    at("receipt").href = `/admin/ui/receipts/${encodeURIComponent(id)}`;
    at("sentence").textContent = told.deployment ? `Sent to ${told.deployment}.` : "";
    facts(told, null);
    try {
      const decision = await api("GET", `/admin/decisions/${encodeURIComponent(id)}`);
      at("sentence").textContent = decision.sentence;
      facts(told, decision.receipt);
    } catch (error) {
      if (error.status !== 404) failed(error);
    }
  }

  function facts(told, receipt) {
    const usage = told.usage ?? {};
    const out = usage.completion_tokens;
    const rest = (told.took - (told.first ?? 0)) / 1000;
    const rows = [
      ["First token", told.first == null ? null : format.seconds(told.first / 1000)],
      ["Altogether", format.seconds(told.took / 1000)],
      ["Tokens a second", out > 1 && rest > 0 && at("stream").checked ? format.number((out - 1) / rest, 1) : null],
      ["Tokens in", usage.prompt_tokens == null ? null : format.number(usage.prompt_tokens)],
      ["Tokens out", out == null ? null : format.number(out)],
      ["Cost", receipt && receipt.cost_nano != null ? format.nano(receipt.cost_nano) : receipt ? "unknown price" : null],
      ["Sensitivity", receipt?.sensitivity],
      ["Cache", receipt?.cache && receipt.cache !== "-" ? receipt.cache : null],
      ["Ended by", told.finish],
      ["Mind", told.warnings],
    ];
    at("facts").replaceChildren(
      ...rows.filter(([, value]) => value != null && value !== "").flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    );
  }

  // -- controls ------------------------------------------------------------------------------------------------------

  function busy(is) {
    at("send").hidden = is;
    at("stop").hidden = !is;
    at("anew").disabled = is;
  }

  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = at("text").value.trim();
    if (!text || going) return;
    at("text").value = "";
    ask(text);
  });
  at("text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    at("ask").requestSubmit();
  });
  at("stop").addEventListener("click", () => going?.abort());
  at("anew").addEventListener("click", () => {
    turns.length = 0;
    at("turns").replaceChildren();
    at("nothing").hidden = false;
    at("told").hidden = true;
    at("text").focus();
  });
  at("key").addEventListener("change", () => choices(false));
  choices(true);
});
