// Keys: made and changed in one form, rotated, switched off and on; a new text is shown once.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const byId = (id) => document.getElementById(id);
  const form = byId("key-form");
  let editing = null; // the row in hand; null where a key is made

  const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  const path = (row, rest = "") => `/admin/keys/${encodeURIComponent(row.name)}${rest}`;
  const rowOf = (button) => JSON.parse(button.closest("[data-row]").dataset.row);

  // -- the form ------------------------------------------------------------------------------------------------------

  const local = (at) => {
    const moment = new Date(at * 1000);
    return new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  };

  /** Fills the form with what a key is; an empty row is a new one. */
  function fill(row) {
    const fields = form.elements;
    form.reset();
    for (const name of ["name", "user", "role", "sensitivity"]) fields[name].value = row[name] ?? "";
    if (row.team !== undefined) fields.team.value = row.team ?? "";
    for (const name of ["models", "routes"]) fields[name].value = (row[name] ?? []).join("\n");
    fields.tags.value = Object.entries(row.tags ?? {}).map(([name, value]) => `${name}=${value}`).join("\n");
    fields.budgets.value = (row.budgets ?? []).map((each) => `${each.usd} ${each.per}`).join("\n");
    for (const name of ["calls_per_minute", "tokens_per_minute", "in_flight"]) fields[name].value = row.limits?.[name] ?? "";
    fields.expires_at.value = row.expires_at ? local(row.expires_at) : "";
    fields.strict.checked = row.strict ?? false;
  }

  /** Reads the form as fields of the API; of a key in hand only those that changed. */
  function read() {
    const fields = form.elements;
    const said = {};
    for (const name of ["name", "user", "team", "role", "sensitivity"]) said[name] = fields[name].value || null;
    for (const name of ["models", "routes"]) said[name] = fields[name].value.trim() ? lines(fields[name].value) : null;
    said.tags = Object.fromEntries(lines(fields.tags.value).map((line) => [line.split("=")[0].trim(), line.split("=").slice(1).join("=").trim()]));
    said.budgets = lines(fields.budgets.value).map((line) => {
      const [usd, per] = line.split(/\s+(?:a\s+)?/);
      const known = editing?.budgets.find((each) => each.per === per) ?? {};
      return { ...known, usd: usd.replace(/^\$/, ""), per: per ?? "" };
    });
    said.limits = {};
    for (const name of ["calls_per_minute", "tokens_per_minute", "in_flight"])
      said.limits[name] = fields[name].value ? Number(fields[name].value) : null;
    said.expires_at = fields.expires_at.value ? new Date(fields.expires_at.value).getTime() / 1000 : null;
    said.strict = fields.strict.checked;
    for (const name of Object.keys(said)) if (fields[name]?.disabled) delete said[name];
    if (!editing) return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null));
    delete said.name;
    const was = { ...editing, expires_at: editing.expires_at ? new Date(local(editing.expires_at)).getTime() / 1000 : null };
    return Object.fromEntries(Object.entries(said).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(was[name])));
  }

  function open(row) {
    editing = row;
    clear();
    fill(row ?? {});
    form.elements.name.disabled = row !== null;
    byId("edit-title").textContent = row ? `Edit ${row.name}` : "New key";
    byId("save").textContent = row ? "Save" : "Make the key";
    byId("edit").showModal();
  }

  function clear() {
    byId("form-error").textContent = "";
    for (const each of form.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
    for (const each of form.querySelectorAll(".field .field-error")) each.remove();
  }

  /** Shows an error at the field that it names. */
  function complain(error) {
    const [first, , last] = (error.param ?? "").split(".");
    const input = form.elements[last] ?? form.elements[(error.param ?? "").split(".").at(-1)] ?? form.elements[first];
    if (!(input instanceof HTMLElement)) return void (byId("form-error").textContent = error.message);
    input.closest(".field").append(headgate.element("p", { class: "field-error", role: "alert" }, error.message));
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    byId("save").disabled = true;
    try {
      const told = editing ? await headgate.api("PATCH", path(editing), read()) : await headgate.api("POST", "/admin/keys", read());
      byId("edit").close();
      if (editing) location.reload();
      else show(told);
    } catch (error) {
      if (error.status) complain(error);
      else headgate.failed(error);
    } finally {
      byId("save").disabled = false;
    }
  });

  // -- a new text ----------------------------------------------------------------------------------------------------

  function show(told) {
    byId("made-title").textContent = `The key of ${told.name}`;
    byId("made-key").textContent = told.key;
    byId("made").showModal();
  }

  byId("made-copy").addEventListener("click", async () => {
    await navigator.clipboard?.writeText(byId("made-key").textContent);
    headgate.toast("Copied.", "ok");
  });
  byId("made-done").addEventListener("click", () => byId("made").close());
  byId("made").addEventListener("close", () => {
    byId("made-key").textContent = "";
    location.reload();
  });

  // -- rows ----------------------------------------------------------------------------------------------------------

  byId("rotate-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("rotate").close();
    try {
      show(await headgate.api("POST", path(editing, "/rotate"), { overlap_s: Number(byId("overlap").value) }));
    } catch (error) {
      headgate.failed(error);
    }
  });

  document.addEventListener("click", async (event) => {
    const at = (selector) => event.target.closest(selector);
    let found;
    if (at("[data-new]")) open(null);
    else if ((found = at("[data-edit]"))) open(rowOf(found));
    else if ((found = at("[data-rotate]"))) {
      editing = rowOf(found);
      byId("rotate-title").textContent = `Rotate ${editing.name}`;
      byId("rotate").showModal();
    } else if ((found = at("[data-switch]"))) {
      const row = rowOf(found);
      const on = found.dataset.switch === "on";
      if (!on && !(await headgate.confirm(`Disable ${row.name}? Its calls are refused from now on.`, "Disable", "danger"))) return;
      try {
        await headgate.api("PATCH", path(row), { enabled: on });
        location.reload();
      } catch (error) {
        headgate.failed(error);
      }
    }
  });
});
