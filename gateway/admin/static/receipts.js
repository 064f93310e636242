// The log of calls: filters in the address, page by page, a row opens its receipt.
"use strict";

(() => {
  const { api, element, format, money } = headgate;
  const at = (id) => document.getElementById(id);
  const form = at("narrow");
  const MARKS = ["cached", "estimated", "unpriced"];
  const OUT = ["output_text", "reasoning", "audio_output"];
  const FIELDS = ["status", "min_usd", "min_ttft", "min_e2e"];

  async function draw(current) {
    for (const name of FIELDS) form.elements[name].value = money.get(name, "");
    form.elements.mark.value = MARKS.find((name) => money.get(name) === "true") ?? "";
    const page = await api("GET", `/admin/receipts?${money.asked({ before: money.get("before") })}`);
    if (!current()) return;
    at("log").tBodies[0].replaceChildren(...(page.receipts.length ? page.receipts.map(row) : [empty()]));
    at("newest").hidden = !money.get("before");
    at("older").hidden = !page.next;
    at("older").onclick = () => {
      money.set("before", page.next);
      scrollTo({ top: 0 });
    };
  }

  const written = (moment, options) => new Intl.DateTimeFormat("en-GB", { timeZone: money.zone(), ...options }).format(new Date(moment * 1000));
  const milliseconds = (value) => element("td", { class: "num wide-only", "data-value": value ?? "" }, value == null ? element("span", { class: "muted" }, "–") : format.seconds(value / 1000));

  function row(each) {
    const href = `/admin/ui/receipts/${encodeURIComponent(each.id)}`;
    const out = OUT.reduce((sum, name) => sum + (each.tokens[name] ?? 0), 0);
    const into = money.tokensOf(each) - out;
    const link = element("a", { href, class: "moment" }, written(each.at, { hour: "2-digit", minute: "2-digit", second: "2-digit" }), element("small", {}, written(each.at, { day: "numeric", month: "short" })));
    const ok = each.status < 400;
    const outcome = element("td", { "data-value": each.reason ?? each.status }, element("span", { class: `badge ${ok ? "ok" : "bad"}` }, `${each.status}`), each.reason ? element("small", { title: each.reason.replaceAll("_", " ") }, each.reason.replaceAll("_", " ")) : "");
    const flags = (...names) => names.filter((name) => each[name]).map((name) => element("span", { class: `badge flag ${name === "cached" ? "info" : "warn"}` }, name));
    const made = element(
      "tr",
      {},
      element("td", { "data-value": each.time }, link),
      outcome,
      element("td", { class: "wide-only" }, each.model ?? "–", each.sensitivity && each.sensitivity !== "internal" ? element("small", {}, each.sensitivity) : ""),
      element("td", { class: "wide-only", "data-value": each.deployment ?? "" }, each.deployment ?? element("span", { class: "muted" }, "nobody"), ...flags("cached")),
      element("td", { class: "clip", "data-value": [each.team, each.key, each.user].filter(Boolean).join(" ") }, each.team ?? each.key, element("small", {}, [each.team ? each.key : "", each.user && each.user !== each.key ? each.user : ""].filter(Boolean).join(" · "))),
      element("td", { class: "num wide-only", "data-value": into + out }, into + out ? `${format.short(into)} → ${format.short(out)}` : "–"),
      element("td", { class: "num", "data-value": each.usd ?? "" }, ...flags("unpriced"), each.usd === null ? element("span", { class: "muted" }, "–") : element("span", { title: `$${each.usd}${each.estimated ? ", estimated: its provider told no usage" : ""}` }, ...(each.estimated ? [element("b", { class: "delta warn" }, "≈ ")] : []), money.usd(each.usd))),
      milliseconds(each.ttft_ms),
      milliseconds(each.e2e_ms),
    );
    made.addEventListener("click", (event) => {
      if (!event.target.closest("a") && !getSelection().toString()) (event.ctrlKey || event.metaKey ? open(href) : location.assign(href));
    });
    return made;
  }

  function empty() {
    const narrowed = money.filters().length || [...MARKS, ...FIELDS, "reason"].some((name) => money.get(name));
    const said = money.get("before") ? ["This is the end", "There are no older receipts in this time."] : narrowed ? ["No call matches", "Take a filter away, or choose a longer period."] : ["No calls in this time", "Choose a longer period, or send a first call: its receipt is here as soon as it is answered."];
    return element("tr", {}, element("td", { colspan: 9 }, element("div", { class: "empty" }, element("p", { class: "empty-title" }, said[0]), element("p", {}, said[1]))));
  }

  function narrow() {
    money.go((next) => {
      next.delete("before");
      for (const name of FIELDS) form.elements[name].value.trim() ? next.set(name, form.elements[name].value.trim().replace(/^\$/, "")) : next.delete(name);
      for (const name of MARKS) form.elements.mark.value === name ? next.set(name, "true") : next.delete(name);
    });
  }

  form.addEventListener("change", narrow);
  form.addEventListener("submit", (event) => (event.preventDefault(), narrow()));
  at("newest").addEventListener("click", () => money.set("before", null));
  at("again").addEventListener("click", () => money.go((next) => next.delete("before"), true));
  document.addEventListener("keydown", (event) => {
    const way = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog, .nav")) return;
    const links = [...document.querySelectorAll("#log .moment")];
    const next = links[Math.max(0, Math.min(links.length - 1, links.indexOf(document.activeElement) + way))];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  money.begin(draw, ["status", "reason", "min_usd", "min_ttft", "min_e2e", ...MARKS]);
})();
