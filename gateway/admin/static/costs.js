// The costs page: where the money went, by anything; every number leads to its receipts.
"use strict";

(() => {
  const { api, element, format, money } = headgate;
  const root = document.getElementById("costs");
  const at = (id) => document.getElementById(id);
  const NEXT = ["team", "key", "user", "model", "deployment", "provider"]; // how one looks closer
  const SERIES = 7;
  const KINDS = {
    fresh_input: "Input", cached_input: "Input from the provider's cache", cache_write_5m: "Written to its cache, 5 min", cache_write_1h: "Written to its cache, 1 h",
    audio_input: "Audio in", image_input: "Images in", output_text: "Output", reasoning: "Reasoning", audio_output: "Audio out", other: "Fees, and attempts that failed",
  };
  const MEASURES = {
    usd: ["Spend", (row) => row.nano_usd / 1e9, "usd"],
    calls: ["Calls", (row) => row.calls, "calls"],
    tokens: ["Tokens", money.tokensOf, "tokens"],
  };
  const titled = (name) => (name.startsWith("tag:") ? name.replace("tag:", "Tag: ") : name[0].toUpperCase() + name.slice(1));
  const by = () => money.get("by", "team");
  const measure = () => MEASURES[money.get("measure")] ?? MEASURES.usd;
  let chart = null;

  function grain() {
    const length = money.length();
    const auto = length <= 2.1 * 86400 ? "hour" : length <= 100 * 86400 ? "day" : length <= 400 * 86400 ? "week" : "month";
    return money.get("per", auto);
  }

  async function draw(current) {
    const budgets = root.hasAttribute("data-budgets") ? api("GET", "/admin/budgets") : Promise.resolve({ budgets: [] });
    // A pool costs the same whoever asks it: what it cost is not told of a part of its callers.
    const whole = root.hasAttribute("data-everywhere") && money.filters().every(([name]) => name === "provider");
    const gpus = whole ? api("GET", `/admin/costs/gpus?${money.asked()}`) : Promise.resolve({ pools: [] });
    const [table, time, summary, movers, allowed, owned] = await Promise.all([
      api("GET", `/admin/costs?${money.asked({ group_by: by() })}`),
      api("GET", `/admin/costs?${money.asked({ group_by: grain(), split_by: by(), limit: SERIES })}`),
      api("GET", `/admin/costs/summary?${money.asked()}`),
      api("GET", `/admin/costs/movers?${money.asked({ group_by: by() })}`),
      budgets,
      gpus,
    ]);
    if (!current()) return;
    root.classList.toggle("nothing", !summary.total.calls);
    controls();
    figures(summary);
    const order = overTime(time, allowed.budgets);
    rows(table, order);
    saved(summary.savings);
    buckets(summary.total);
    at("mover-name").textContent = titled(by());
    at("movers").replaceChildren(...(movers.rows.length ? money.moverRows(movers, by()) : [none(4, "Nothing changed.")]));
    if (at("budgets")) {
      const shown = allowed.budgets.filter(concerns).sort((a, b) => b.spent_nano_usd / b.limit_nano_usd - a.spent_nano_usd / a.limit_nano_usd);
      at("budgets").replaceChildren(...(shown.length ? money.budgetRows(shown) : [element("li", { class: "muted" }, allowed.budgets.length ? "No budget is of what is shown here." : "There are no budgets yet: they are set at teams and keys.")]));
    }
    if (at("gpus")) pools(owned.pools);
    at("fresh").textContent = summary.fresh_at ? `Every call until ${format.moment(Date.parse(summary.fresh_at) / 1000)} is in these sums.` : "";
    headgate.write(root);
  }

  const none = (width, text) => element("tr", {}, element("td", { colspan: width, class: "muted" }, text));

  function controls() {
    for (const each of root.querySelectorAll("[data-measure]")) each.setAttribute("aria-pressed", String(MEASURES[each.dataset.measure] === measure()));
    at("per").value = grain();
    money.choose(at("by"), by());
    at("by-name").textContent = titled(by());
    at("csv").href = `/admin/costs?${money.asked({ group_by: grain(), split_by: by(), limit: 5000, format: "csv" })}`;
    at("over-time").textContent = `${measure()[0]} over time`;
  }

  // -- figures -------------------------------------------------------------------------------------------------------

  function figures({ total, before, units, savings, estimated_share: estimated, unpriced_share: unpriced, error_share: errors }) {
    const tokens = units.input_tokens + units.output_tokens;
    const doubtful = (share, text) => element("span", { class: share > 0.02 ? "delta warn" : "" }, text);
    const each = (text) => (text === null ? "–" : money.behind(total.receipts, money.usd(text), `$${text}`));
    at("figures").replaceChildren(
      money.figure("Spend", money.money(total.receipts, total.usd), ...money.change(total, before)),
      money.figure("Calls", money.behind(total.receipts, format.short(total.calls), format.number(total.calls)), money.behind(total.receipts, `${format.percent(errors)} failed`, `${format.number(total.errors)} calls`, "&status=error")),
      money.figure("Tokens", money.behind(total.receipts, format.short(tokens), format.number(tokens)), `${format.short(units.input_tokens)} in, ${format.short(units.output_tokens)} out`),
      money.figure("Per 1,000 calls", each(units.usd_per_1000_calls), units.usd_per_million_tokens === null ? "" : `${money.usd(units.usd_per_million_tokens)} per million tokens`),
      money.figure("Per user", each(units.usd_per_user), `${format.number(units.users)} user${units.users === 1 ? "" : "s"}`),
      money.figure("Saved", savedBy(savings), "against all hosted at list price, and by the cache"),
      money.figure("Estimated", money.behind(total.receipts, format.percent(estimated), "the part of the money whose tokens we counted ourselves", "&estimated=true"), doubtful(estimated, "of the money")),
      money.figure("Unpriced", money.behind(total.receipts, format.number(total.unpriced), "calls of unknown price, in no sum", "&unpriced=true"), doubtful(unpriced, `${format.percent(unpriced)} of calls, in no sum`)),
    );
  }

  const savedBy = ({ cache, hosted_list: listed }) => element("span", { title: "what the cache spared, and what choosing and own GPUs did" }, format.nano(cache.nano_usd + listed.nano_usd));

  // -- over time -----------------------------------------------------------------------------------------------------

  /** Draws the chart; returns the names in the order of their colours. */
  function overTime(told, budgets) {
    const [title, value, unit] = measure();
    const places = new Map(told.spans.map((span, index) => [span.name, index]));
    const series = new Map();
    for (const row of told.rows) {
      const name = row.others ? "others" : row.split;
      if (!series.has(name)) series.set(name, { label: money.named(by(), name), name, others: row.others, sum: 0, values: new Array(told.spans.length).fill(0) });
      const found = series.get(name);
      found.values[places.get(row.group)] += value(row);
      found.sum += row.nano_usd || row.calls / 1e9;
    }
    const ordered = [...series.values()].sort((a, b) => (a.others ?? false) - (b.others ?? false) || b.sum - a.sum);
    const x = money.epochs(told.spans);
    const pick = (index) => {
      const filters = new URLSearchParams(money.filters()).toString();
      location.assign(money.receiptsPath(`since=${told.spans[index].since}&until=${told.spans[index].until}${filters && `&${filters}`}`));
    };
    const given = { kind: "bars", unit, x, series: ordered, zone: money.zone(), title: `${title} by ${by()} · ${money.words()}`, lines: pace(told.spans, budgets), pick };
    if (chart) chart.set(given);
    else chart = headgate.chart(at("chart"), given);
    return ordered.map((each) => each.name);
  }

  /** Says whether a budget is of what is shown. */
  function concerns(budget) {
    const filters = money.filters();
    return !filters.length || filters.some(([name, value]) => budget.scope === name && budget.name === value);
  }

  /** Returns the line that a budget draws: what each span may cost, if all are to cost the same. */
  function pace(spans, budgets) {
    const filters = money.filters();
    const found = budgets
      .filter((each) => (filters.length ? filters.length === 1 && concerns(each) : each.scope === "overall"))
      .sort((a, b) => b.resets_at - b.period_start_at - (a.resets_at - a.period_start_at))[0];
    at("pace").hidden = !found || measure() !== MEASURES.usd;
    if (at("pace").hidden || !spans.length) return [];
    const of = found.limit_nano_usd / 1e9;
    const length = { hour: 3600, day: 86400, week: 604800, month: 86400 * 30.44 }[grain()];
    const each = (of * length) / (found.resets_at - found.period_start_at);
    const name = found.scope === "overall" ? "The whole budget" : `The budget of ${found.name}`;
    at("pace").textContent = `${name} is ${format.usd(of)} per ${found.per}: ${format.usd(each)} per ${grain()} would use it up.`;
    return [{ label: `${format.usd(each)} per ${grain()}`, value: each }];
  }

  function rows(told, order) {
    const whole = told.total.nano_usd;
    const sorted = [...told.rows].sort((a, b) => (a.others ?? false) - (b.others ?? false) || b.nano_usd - a.nano_usd || b.calls - a.calls);
    at("table").tBodies[0].replaceChildren(...sorted.map((row) => tableRow(row, whole, order)));
    at("table").tFoot.replaceChildren(...(sorted.length > 1 ? [tableRow({ ...told.total, group: "All" }, whole, null)] : []));
    if (!sorted.length) at("table").tBodies[0].append(empty());
  }

  function tableRow(row, whole, order) {
    const tokens = money.tokensOf(row);
    const cell = (value, ...children) => element("td", { class: "num", "data-value": value }, ...children);
    const per = (nano, units) => (units ? format.usd(nano / 1e9 / units) : "–");
    const name = element("td", { "data-value": row.group });
    if (order) {
      const swatch = element("span", { class: "swatch" });
      const place = order.indexOf(row.group);
      swatch.style.background = `var(--series-${(place < 0 ? order.length - 1 : place) % 8 + 1})`;
      name.append(element("span", { class: "named" }, swatch, row.others ? "others" : closer(row.group)));
    } else name.append(row.group);
    const doubt = (share, text, receipts, more) => (share > 0 ? money.behind(receipts, text, null, more) : element("span", { class: "muted" }, "0"));
    return element(
      "tr",
      {},
      name,
      cell(row.usd, money.money(row.receipts, row.usd)),
      cell(whole ? row.nano_usd / whole : 0, element("span", { class: "of" }, order ? money.line([[whole ? row.nano_usd / whole : 0, "fill"]]) : "", element("span", {}, whole ? format.percent(row.nano_usd / whole) : "–"))),
      cell(row.calls, money.behind(row.receipts, format.number(row.calls))),
      cell(row.errors, doubt(row.errors, format.number(row.errors), row.receipts, "&status=error")),
      cell(tokens, money.behind(row.receipts, format.short(tokens), format.number(tokens))),
      cell(row.calls ? row.nano_usd / 1e6 / row.calls : "", per(row.nano_usd * 1000, row.calls)),
      cell(tokens ? row.nano_usd / 1e3 / tokens : "", per(row.nano_usd * 1e6, tokens)),
      cell(row.saved_usd, doubt(Number(row.saved_usd), money.usd(row.saved_usd), row.receipts, "&cached=true")),
      cell(row.estimated_share, doubt(row.estimated_share, format.percent(row.estimated_share), row.receipts, "&estimated=true")),
      cell(row.unpriced, doubt(row.unpriced, format.number(row.unpriced), row.receipts, "&unpriced=true")),
    );
  }

  /** Makes a name that looks closer: filtered to it, and by what comes next. */
  function closer(value) {
    const button = element("button", { type: "button", class: "closer", title: `Only ${money.named(by(), value)}` }, money.named(by(), value));
    button.addEventListener("click", () => {
      const taken = new Set([...money.filters().map(([name]) => name), by()]);
      const next = NEXT.slice(NEXT.indexOf(by()) + 1).find((name) => !taken.has(name)) ?? NEXT.find((name) => !taken.has(name)) ?? "model";
      money.go((query) => {
        money.narrow(query, by(), value);
        query.set("by", next);
      });
    });
    return button;
  }

  function empty() {
    const filtered = money.filters().length > 0;
    const cell = element("td", { colspan: 11 }, element("div", { class: "empty" }, element("p", { class: "empty-title" }, filtered ? "No call matches" : "No calls in this time"), element("p", {}, filtered ? "Take a filter away, or choose a longer period." : "Choose a longer period, or send a first call: its cost is here as soon as it is answered.")));
    return element("tr", {}, cell);
  }

  // -- the cards below -----------------------------------------------------------------------------------------------

  function saved(savings) {
    const told = [
      ["hosted_list", "All hosted at list price", "routing and own GPUs, against what hosted places list"],
      ["dearest", "The dearest permitted place", "routing, against the dearest place each call was allowed"],
      ["pool", "Own GPUs", "their answers, against the cheapest hosted place allowed"],
      ["cache", "The cache", "answers kept, at what they had cost"],
    ];
    at("saved").replaceChildren(
      ...told.map(([name, title, how]) => {
        const each = savings[name];
        const paid = Number(each.paid_usd);
        const otherwise = Number(each.otherwise_usd);
        const most = Math.max(paid, otherwise) || 1;
        const sum = element("b", { class: each.nano_usd < 0 ? "delta more" : "", title: `$${each.usd}` }, each.compared ? format.nano(each.nano_usd) : "–");
        const note = each.compared ? `${format.usd(paid)} paid instead of ${format.usd(otherwise)} · ${format.percent(each.share)} · ${format.number(each.compared)} call${each.compared === 1 ? "" : "s"} compared` : "no call to compare";
        return element("div", { class: "saving" }, element("div", { class: "saving-head" }, element("span", {}, element("strong", {}, title), element("small", {}, how)), sum), money.line(each.compared ? [[paid / most, "fill"], [Math.max(0, otherwise - paid) / most, "less"]] : []), element("small", {}, note));
      }),
    );
  }

  function buckets(total) {
    const names = Object.keys(KINDS).filter((name) => total.tokens[name] || total.cost[name]);
    at("buckets").tBodies[0].replaceChildren(
      ...names.map((name) => {
        const [count, nano] = [total.tokens[name] ?? 0, total.cost[name] ?? 0];
        const per = count ? (nano / 1e3 / count).toFixed(9).replace(/\.?0+$/, "") : "";
        return element(
          "tr",
          {},
          element("td", {}, KINDS[name]),
          element("td", { class: "num", "data-value": count }, count ? money.behind(total.receipts, format.short(count), format.number(count)) : "–"),
          element("td", { class: "num", "data-value": format.exact(nano) }, money.money(total.receipts, format.exact(nano))),
          element("td", { class: "num", "data-value": per }, per ? format.usd(Number(per)) : "–"),
        );
      }),
    );
    if (!names.length) at("buckets").tBodies[0].append(none(4, "No tokens in this time."));
  }

  function pools(owned) {
    at("gpus-card").hidden = !owned.length;
    at("gpus").replaceChildren(...owned.map(pool));
  }

  function pool(each) {
    const path = money.costsPath("provider", each.provider);
    const gained = Number(each.saved_usd);
    const even = each.break_even_tokens_per_hour;
    const most = Math.max(each.tokens_per_hour, even ?? 0) * 1.15 || 1;
    const figures = element(
      "div",
      { class: "figures" },
      money.figure("$ per million tokens", each.usd_per_million_tokens === null ? "–" : element("a", { class: "behind", href: path }, money.usd(each.usd_per_million_tokens)), "at the present utilisation"),
      money.figure("Utilisation", format.percent(each.utilisation), money.line([[each.utilisation, "fill"]]), each.basis === "full price" ? "of what is paid for" : "of its busiest hour"),
      money.figure("Idle money", money.usd(each.idle_usd), `of ${money.usd(each.usd)}: ${each.gpus} GPU${each.gpus === 1 ? "" : "s"} at ${money.usd(each.usd_per_gpu_hour)}/h`, each.unused_hours ? `; ${format.number(each.unused_hours)} h without a call` : ""),
      money.figure("Against hosted", element("span", { class: `delta ${gained < 0 ? "more" : "less"}` }, `${gained < 0 ? "−" : "+"}${format.usd(Math.abs(gained))}`), `hosted at list: ${money.usd(each.hosted_usd)}`),
      money.figure("Spilled over", format.number(each.spilled), `${format.percent(each.spilled_share)} of calls went to hosted places`),
    );
    const said = even === null ? "No call could have gone to a hosted place: there is nothing to break even with." : `${format.short(each.tokens_per_hour)} tokens an hour; from ${format.short(even)} on, own GPUs cost less than hosted places.`;
    return element("div", { class: "pool" }, element("h3", {}, element("a", { href: path }, each.provider)), figures, element("div", { class: "even" }, money.line([[each.tokens_per_hour / most, even !== null && each.tokens_per_hour < even ? "warn" : "fill"]], even === null ? [] : [[even / most, "mark"]]), element("small", {}, said)));
  }

  // -- controls ------------------------------------------------------------------------------------------------------

  for (const each of root.querySelectorAll("[data-measure]")) each.addEventListener("click", () => money.set("measure", each.dataset.measure));
  at("by").addEventListener("change", () => money.set("by", at("by").value));
  at("per").addEventListener("change", () => money.set("per", at("per").value));
  document.querySelector("[data-copy-link]").addEventListener("click", async () => {
    await navigator.clipboard?.writeText(location.href);
    headgate.toast("The link is copied: it shows just this.", "ok");
  });
  headgate.sortable(at("table"));
  money.dimensions(at("by"));
  money.begin(draw);
})();
