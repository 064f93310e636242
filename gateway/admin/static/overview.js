// The overview: this month's money, the last day's calls, and what wants looking at, each a link.
"use strict";

(async () => {
  const { api, element, format, money } = headgate;
  const root = document.getElementById("overview");
  const at = (id) => document.getElementById(id);
  const everywhere = root.hasAttribute("data-everywhere");
  const mover = everywhere ? "team" : "key";
  const tz = money.zone();
  const WORST = ["bad", "warn", "info"];
  const DOUBTFUL = 0.02; // of the money or of the calls: from here on it is told

  const query = (parameters) => new URLSearchParams({ ...parameters, tz }).toString();
  const ask = (path, parameters = {}) => api("GET", `${path}?${query(parameters)}`);

  async function draw() {
    const month = { since: money.monthBegins(tz) };
    const [spent, day, days, hours, movers, allowed, guards] = await Promise.all([
      ask("/admin/costs/summary", month),
      ask("/admin/costs/summary", { since: "24h" }),
      ask("/admin/costs", { since: "30d", group_by: "day", split_by: mover, limit: 6 }),
      ask("/admin/costs", { since: "24h", group_by: "hour" }),
      ask("/admin/costs/movers", { since: "7d", group_by: mover }),
      root.hasAttribute("data-budgets") ? api("GET", "/admin/budgets") : { budgets: [] },
      everywhere ? api("GET", "/admin/breakers") : { breakers: [] },
    ]);
    at("welcome").hidden = days.total.calls + spent.total.calls > 0;
    root.classList.toggle("fresh", !at("welcome").hidden);
    if (!at("welcome").hidden) welcome();
    figures(spent, day);
    attention(spent, day, allowed.budgets, guards.breakers);
    spend(days);
    traffic(hours);
    const full = (each) => (each.limit_nano_usd ? each.spent_nano_usd / each.limit_nano_usd : 0);
    const fullest = [...allowed.budgets].sort((a, b) => full(b) - full(a)).slice(0, 6);
    at("budgets")?.replaceChildren(...(fullest.length ? money.budgetRows(fullest) : [element("li", { class: "muted" }, "There are no budgets yet: they are set at teams and keys.")]));
    const changed = { ...movers, rows: movers.rows.slice(0, 7) };
    at("movers").replaceChildren(...(changed.rows.length ? money.moverRows(changed, mover) : [element("tr", {}, element("td", { colspan: 4, class: "muted" }, "Nothing changed."))]));
  }

  function welcome() {
    at("first-call").textContent = [`curl ${location.origin}/v1/chat/completions \\`, "  -H 'content-type: application/json' \\", "  -H 'authorization: Bearer hg-…' \\", `  -d '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}'`].join("\n");
  }

  function figures(spent, day) {
    const [begins, next] = [Date.parse(spent.since), Date.parse(money.monthBegins(tz, -1))];
    const passed = (Date.now() - begins) / (next - begins);
    const forecast = passed > 0.05 ? `${format.nano(spent.total.nano_usd / passed)} by its end, at this pace` : "the month has only begun";
    const { cache, hosted_list: listed } = spent.savings;
    const saved = cache.nano_usd + listed.nano_usd;
    const behind = (value, text) => element("a", { class: "behind", href: `/admin/ui/costs?${query({ since: "month" })}`, title: text }, value);
    at("figures").replaceChildren(
      money.figure("Spent this month", behind(money.usd(spent.total.usd), `$${spent.total.usd}`), forecast),
      money.figure("Spent in 24 hours", money.money(day.total.receipts, day.total.usd), ...money.change(day.total, day.before)),
      money.figure("Calls in 24 hours", money.behind(day.total.receipts, format.short(day.total.calls), format.number(day.total.calls)), money.behind(day.total.receipts, `${format.percent(day.error_share)} failed`, `${format.number(day.total.errors)} calls`, "&status=error"), ` · ${format.percent(day.cached_share)} from the cache`),
      money.figure("Saved this month", behind(format.nano(saved), "against all hosted at list price, and by the cache"), `${format.nano(cache.nano_usd)} by the cache, ${format.nano(listed.nano_usd)} against list`),
    );
  }

  function attention(spent, day, budgets, breakers) {
    const found = [];
    const tell = (kind, mark, href, text, note) => found.push(element("li", { "data-kind": kind }, element("a", { href }, element("span", { class: `badge dot ${kind}` }, mark), element("span", { class: "what" }, text), element("span", { class: "muted" }, note))));
    for (const each of breakers.filter((each) => each.state !== "closed"))
      tell(each.state === "half-open" ? "warn" : "bad", each.state, "/admin/ui/live", `${each.endpoint} takes no calls`, each.why ?? "");
    for (const each of budgets) {
      const share = each.limit_nano_usd ? each.spent_nano_usd / each.limit_nano_usd : 0;
      if (share < 0.8) continue;
      const name = each.scope === "overall" ? "The whole budget" : `The budget of ${each.scope.replace("tag:", "tag ")} ${each.name}`;
      tell(share >= 1 ? "bad" : "warn", format.percent(share), "/admin/ui/budgets", `${name} per ${each.per}`, `${money.usd(each.spent_usd)} of ${money.usd(each.limit_usd)}, begins anew ${format.ago(each.resets_at)}`);
    }
    if (day.error_share > DOUBTFUL) tell("warn", format.percent(day.error_share), money.receiptsPath(day.total.receipts, "&status=error"), "of calls failed in 24 hours", `${format.number(day.total.errors)} calls`);
    if (spent.total.unpriced) tell("warn", format.short(spent.total.unpriced), money.receiptsPath(spent.total.receipts, "&unpriced=true"), "calls of unknown price this month", "they are in no sum of money");
    if (spent.estimated_share > DOUBTFUL) tell("info", format.percent(spent.estimated_share), money.receiptsPath(spent.total.receipts, "&estimated=true"), "of this month's money is estimated", "providers told no usage");
    found.sort((a, b) => WORST.indexOf(a.dataset.kind) - WORST.indexOf(b.dataset.kind));
    at("attention").replaceChildren(...(found.length ? found : [element("li", { class: "calm" }, element("span", { class: "badge dot ok" }, "all well"), element("span", { class: "muted" }, "No breaker is open, no budget nearly spent, nothing unpriced."))]));
  }

  const pick = (told, more = "") => (index) => location.assign(money.receiptsPath(`since=${told.spans[index].since}&until=${told.spans[index].until}`, more));

  function spend(told) {
    const places = new Map(told.spans.map((span, index) => [span.name, index]));
    const series = new Map();
    for (const row of told.rows) {
      const name = row.others ? "others" : row.split;
      if (!series.has(name)) series.set(name, { label: money.named(mover, name), others: Number(row.others ?? false), sum: 0, values: new Array(told.spans.length).fill(0) });
      series.get(name).values[places.get(row.group)] += row.nano_usd / 1e9;
      series.get(name).sum += row.nano_usd;
    }
    const ordered = [...series.values()].sort((a, b) => a.others - b.others || b.sum - a.sum);
    headgate.chart(at("spend"), { title: `Spend by ${mover}, 30 days`, kind: "bars", unit: "usd", zone: tz, x: money.epochs(told.spans), series: ordered, pick: pick(told) });
  }

  function traffic(told) {
    const of = new Map(told.rows.map((row) => [row.group, row]));
    const count = (measure) => told.spans.map((span) => (of.has(span.name) ? measure(of.get(span.name)) : 0));
    const series = [
      { label: "asked of providers", values: count((row) => row.calls - row.errors - row.cached) },
      { label: "from the cache", values: count((row) => row.cached) },
      { label: "failed", values: count((row) => row.errors), colour: "bad" },
    ].filter((each, index) => !index || each.values.some(Boolean));
    headgate.chart(at("traffic"), { title: "Calls, 24 hours", kind: "bars", unit: "calls", zone: tz, x: money.epochs(told.spans), series: told.rows.length ? series : [], pick: pick(told) });
  }

  try {
    await draw();
  } catch (error) {
    at("said").textContent = error.message;
    at("said").hidden = false;
  }
})();
