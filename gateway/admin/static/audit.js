// The audit log: a page of changes at a time, by the filters that the address holds.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const { api, element, failed, write } = headgate;
  const at = (id) => document.getElementById(id);
  const filters = ["who", "what", "object"];
  const asked = new URLSearchParams(location.search);
  for (const name of filters) at(name).value = asked.get(name) ?? "";

  /** What differs between two states of an object, as `name: before → after`. */
  function differences(before, after) {
    if (before === null || after === null || typeof before !== "object" || typeof after !== "object")
      return [before, after].map((each) => (each === null ? "nothing" : typeof each === "object" ? JSON.stringify(each) : String(each))).join(" → ");
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    const told = (value) => (value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value));
    return names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name])).map((name) => `${name}: ${told(before[name])} → ${told(after[name])}`).join("\n");
  }

  function row(change) {
    const who = element("td", {}, element("strong", {}, change.who), element("div", { class: "muted" }, change.team ? `${change.role} of ${change.team}` : change.role));
    return element(
      "tr", {},
      element("td", { class: "moment" }, element("time", { "data-at": change.at, "data-as": "moment" })),
      who,
      element("td", {}, element("code", {}, change.what)),
      element("td", {}, change.object),
      element("td", { class: "change" }, differences(change.before ?? null, change.after ?? null)),
    );
  }

  async function look(before) {
    const query = new URLSearchParams({ limit: "50" });
    for (const name of filters) if (at(name).value.trim()) query.set(name, at(name).value.trim());
    if (before) query.set("before", before);
    try {
      const told = await api("GET", `/admin/audit?${query}`);
      const body = at("changes").tBodies[0];
      if (!before) body.replaceChildren();
      body.append(...told.changes.map(row));
      if (!body.rows.length) body.append(element("tr", {}, element("td", { colspan: 5, class: "muted" }, "No change is on record.")));
      write(body);
      at("more").hidden = told.next === null;
      at("more").onclick = () => look(told.next);
    } catch (error) {
      failed(error);
    }
  }

  at("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    for (const name of filters) if (at(name).value.trim()) query.set(name, at(name).value.trim());
    history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
    look();
  });
  look();
});
