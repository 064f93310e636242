// The live page: asks every two seconds while it is looked at, and draws what it is told.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const { api, confirm, element, failed, format, toast } = headgate;
  const EVERY_MS = 2000;
  const at = (id) => document.getElementById(id);
  const seconds = (value) => (value == null ? "–" : format.seconds(value));
  const rate = (value) => format.number(value, value < 10 ? 1 : 0);
  const mayForce = document.querySelector('meta[name="csrf"]')?.content !== undefined;
  let span = 60;
  let paused = false;
  let shown = null;
  let timer = 0;

  const charts = {
    calls: headgate.chart(at("calls-chart"), { title: "Calls a second", kind: "area", unit: "calls", axis: "calls/s" }),
    tokens: headgate.chart(at("tokens-chart"), { title: "Tokens a second", kind: "lines", unit: "tokens", axis: "tokens/s" }),
  };

  async function look() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      show(await api("GET", `/admin/live?seconds=${span}`));
    } catch (error) {
      at("stands").textContent = `${error.message} Trying again.`;
    }
    timer = setTimeout(look, EVERY_MS);
  }

  function show(told) {
    shown = told;
    at("stands").textContent = `Revision ${told.revision}. ${told.journal_bytes ? `${format.bytes(told.journal_bytes)} of receipts on their way to the database.` : "Every receipt is in the database."}`;
    at("problems").hidden = !told.problems.length;
    at("problems").textContent = told.problems.join("; ");
    figures(told);
    draw(told.steps);
    rows(at("deployments"), told.deployments.map(deployment), "Nothing was asked in this time.");
    rows(at("failures"), told.errors.slice(0, 20).map(failure), "Nothing failed in this time.");
    rows(at("breakers"), told.breakers.map(breaker), "There are no endpoints.");
    at("window-note").textContent = `of the last ${format.seconds(told.window_s)}`;
  }

  function figures(told) {
    const last = told.steps.slice(-Math.max(1, Math.round(10 / told.every_s)));
    const mean = (field) => (last.length ? last.reduce((sum, step) => sum + step[field], 0) / last.length : 0);
    const sum = (field) => told.deployments.reduce((total, each) => total + each[field], 0);
    const [calls, errors] = [sum("calls"), sum("errors")];
    write("calls", rate(mean("calls")), `${format.short(calls)} in ${format.seconds(told.window_s)}`);
    write("errors", calls ? format.percent(errors / calls) : "–", `${format.short(errors)} of ${format.short(calls)} calls`);
    const timed = told.deployments.filter((each) => each.ttft_p95_s != null).sort((a, b) => b.ttft_p95_s - a.ttft_p95_s);
    write("ttft", timed.length ? format.seconds(timed[0].ttft_p95_s) : "–", timed.length ? `slowest: ${timed[0].deployment}` : "no call was streamed");
    write("tokens", format.short(mean("tokens_out")), `${format.short(mean("tokens_in"))} in a second`);
    write("flight", format.number(told.in_flight), told.queued ? `${format.number(told.queued)} wait` : "nobody waits");
    const [hits, misses] = [mean("hits"), mean("misses")];
    const kept = told.cache.map((each) => `${format.short(each.entries)} answers, ${format.bytes(each.bytes)}`)[0];
    write("cache", hits + misses ? format.percent(hits / (hits + misses)) : "–", kept ?? "answers are kept in Redis");
  }

  function write(id, value, note) {
    at(id).textContent = value;
    at(`${id}-note`).textContent = note;
  }

  function draw(steps) {
    const x = steps.map((step) => step.at);
    const of = (field) => steps.map((step) => step[field]);
    const answered = steps.map((step) => Math.max(0, step.calls - step.errors));
    charts.calls.set({ x, series: [{ label: "answered", values: answered }, { label: "failed", values: of("errors"), colour: "bad" }] });
    charts.tokens.set({ x, series: [{ label: "in", values: of("tokens_in") }, { label: "out", values: of("tokens_out") }] });
  }

  // -- tables --------------------------------------------------------------------------------------------------------

  const cell = (text, kind = "num") => element("td", kind ? { class: kind } : {}, text);

  function rows(table, made, nothing) {
    const held = document.activeElement?.dataset?.focus;
    const empty = element("td", { colspan: table.tHead.rows[0].cells.length, class: "muted" }, nothing);
    table.tBodies[0].replaceChildren(...(made.length ? made : [element("tr", {}, empty)]));
    if (held) table.querySelector(`[data-focus="${CSS.escape(held)}"]`)?.focus();
  }

  function deployment(each) {
    const place = element("span", { class: "muted" }, each.provider ? ` ${each.provider}${each.location ? `, ${each.location}` : ""}` : "");
    const name = element("td", {}, element("strong", {}, each.deployment || "(none)"), place);
    const share = each.calls ? each.errors / each.calls : 0;
    const errors = element("td", { class: "num" }, each.errors ? element("span", { class: `badge ${share > 0.2 ? "bad" : "warn"}` }, `${format.short(each.errors)}`) : "0");
    return element(
      "tr", {}, name, cell(format.short(each.calls)), errors, cell(format.number(each.in_flight)),
      cell(seconds(each.ttft_p50_s)), cell(seconds(each.ttft_p95_s)), cell(seconds(each.ttft_p99_s)),
      cell(seconds(each.tpot_p50_s)), cell(seconds(each.tpot_p95_s)), cell(format.short(each.tokens_out_per_s)),
    );
  }

  const failure = (each) => element("tr", {}, cell(each.deployment || "–", null), cell(each.reason || "–", null), cell(String(each.status)), cell(format.short(each.calls)));

  const KINDS = { closed: "ok", "half-open": "warn", resting: "warn", open: "bad", dead: "bad" };

  function breaker(each) {
    const state = element("td", {}, element("span", { class: `badge dot ${KINDS[each.state] ?? ""}` }, each.state));
    if (each.why) state.append(element("div", { class: "muted" }, each.why));
    const actions = element("td", { class: "num" });
    const past = element("button", { class: "button quiet small", type: "button", "data-focus": `h ${each.endpoint}` }, "History");
    past.addEventListener("click", () => tell(each));
    actions.append(past);
    if (mayForce) {
      const to = each.state === "closed" ? "open" : "closed";
      const lever = element("button", { class: "button small", type: "button", "data-focus": `f ${each.endpoint}` }, to === "open" ? "Open" : "Close");
      lever.setAttribute("aria-label", `${to === "open" ? "Open" : "Close"} the breaker of ${each.endpoint}`);
      lever.addEventListener("click", () => force(each.endpoint, to));
      actions.append(lever);
    }
    return element("tr", {}, cell(each.endpoint, null), state, cell(`${each.failures} of ${each.calls}`), actions);
  }

  async function force(endpoint, state) {
    const question = state === "open"
      ? `Open the breaker of ${endpoint}? No call goes there until you close it.`
      : `Close the breaker of ${endpoint}? Calls go there again.`;
    if (!(await confirm(question, state === "open" ? "Open it" : "Close it", state === "open" ? "danger" : "primary"))) return;
    try {
      await api("POST", `/admin/breakers/${encodeURIComponent(endpoint)}?state=${state}`);
      toast(`The breaker of ${endpoint} is ${state}.`, "ok");
      look();
    } catch (error) {
      failed(error);
    }
  }

  function tell(each) {
    at("history-title").textContent = `Breaker of ${each.endpoint}`;
    const past = [...each.history].reverse().map((change) => {
      const when = Date.now() / 1000 + (change.at ?? 0);
      return element("tr", {}, cell(change.at == null ? "–" : format.moment(when), null), cell(change.state, null), cell(change.why ?? "", null));
    });
    rows(at("history").querySelector("table"), past, "It has not changed since it was made.");
    at("history").showModal();
  }

  // -- controls ------------------------------------------------------------------------------------------------------

  for (const button of document.querySelectorAll("[data-window]"))
    button.addEventListener("click", () => {
      span = Number(button.dataset.window);
      for (const other of document.querySelectorAll("[data-window]")) other.setAttribute("aria-pressed", String(other === button));
      look();
    });
  at("pause").addEventListener("click", () => {
    paused = !paused;
    at("pause").setAttribute("aria-pressed", String(paused));
    at("pause").textContent = paused ? "Go on" : "Pause";
    if (!paused) look();
  });
  document.addEventListener("visibilitychange", look);
  look();
});
