// The editor of the config: colours, line numbers, mistakes at their lines, the diff before it is applied, dry runs.
"use strict";

(() => {
  const { api, element, format, toast, failed } = headgate;
  const root = document.getElementById("config");
  const area = document.getElementById("text");
  const code = root.querySelector(".editor-code");
  const gutter = root.querySelector(".editor-lines");
  const state = document.getElementById("state");
  const readonly = root.dataset.readonly !== undefined;
  const byId = (id) => document.getElementById(id);

  let served = area.value; // what the draft is compared with
  let number = Number(root.dataset.number); // the revision that the draft goes on from
  let shownLines = [];
  let remarks = new Map(); // line -> [kind, message]
  let verdict = null;
  let asked = 0;

  // -- the sheet: a text area on top of its coloured lines -----------------------------------------------------------

  function draw() {
    const lines = area.value.split("\n");
    let first = 0;
    while (first < lines.length && first < shownLines.length && lines[first] === shownLines[first]) first++;
    let last = 0;
    while (last < Math.min(lines.length, shownLines.length) - first && lines.at(-1 - last) === shownLines.at(-1 - last)) last++;
    const made = lines.slice(first, lines.length - last).map(row);
    for (let index = shownLines.length - last - 1; index >= first; index--) code.children[index].remove();
    const before = code.children[first] ?? null;
    for (const each of made) code.insertBefore(each, before);
    if (gutter.children.length !== lines.length) {
      while (gutter.children.length > lines.length) gutter.lastChild.remove();
      while (gutter.children.length < lines.length) gutter.append(element("div", {}, String(gutter.children.length + 1)));
    }
    shownLines = lines;
    area.style.height = `${code.offsetHeight}px`;
    area.style.width = "100%";
    area.style.width = `${Math.max(code.scrollWidth, area.scrollWidth)}px`;
  }

  const row = (text) => element("div", {}, ...yaml.line(text), "\n");

  function mark() {
    for (const each of [...code.querySelectorAll(".editor-note")]) each.remove();
    for (const each of [...root.querySelectorAll(".has-bad, .has-warn")]) each.classList.remove("has-bad", "has-warn");
    for (const [line, [kind, message]] of remarks) {
      const [place, digit] = [code.children[line - 1], gutter.children[line - 1]];
      if (!place) continue;
      place.classList.add(`has-${kind}`);
      digit.classList.add(`has-${kind}`);
      place.lastChild.before(element("span", { class: `editor-note ${kind}` }, message));
    }
  }

  function go(line, column = 1) {
    const start = shownLines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const at = start + Math.min(column - 1, shownLines[line - 1]?.length ?? 0);
    area.focus();
    area.setSelectionRange(at, start + (shownLines[line - 1]?.length ?? 0));
    const editor = byId("editor");
    editor.scrollTop = Math.max(0, code.children[line - 1].offsetTop - editor.clientHeight / 3);
  }

  // -- what would come of it -----------------------------------------------------------------------------------------

  function say(kind, text) {
    state.className = `badge ${kind}`;
    state.textContent = text;
  }

  async function judge() {
    const turn = ++asked;
    verdict = null;
    if (area.value === served) {
      show(null);
      return say("", "as it serves");
    }
    say("", "checking …");
    try {
      const told = await api("POST", "/admin/config/validate", { text: area.value });
      if (turn !== asked) return;
      verdict = told;
    } catch (error) {
      if (turn === asked) say("bad", error.message);
      return;
    }
    show(verdict);
    const count = verdict.problems.length;
    if (count) say("bad", count === 1 ? "1 mistake" : `${count} mistakes`);
    else say("ok", "can serve");
  }

  function show(told) {
    remarks = new Map();
    const list = [];
    for (const [kind, each] of [...(told?.problems ?? []).map((one) => ["bad", one]), ...(told?.warnings ?? []).map((one) => ["warn", one])]) {
      if (each.line && !remarks.has(each.line)) remarks.set(each.line, [kind, each.message]);
      const jump = element("button", { type: "button", class: "remark" }, element("span", { class: `badge ${kind}` }, each.line ? `line ${each.line}` : "config"), element("span", {}, each.message));
      jump.addEventListener("click", () => each.line && go(each.line, each.column));
      list.push(element("li", {}, jump));
    }
    byId("remarks").hidden = !list.length;
    byId("remarks").replaceChildren(element("ul", { class: "remarks" }, ...list));
    mark();
    if (readonly) return;
    byId("review").disabled = !told?.ok;
    byId("undo").disabled = area.value === served;
    matrix(told);
  }

  function matrix(told) {
    const section = byId("proof");
    section.hidden = !told?.matrix;
    if (section.hidden) return;
    const { levels, deployments, cells } = told.matrix;
    const cell = (level) => cells.find((each) => each.route === "" && each.under === "" && each.level === level)?.permitted ?? [];
    const head = element("tr", {}, element("th", {}, "Deployment"), ...levels.map((level) => element("th", {}, level)));
    const rows = deployments.map((name) =>
      element("tr", {}, element("td", {}, name), ...levels.map((level) => (cell(level).includes(name) ? element("td", {}, element("span", { class: "badge ok" }, "yes")) : element("td", { class: "muted" }, "–")))),
    );
    byId("matrix").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
    const tests = told.tests ?? [];
    const bad = tests.filter((each) => each.why).length;
    byId("tests").textContent = !tests.length ? "no policy tests" : bad ? `${bad} of ${tests.length} policy tests fail` : `${tests.length} policy ${tests.length === 1 ? "test passes" : "tests pass"}`;
    byId("tests").className = `badge ${bad ? "bad" : tests.length ? "ok" : ""}`;
  }

  function replace(text) {
    area.value = text;
    changed();
  }

  let waiting;
  function changed() {
    draw();
    names();
    clearTimeout(waiting);
    waiting = setTimeout(judge, 400);
  }

  // -- applying ------------------------------------------------------------------------------------------------------

  function diff(text) {
    const kinds = { "+": "add", "-": "gone", "@": "place" };
    const lines = text.split("\n").slice(2);
    byId("diff").replaceChildren(...(lines.length ? lines.map((line) => element("span", { class: kinds[line[0]] ?? "same" }, `${line}\n`)) : ["Nothing changes."]));
  }

  async function review() {
    clearTimeout(waiting);
    await judge();
    if (!verdict?.ok) return;
    const outdated = verdict.against !== number;
    conflict(outdated ? `revision ${verdict.against} has come meanwhile, and this would undo it` : null);
    byId("apply-base").textContent = verdict.against;
    diff(verdict.diff);
    byId("apply").showModal();
  }

  function conflict(message) {
    byId("conflict").hidden = message === null;
    byId("save").disabled = message !== null;
    byId("conflict").querySelector("p").textContent = `Somebody was quicker: ${message}.`;
  }

  async function save() {
    const button = byId("save");
    button.disabled = true;
    const watched = byId("watch-for").value;
    try {
      const body = { text: area.value, note: byId("note").value.trim() };
      const told = await api("PUT", `/admin/config${watched ? `?watch=${watched}` : ""}`, body, { "if-match": `"${number}"` });
      served = area.value;
      sessionStorage.setItem("config-said", `Revision ${told.number} serves.`);
      location.reload();
    } catch (error) {
      if (error.status === 412) return conflict(error.message);
      button.disabled = false;
      byId("apply").close();
      if (error.status === 422) await judge();
      failed(error);
    }
  }

  /** Puts the draft beside what serves by now: what would undo the other's edit is seen, and can be mended. */
  async function rebase() {
    try {
      const told = await api("GET", "/admin/config");
      served = told.text;
      number = told.number;
      await review();
      if (!verdict?.ok) byId("apply").close();
    } catch (error) {
      failed(error);
    }
  }

  // -- forms: edits at the place of a value, made by the gateway -------------------------------------------------------

  const blank = (text) => (text === null || text === undefined || text === "" ? undefined : text);
  const price = (read) => (blank(read.input) && blank(read.output) ? { input: read.input, ...(blank(read.cached_input) && { cached_input: read.cached_input }), output: read.output } : undefined);

  /** Says whether a route's `among` is a list of names or weights by name, as the draft writes it. */
  function among(route) {
    const lines = area.value.split("\n");
    const start = lines.findIndex((line) => new RegExp(`name["']?\\s*:\\s*["']?${route.replace(/[^\w]/g, "\\$&")}["']?\\s*([,}#]|$)`).test(line));
    return lines.slice(Math.max(0, start), start + 12).join("\n").match(/among["']?\s*:\s*\{/) ? "weights" : "list";
  }

  const edits = {
    deployment(read) {
      const value = { provider: read.provider, model: read.model, ...(price(read) && { price: price(read) }) };
      const made = [{ op: "add", path: ["deployments"], key: read.name, value }];
      if (blank(read.route)) made.push({ op: "add", path: ["policies", "routes", read.route, "among"], value: read.name });
      return made;
    },
    price: (read) => [{ op: "set", path: ["deployments", read.name, "price"], value: price(read) }],
    route(read) {
      const path = ["policies", "routes", read.route, "among"];
      if (blank(read.weight) && read.where !== "gone") return [{ op: "set", path: [...path, read.name], value: Number(read.weight) }];
      if (read.where === "gone" && among(read.route) === "weights") return [{ op: "remove", path: [...path, read.name] }];
      const steps = listed(read.route);
      const rest = steps.filter((name) => name !== read.name);
      return [{ op: "set", path, value: read.where === "gone" ? rest : read.where === "first" ? [read.name, ...rest] : [...rest, read.name] }];
    },
    key(read) {
      const models = (read.models ?? "").split(/[\s,]+/).filter(Boolean);
      const value = { name: read.name, ...(blank(read.team) && { team: read.team }), hash: read.hash, ...(models.length && { models }) };
      return [{ op: "add", path: ["keys"], value }];
    },
  };

  /** Returns the steps of a route as the last check saw them. */
  const listed = (route) => known.routes.get(route) ?? [];

  async function edit(form) {
    let text = area.value;
    const kind = form.dataset.edit;
    const read = headgate.fields(form);
    const error = form.querySelector(".form-said") ?? form.insertBefore(element("p", { class: "field-error form-said", role: "alert" }), form.querySelector(".dialog-actions"));
    error.textContent = "";
    try {
      if (kind === "key" && !/^keys\s*:/m.test(text)) text = (await api("POST", "/admin/config/edit", { text, edits: [{ op: "set", path: ["keys"], value: [] }] })).text;
      const told = await api("POST", "/admin/config/edit", { text, edits: edits[kind](read) });
      const before = area.value.split("\n");
      form.closest("dialog").close();
      form.reset();
      if (kind === "key") byId("made-key").hidden = true;
      replace(told.text);
      const after = told.text.split("\n");
      const line = after.findIndex((each, index) => each !== before[index]);
      if (line >= 0) go(line + 1);
    } catch (failure) {
      error.textContent = failure.message;
    }
  }

  /** Learns the names in the draft, to be chosen from: by its lines, so that a draft with mistakes gives some, too. */
  const known = { routes: new Map() };
  function names() {
    if (readonly) return;
    const found = { providers: new Set(), deployments: new Set(), teams: new Set(), routes: new Set() };
    known.routes = new Map();
    let section = "";
    let depth = null;
    let route = null;
    let list = null;
    for (const line of area.value.split("\n")) {
      const top = /^["']?([a-z_]+)["']?\s*:/.exec(line);
      if (top) [section, depth, list] = [top[1], null, null];
      const member = /^(\s+)["']?([A-Za-z0-9_][\w.@:+-]*?)["']?\s*:(?:\s|$)/.exec(line);
      if (member && section in found && section !== "routes") {
        depth ??= member[1].length;
        if (member[1].length === depth) found[section].add(member[2]);
      }
      if (section !== "policies") continue;
      const named = /^\s*-\s*\{?\s*["']?name["']?\s*:\s*["']?([\w.@:+-]+)/.exec(line) ?? /^\s+["']?name["']?\s*:\s*["']([\w.@:+-]+)["']/.exec(line);
      if (named) [route, list] = [named[1], null];
      const steps = /["']?among["']?\s*:\s*(.*)$/.exec(line);
      if (route && steps) {
        found.routes.add(route);
        const flow = /^\[([^\]]*)\]/.exec(steps[1]);
        const words = (text) => text.split(",").map((each) => each.trim().replace(/^["']|["']$/g, "")).filter(Boolean);
        known.routes.set(route, flow ? words(flow[1]) : /^all\b/.test(steps[1]) ? [...found.deployments] : []);
        list = flow || /^[{a]/.test(steps[1]) ? null : known.routes.get(route);
      } else if (list) {
        const item = /^\s*(?:-\s*)?["']?([A-Za-z0-9_][\w.@:+-]*)["']?\s*,?\s*(?:#.*)?$/.exec(line);
        if (item) list.push(item[1]);
        else if (/\S/.test(line) && !/^\s*#/.test(line)) list = null;
      }
    }
    for (const [id, all] of Object.entries(found)) byId(id).replaceChildren(...[...all].map((value) => element("option", { value })));
  }

  async function makeKey() {
    if (!crypto.subtle) return toast("A browser makes keys over HTTPS, or on the gateway's own machine: use `headgate keys create`.", "bad");
    const bytes = crypto.getRandomValues(new Uint8Array(24));
    const key = `hg-${btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_")}`;
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
    byId("fk-hash").value = `sha256:${[...hash].map((each) => each.toString(16).padStart(2, "0")).join("")}`;
    byId("made-key").hidden = false;
    byId("made-key").querySelector("code").textContent = key;
  }

  // -- dry runs --------------------------------------------------------------------------------------------------------

  const figure = (label, value, note) => element("div", { class: "figure" }, element("span", { class: "label" }, label), element("span", { class: "value" }, value), element("span", { class: "note" }, note));
  const sum = (counts) => Object.values(counts).reduce((all, each) => all + each, 0);

  function delta(before, after, write, fewer = "less", more = "more") {
    if (before === null || after === null) return "not measured";
    if (before === after) return "as now";
    return `${write(Math.abs(after - before))} ${after < before ? fewer : more} than now (${write(before)})`;
  }

  async function dryRun() {
    const section = byId("trial");
    section.hidden = false;
    byId("trial-lead").textContent = "Putting calls through the draft …";
    byId("trial-figures").replaceChildren();
    byId("trial-tables").replaceChildren();
    section.scrollIntoView({ block: "nearest" });
    let told;
    try {
      told = await api("POST", "/admin/config/dryrun", { text: area.value, since: byId("since").value });
    } catch (error) {
      byId("trial-lead").textContent = error.message;
      return;
    }
    const { serving, draft } = told;
    const seen = told.sampled ? `, ${format.number(told.examined)} of them looked at` : "";
    byId("trial-lead").textContent = told.calls
      ? `${format.number(told.calls)} calls${seen}: ${format.number(told.changed)} would have gone elsewhere than by the config that serves.`
      : "There were no calls in that time.";
    if (!told.calls) return;
    const seconds = (value) => (value === null ? "–" : format.seconds(value));
    byId("trial-figures").replaceChildren(
      figure("Cost", format.nano(draft.nano_usd), delta(serving.nano_usd, draft.nano_usd, format.nano)),
      figure("Refused", format.number(sum(draft.rejected)), delta(sum(serving.rejected), sum(draft.rejected), format.number, "fewer", "more")),
      figure("First token, median", seconds(draft.ttft_p50_s), delta(serving.ttft_p50_s, draft.ttft_p50_s, format.seconds, "sooner", "later")),
      figure("Whole answer, median", seconds(draft.e2e_p50_s), delta(serving.e2e_p50_s, draft.e2e_p50_s, format.seconds, "sooner", "later")),
    );
    const places = [...new Set([told.actual, serving, draft].flatMap((side) => Object.keys(side.by_deployment)))];
    const codes = [...new Set([told.actual, serving, draft].flatMap((side) => Object.keys(side.rejected)))];
    const counts = (name, field) => [told.actual, serving, draft].map((side) => element("td", { class: "num" }, format.number(side[field][name] ?? 0)));
    const table = (head, rows) => element("table", { class: "table" }, element("thead", {}, element("tr", {}, ...head.map(([text, kind]) => element("th", { class: kind }, text)))), element("tbody", {}, ...rows));
    const where = table(
      [["Calls to"], ["as it was", "num"], ["as it serves", "num"], ["by the draft", "num"]],
      [...places.map((name) => element("tr", {}, element("td", {}, name === "cache" ? "the cache" : name), ...counts(name, "by_deployment"))), ...codes.map((name) => element("tr", {}, element("td", {}, "refused: ", element("code", {}, name)), ...counts(name, "rejected")))],
    );
    const moves = table(
      [["From"], ["To"], ["Calls", "num"], ["Cost now", "num"], ["Cost by the draft", "num"], ["Such as"]],
      told.moves.map((move) =>
        element("tr", {}, element("td", {}, move.origin), element("td", {}, move.to), element("td", { class: "num" }, format.number(move.calls)), element("td", { class: "num" }, format.nano(move.nano_usd_before)), element("td", { class: "num" }, format.nano(move.nano_usd_after)), element("td", {}, element("a", { href: `/admin/decisions/${move.examples[0]}` }, move.examples[0]))),
      ),
    );
    const assumed = element("details", { class: "assumed" }, element("summary", {}, "What this assumes"), element("ul", {}, ...told.assumptions.map((each) => element("li", {}, each))));
    byId("trial-tables").replaceChildren(where, ...(told.moves.length ? [moves] : []), assumed);
    section.scrollIntoView({ block: "nearest" });
  }

  // ---------------------------------------------------------------------------------------------------------------------

  draw();
  names();
  const said = sessionStorage.getItem("config-said");
  if (said) {
    sessionStorage.removeItem("config-said");
    addEventListener("load", () => toast(said, "ok"));
  }
  if (readonly) return;
  area.addEventListener("input", changed);
  addEventListener("beforeunload", (event) => area.value !== served && event.preventDefault());
  byId("undo").addEventListener("click", async () => {
    if (await headgate.confirm("Throw the draft away?", "Throw it away", "danger")) replace(served);
  });
  byId("review").addEventListener("click", review);
  byId("save").addEventListener("click", save);
  byId("rebase").addEventListener("click", rebase);
  byId("try").addEventListener("click", dryRun);
  byId("since").addEventListener("change", dryRun);
  byId("make-key").addEventListener("click", makeKey);
  for (const form of document.querySelectorAll(".edit-form"))
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      edit(form);
    });
})();
