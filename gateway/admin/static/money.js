// What the pages of money share: their state in the address, period, zone and filters, and links to receipts.
"use strict";

headgate.money = (() => {
  const { api, element, format } = headgate;
  const DIMENSIONS = ["team", "key", "user", "model", "deployment", "provider", "route", "sensitivity"];
  const AGE = /^(\d+)([mhdw])$/;
  const UNITS = { m: ["minute", 60], h: ["hour", 3600], d: ["day", 86400], w: ["week", 604800] };
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const isDimension = (name) => DIMENSIONS.includes(name) || (name.startsWith("tag:") && name.length > 4);

  // -- the state: the address's parameters, in the API's own words ---------------------------------------------------

  let state = new URLSearchParams(location.search);
  let draw = () => {};
  let extras = []; // parameters of this page's own

  /** Changes the address by a function of its parameters, and draws the page anew. */
  function go(change, replace = false) {
    const next = new URLSearchParams(state);
    change(next);
    if (!replace && next.toString() === state.toString()) return;
    state = next;
    history[replace ? "replaceState" : "pushState"](null, "", `?${state}`);
    show();
  }

  const set = (name, value) => go((next) => (value === null ? next.delete(name) : next.set(name, value)));
  const get = (name, otherwise = null) => state.get(name) ?? otherwise;
  const zone = () => get("tz", here);
  const filters = () => [...state].filter(([name]) => isDimension(name) || name === "none");

  const beside = () => [...state].filter(([name]) => extras.includes(name));

  function without(next, name, value) {
    const kept = [...next].filter((pair) => pair[0] !== name || pair[1] !== value);
    for (const key of [...next.keys()]) next.delete(key);
    for (const [key, each] of kept) next.append(key, each);
  }

  /** Narrows to one value of a dimension; "-" and "untagged" are what has none. */
  function narrow(next, dimension, value) {
    next.delete(dimension);
    without(next, "none", dimension);
    if (value === (dimension.startsWith("tag:") ? "untagged" : "-")) next.append("none", dimension);
    else next.append(dimension, value);
  }

  function monthBegins(tz, before = 0) {
    const parts = Object.fromEntries(new Intl.DateTimeFormat("en", { timeZone: tz, year: "numeric", month: "numeric" }).formatToParts().map((each) => [each.type, Number(each.value)]));
    return new Date(Date.UTC(parts.year, parts.month - 1 - before, 1)).toISOString().slice(0, 10);
  }

  /** Returns a query for the API: the period, the zone, the filters, and what is given beside them. */
  function asked(more = {}) {
    const query = new URLSearchParams([...filters(), ...beside()]);
    query.set("since", get("since", "30d"));
    if (get("until")) query.set("until", get("until"));
    query.set("tz", zone());
    if (query.get("since") === "month") query.set("since", monthBegins(zone()));
    for (const [name, value] of Object.entries(more)) if (value != null) query.set(name, value);
    return query.toString();
  }

  /** Returns how long the period is, in seconds. */
  function length() {
    const since = get("since", "30d");
    const [, count, unit] = AGE.exec(since) ?? [];
    const until = get("until") ? Date.parse(get("until")) : Date.now();
    if (count) return Number(count) * UNITS[unit][1];
    return (until - Date.parse(since === "month" ? monthBegins(zone()) : since)) / 1000;
  }

  const written = (text, options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone(), ...options }).format(new Date(text));

  /** Says the period and the filters in words: what a print or a picture of the page is of. */
  function words() {
    const since = get("since", "30d");
    const [, count, unit] = AGE.exec(since) ?? [];
    const day = (text) => (Number.isNaN(Date.parse(text)) ? text : /T/.test(text) ? written(text, { dateStyle: "medium", timeStyle: "short" }) : written(`${text}T00:00Z`, { dateStyle: "medium", timeZone: "UTC" }));
    let period = since === "month" ? `${written(Date.now(), { month: "long", year: "numeric" })} until now` : count ? `The last ${count} ${UNITS[unit][0]}${count === "1" ? "" : "s"}` : `From ${day(since)}`;
    if (get("until")) period += ` until ${day(get("until"))}`;
    const narrowed = [...filters(), ...beside()].map(([name, value]) => (name === "none" ? `no ${value}` : value === "true" ? name : `${SAID[name] ?? name} ${value}`));
    return [`${period}, ${zone().replaceAll("_", " ")}`, ...narrowed].join(" · ");
  }

  // -- the bar: period, zone, filters --------------------------------------------------------------------------------

  function bar() {
    const box = document.querySelector(".asked");
    for (const each of box.querySelectorAll("[data-since]")) each.addEventListener("click", () => go((next) => (next.set("since", each.dataset.since), next.delete("until"))));
    const zones = box.querySelector("[data-zone]");
    const known = [...new Set([zone(), here, "UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])])];
    zones.append(...known.map((name) => element("option", { value: name }, name.replaceAll("_", " "))));
    zones.addEventListener("change", () => set("tz", zones.value));
    custom(document.getElementById("custom"));
    adding(document.getElementById("add-filter"));
  }

  function custom(dialog) {
    const form = dialog.querySelector("form");
    const day = 86400000;
    const date = (moment) => new Date(moment).toISOString().slice(0, 10);
    form.elements.from.value = date(Date.now() - 13 * day);
    form.elements.to.value = date(Date.now());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [from, to] = [form.elements.from.value, form.elements.to.value].sort();
      dialog.close();
      go((next) => (next.set("since", from), next.set("until", date(Date.parse(to) + day)))); // the last day is whole
    });
  }

  let tagNames = null;

  /** Returns the names of tags that the latest calls have. */
  async function tags() {
    tagNames ??= api("GET", `/admin/receipts?${asked({ limit: 100 })}`).then(
      (page) => [...new Set(page.receipts.flatMap((each) => Object.keys(each.tags)))].sort(),
      () => [],
    );
    return tagNames;
  }

  /** Offers every dimension in a select; tags too, once somebody is about to choose. */
  function dimensions(select) {
    select.append(...DIMENSIONS.map((name) => element("option", { value: name }, name)));
    select.addEventListener("focus", async () => {
      for (const name of await tags()) choose(select, `tag:${name}`, select.value);
    });
  }

  /** Chooses an option, which is added where it is not there yet. */
  function choose(select, name, chosen = name) {
    if (![...select.options].some((each) => each.value === name)) select.append(element("option", { value: name }, name.replace("tag:", "tag: ")));
    select.value = chosen;
  }

  function adding(dialog) {
    const form = dialog.querySelector("form");
    const { dimension, value } = form.elements;
    const list = form.querySelector("datalist");
    async function offer() {
      list.replaceChildren();
      try {
        const told = await api("GET", `/admin/costs?${asked({ group_by: dimension.value, limit: 500 })}`);
        list.replaceChildren(...told.rows.filter((row) => !row.others).map((row) => element("option", { value: row.group })));
      } catch (error) {
        headgate.failed(error);
      }
    }
    dimensions(dimension);
    dialog.addEventListener("toggle", () => dialog.open && offer());
    dimension.addEventListener("change", () => ((value.value = ""), offer()));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      const [name, wanted] = [dimension.value, value.value.trim()];
      value.value = "";
      go((next) => {
        if (wanted === "-" || wanted === "untagged" || !wanted) next.append("none", name);
        else if (!next.getAll(name).includes(wanted)) next.append(name, wanted);
        next.delete("before");
      });
    });
  }

  const SAID = { status: "outcome", min_usd: "at least $", min_ttft: "first token ≥", min_e2e: "took ≥" };

  function chips() {
    const list = document.querySelector(".chips");
    list.replaceChildren(
      ...[...filters(), ...beside()].map(([name, value]) => {
        const [what, of] = name === "none" ? [value, "none"] : [name, value];
        const remove = element("button", { type: "button", "aria-label": `Remove the filter ${what} ${of}` }, "×");
        remove.addEventListener("click", () => go((next) => (without(next, name, value), next.delete("before"))));
        return element("li", { class: "chip" }, element("span", {}, (SAID[what] ?? what).replace("tag:", "tag: ")), ...(of === "true" ? [] : [element("b", {}, of)]), remove);
      }),
    );
    list.hidden = !list.children.length;
    for (const each of document.querySelectorAll("[data-since]")) each.setAttribute("aria-pressed", String(!get("until") && get("since", "30d") === each.dataset.since));
    const named = [...document.querySelectorAll("[data-since]")].some((each) => each.getAttribute("aria-pressed") === "true");
    document.querySelector('[data-opens="custom"]').setAttribute("aria-pressed", String(!named));
    document.querySelector("[data-zone]").value = zone();
    document.querySelector("[data-words]").textContent = words();
  }

  let turn = 0;

  /** Draws the page; what an older drawing still waits for is dropped. */
  async function show() {
    const mine = ++turn;
    const said = document.getElementById("said");
    document.body.setAttribute("aria-busy", "true");
    try {
      chips();
      await draw(() => mine === turn);
      if (mine === turn) said.hidden = true;
    } catch (error) {
      if (mine !== turn) return;
      said.replaceChildren(element("p", {}, error.message), element("p", {}, element("a", { href: location.pathname }, "Begin anew")));
      said.hidden = false;
    } finally {
      if (mine === turn) document.body.removeAttribute("aria-busy");
    }
  }

  /** Begins a page: `drawing` draws it on every change, and asks what it is given whether it still should. */
  function begin(drawing, own = []) {
    [draw, extras] = [drawing, own];
    bar();
    addEventListener("popstate", () => {
      state = new URLSearchParams(location.search);
      show();
    });
    go((next) => next.has("tz") || next.set("tz", here), true);
  }

  // -- what is written -----------------------------------------------------------------------------------------------

  /** Returns when spans begin; the first, which may be cut, as if it were whole. */
  function epochs(spans) {
    const at = spans.map((span) => Date.parse(span.since) / 1000);
    if (at.length > 2) at[0] = 2 * at[1] - at[2];
    return at;
  }

  const receiptsPath = (receipts, more = "") => `/admin/ui/receipts?${receipts}${more}&tz=${encodeURIComponent(zone())}`;

  /** Links a number to the receipts that it is made of; those of others are not told one by one. */
  function behind(receipts, text, title, more) {
    return receipts ? element("a", { class: "behind", href: receiptsPath(receipts, more), title: title ?? null }, text) : element("span", { title: title ?? null }, text);
  }

  /** Names a value as people read it: what has none is said so. */
  const named = (dimension, value) => (value === "-" ? `no ${dimension}` : value);
  const usd = (text) => format.usd(Number(text));
  const money = (receipts, text, more) => behind(receipts, usd(text), `$${text}`, more);
  const tokensOf = (row) => Object.values(row.tokens).reduce((sum, count) => sum + count, 0);

  /** Returns a figure: a label, a value that is a link or text, and a note. */
  function figure(label, value, ...note) {
    return element("div", { class: "figure" }, element("span", { class: "label" }, label), element("span", { class: "value" }, value), element("span", { class: "note" }, ...note));
  }

  /** Says how far a row's money is from that of the row before; more money is not good news. */
  function change(now, before) {
    if (!before.nano_usd) return [now.nano_usd ? "nothing before" : ""];
    const by = (now.nano_usd - before.nano_usd) / before.nano_usd;
    const even = Math.abs(by) < 0.005;
    const size = by >= 10 ? `${format.number(by + 1)}×` : format.percent(Math.abs(by));
    return [element("span", { class: `delta ${even ? "muted" : by > 0 ? "more" : "less"}` }, even ? "as much as" : `${by > 0 ? "▲" : "▼"} ${size} from`), " ", money(before.receipts, before.usd), " before"];
  }

  const SVG = "http://www.w3.org/2000/svg";

  /** Draws shares of a line, from the left: [[share, class], …]; and marks on it: [[share, class], …]. */
  function line(parts, marks = []) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "line");
    svg.setAttribute("aria-hidden", "true");
    const add = (kind, from, width) => {
      const rect = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ class: kind, x: `${from * 100}%`, width, height: "100%" })) rect.setAttribute(name, value);
      svg.append(rect);
    };
    let from = 0;
    for (const [share, kind] of parts) {
      const width = Math.max(0, Math.min(share, 1 - from));
      add(kind, from, `${width * 100}%`);
      from += width;
    }
    for (const [share, kind] of marks) add(kind, Math.min(0.995, share), "2");
    return svg;
  }

  /** Lists movers: before, now, and the change, the largest first. */
  function moverRows(told, dimension) {
    const most = Math.max(1, ...told.rows.map((row) => Math.abs(row.change_nano)));
    return told.rows.map((row) => {
      const rises = row.change_nano > 0;
      const share = Math.abs(row.change_nano) / most / 2;
      const signed = element("span", { class: `delta ${rises ? "more" : "less"}`, title: `$${row.change_usd}` }, `${rises ? "+" : "−"}${format.usd(Math.abs(row.change_nano / 1e9))}`);
      return element(
        "tr",
        {},
        element("td", { class: "clip" }, row.receipts ? element("a", { href: costsPath(dimension, row.group) }, named(dimension, row.group)) : named(dimension, row.group)),
        element("td", { class: "num" }, row.receipts ? money(row.receipts, row.usd) : usd(row.usd)),
        element("td", { class: "num" }, signed, element("small", {}, row.change_share == null ? "new" : `${rises ? "+" : "−"}${format.percent(Math.abs(row.change_share))}`)),
        element("td", { class: "wide-only" }, rises ? line([[0.5, "none"], [share, "more"]], [[0.5, "mark"]]) : line([[0.5 - share, "none"], [share, "less"]], [[0.5, "mark"]])),
      );
    });
  }

  /** Returns the costs page's address, narrowed to one value. */
  function costsPath(dimension, value, more = {}) {
    const query = new URLSearchParams({ since: get("since", "30d"), tz: zone(), ...more });
    narrow(query, dimension, value);
    return `/admin/ui/costs?${query}`;
  }

  /** Lists budgets: spent and reserved against the limit, the forecast as a mark. */
  function budgetRows(budgets) {
    return budgets.map((each) => {
      const share = (nano) => (each.limit_nano_usd ? nano / each.limit_nano_usd : 0);
      const spent = share(each.spent_nano_usd);
      const kind = spent >= 1 ? "bad" : spent >= 0.8 ? "warn" : "fill";
      const forecast = each.forecast_nano_usd == null ? [] : [[share(each.forecast_nano_usd), "mark"]];
      const name = each.scope === "overall" ? "Everything" : each.name;
      const said = element("div", { class: "budget-said" }, element("span", {}, element("b", {}, format.percent(spent)), ` · ${usd(each.spent_usd)} of ${usd(each.limit_usd)}`));
      if (each.forecast_usd != null) said.append(element("span", {}, `${format.nano(each.forecast_nano_usd)} at this pace`));
      const label = each.scope === "overall" ? element("strong", {}, name) : element("a", { href: costsPath(each.scope, name, { since: "month" }) }, name);
      return element("li", { class: "budget" }, element("div", { class: "budget-head" }, label, element("span", { class: "muted" }, `${each.scope === "overall" ? "" : `${each.scope.replace("tag:", "tag ")}, `}per ${each.per} · begins anew ${format.ago(each.resets_at)}`)), line([[spent, kind], [share(each.reserved_nano_usd), "soft"]], forecast), said);
    });
  }

  return { named, begin, go, set, get, asked, filters, narrow, zone, length, dimensions, choose, monthBegins, behind, money, usd, tokensOf, epochs, figure, change, line, moverRows, budgetRows, costsPath, receiptsPath, words };
})();
