// The page of pools: looks every two seconds while it is looked at.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const { api, confirm, element, failed, format, toast, write } = headgate;
  const EVERY_MS = 2000;
  const at = (id) => document.getElementById(id);
  const maySteer = document.querySelector('meta[name="csrf"]')?.content !== undefined;
  const KINDS = { ready: "ok", suspect: "bad", failed: "bad", backoff: "warn", draining: "warn", stopping: "warn", stopped: "" };
  const path = (...parts) => `/admin/pool/${parts.map(encodeURIComponent).join("/")}`;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const [{ pools }, { events }] = await Promise.all([api("GET", "/admin/pool"), api("GET", "/admin/pool/events")]);
      const focus = document.activeElement?.dataset?.focus;
      at("pools").replaceChildren(...pools.map(card));
      if (focus) document.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
      at("none").hidden = pools.length > 0;
      at("events-card").hidden = pools.length === 0;
      at("stands").textContent = "";
      const told = events.slice(-50).reverse().map(event);
      at("events").tBodies[0].replaceChildren(...(told.length ? told : [element("tr", {}, element("td", { colspan: 4, class: "muted" }, "Nothing yet."))]));
      write(at("events"));
    } catch (error) {
      at("stands").textContent = `${error.message} Trying again.`;
    }
    timer = setTimeout(look, EVERY_MS);
  }

  function figure(label, value, note) {
    return element("div", { class: "figure" }, element("span", { class: "label" }, label), element("span", { class: "value" }, value), element("span", { class: "note" }, note ?? ""));
  }

  function button(text, focus, act, kind = "") {
    const made = element("button", { class: `button small ${kind}`, type: "button", "data-focus": focus }, text);
    made.addEventListener("click", act);
    return made;
  }

  function card(pool) {
    const actions = element("div", { class: "toolbar" });
    if (maySteer && pool.launched) {
      actions.append(
        button("Scale", `scale ${pool.pool}`, () => scale(pool)),
        button("Restart all", `restart ${pool.pool}`, () => steer(`Restart every replica of ${pool.pool}, one after the other?`, "Restart", path(pool.pool, "restart"))),
      );
    }
    const ready = pool.replicas.filter((each) => each.phase === "ready").length;
    const figures = element("div", { class: "figures" }, figure("Ready", `${ready} of ${pool.replicas.length}`, pool.launched ? "launched here" : "found"));
    if (pool.load != null) figures.append(figure("Load", format.percent(pool.load), pool.routing ? `routed by ${pool.routing.replaceAll("_", " ")}` : ""));
    if (pool.tokens_per_s) figures.append(figure("Tokens out a second", format.short(pool.tokens_per_s.output), `${format.short(pool.tokens_per_s.input)} in`));
    const price = pool.prices?.[0];
    if (price) figures.append(figure("A million tokens out", format.nano(price.full_output), `a further one now: ${format.nano(price.marginal_output)}`));
    const cached = pool.cached_tokens;
    if (cached?.predicted) figures.append(figure("Cached, of what was foretold", format.percent(cached.actual / cached.predicted), `${format.short(pool.index_blocks)} blocks in the index`));
    const table = element("table", { class: "table" });
    const names = ["Replica", "Phase", "In flight", "Running", "Waiting", "KV memory", "From cache", "GPUs", ""];
    table.append(
      element("thead", {}, element("tr", {}, ...names.map((name, index) => element("th", index > 1 && index < 7 ? { class: "num" } : {}, name)))),
      element("tbody", {}, ...pool.replicas.map((each) => replica(pool, each))),
    );
    return element("section", { class: "card", "aria-label": pool.pool }, element("div", { class: "card-head" }, element("h2", {}, pool.pool, " ", element("span", { class: "muted" }, (pool.deployments ?? []).join(", "))), actions), figures, element("div", { class: "table-wrap below" }, table));
  }

  function replica(pool, each) {
    const num = (value) => element("td", { class: "num" }, value ?? "–");
    const phase = element("td", {}, element("span", { class: `badge dot ${KINDS[each.phase] ?? "info"}` }, each.phase), " ", element("span", { class: "muted" }, format.ago(each.since_at)));
    if (each.progress != null && each.phase !== "ready") {
      phase.append(element("progress", { class: "bar", max: 1, value: each.progress, "aria-label": "Start" }));
      if (each.eta_s != null) phase.append(element("span", { class: "muted" }, `ready in about ${format.seconds(each.eta_s)}`));
    }
    if (each.why) phase.append(element("div", { class: "muted" }, each.why));
    const name = element("td", {}, element("strong", {}, each.name), element("div", { class: "muted" }, each.address));
    if (each.restarts) name.append(element("div", { class: "muted" }, `restarted ${each.restarts} times`));
    const actions = element("td", { class: "num" });
    if (pool.launched) {
      const [of, key] = [`${each.name} of ${pool.pool}`, `${pool.pool}/${each.name}`];
      actions.append(button("Log", `log ${key}`, () => logs(pool.pool, each.name), "quiet"));
      if (maySteer)
        actions.append(
          button("Drain", `drain ${key}`, () => steer(`Take replica ${of} out? Calls under way go on, then it is stopped.`, "Drain", path(pool.pool, each.name, "drain"), "danger"), "quiet"),
          button("Restart", `again ${key}`, () => steer(`Drain replica ${of} and start it anew?`, "Restart", path(pool.pool, each.name, "restart")), "quiet"),
        );
    }
    return element(
      "tr", {}, name, phase, num(format.number(each.in_flight)), num(each.running), num(each.waiting),
      num(each.kv_usage == null ? null : format.percent(each.kv_usage)), num(each.cached_share == null ? null : format.percent(each.cached_share)),
      element("td", {}, each.gpus.join(", ") || "–"), actions,
    );
  }

  function event(each) {
    const cell = (text) => element("td", {}, text);
    return element("tr", {}, element("td", { class: "moment" }, element("time", { "data-at": each.at })), cell(each.replica ? `${each.pool}, ${each.replica}` : each.pool), element("td", {}, element("code", {}, each.what)), cell(each.why));
  }

  // -- what can be done ----------------------------------------------------------------------------------------------

  async function steer(question, yes, target, kind = "primary", body) {
    if (question && !(await confirm(question, yes, kind))) return;
    try {
      const { done } = await api("POST", target, body);
      toast(done ? "Done." : "Begun: the events below tell how it goes.", "ok");
      look();
    } catch (error) {
      failed(error);
    }
  }

  function scale(pool) {
    at("scale-title").textContent = `Replicas of ${pool.pool}`;
    at("replicas").value = pool.replicas.length;
    at("scale-form").onsubmit = (event) => {
      event.preventDefault();
      at("scale").close();
      steer(null, null, path(pool.pool, "scale"), "primary", { replicas: Number(at("replicas").value) });
    };
    at("scale").showModal();
  }

  async function logs(pool, name) {
    try {
      const { lines } = await api("GET", `${path(pool, name, "logs")}?lines=300`);
      at("logs-title").textContent = `Log of replica ${name} of ${pool}`;
      at("lines").textContent = lines.join("\n") || "It has said nothing.";
      at("logs").showModal();
      at("lines").scrollTop = at("lines").scrollHeight;
    } catch (error) {
      failed(error);
    }
  }

  document.addEventListener("visibilitychange", look);
  look();
});
