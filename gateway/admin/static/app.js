// What every page has: calls to the API with their token, errors as toasts, forms, tables, times and money.
"use strict";

const headgate = (() => {
  const csrf = document.querySelector('meta[name="csrf"]')?.content;

  // -- the API -------------------------------------------------------------------------------------------------------

  /** Asks the API; returns its JSON (null where it says nothing). Throws an Error: message, status, code, param, wait. */
  async function api(method, path, body, headers = {}) {
    const options = { method, headers: { accept: "application/json", ...headers }, credentials: "same-origin" };
    if (csrf && method !== "GET") options.headers["x-csrf-token"] = csrf;
    if (body !== undefined) {
      options.headers["content-type"] ??= "application/json";
      options.body = typeof body === "string" ? body : JSON.stringify(body);
    }
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw Object.assign(new Error("The gateway does not answer."), { status: 0 });
    }
    const text = await answer.text();
    let told = null;
    try {
      told = text ? JSON.parse(text) : null;
    } catch {
      told = text;
    }
    if (answer.ok) return told;
    const said = told?.error ?? {};
    const error = new Error(said.message ?? `The gateway answered with ${answer.status}.`);
    Object.assign(error, { status: answer.status, code: said.code, param: said.param, body: told });
    error.wait = Number(answer.headers.get("retry-after")) || 0;
    throw error;
  }

  /** Shows a line for a while; errors stay until they are closed. */
  function toast(text, kind = "info") {
    const box = document.querySelector(".toasts");
    if (!box) return;
    const shown = element("div", { class: `toast ${kind}` }, element("p", {}, text));
    const close = element("button", { type: "button", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => shown.remove());
    shown.append(close);
    box.append(shown);
    if (kind !== "bad") setTimeout(() => shown.remove(), 6000);
  }

  /** Makes an element; text is text, never HTML. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value != null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  /** Asks a question; resolves to whether it was answered with yes. */
  function confirm(question, yes = "Yes", kind = "primary") {
    return new Promise((resolve) => {
      const dialog = element("dialog", { "aria-label": question });
      const form = element("form", { method: "dialog" }, element("p", {}, question));
      const no = element("button", { class: "button", value: "" }, "Cancel");
      form.append(element("div", { class: "dialog-actions" }, no, element("button", { class: `button ${kind}`, value: "yes" }, yes)));
      dialog.append(form);
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(dialog.returnValue === "yes");
      });
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  // -- times and amounts ---------------------------------------------------------------------------------------------

  const dayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const momentFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });

  const format = {
    number,
    /** Dollars in as many digits as say something: $1,234.56, $0.0042, < $0.000001. */
    usd(value) {
      const size = Math.abs(value);
      if (size === 0) return "$0";
      if (size < 1e-6) return `${value < 0 ? "−" : ""}< $0.000001`;
      const digits = size >= 1000 ? 0 : size >= 0.1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(size)));
      const written = size.toLocaleString("en", { minimumFractionDigits: size >= 0.1 && size < 1000 ? 2 : 0, maximumFractionDigits: digits });
      return `${value < 0 ? "−" : ""}$${written}`;
    },
    nano: (value) => format.usd(Number(value) / 1e9),
    /** Nano-dollars as exact dollars: "88500" is "0.0000885". */
    exact(nano) {
      const [, sign, digits] = /^(-?)(\d+)$/.exec(String(nano));
      const whole = digits.padStart(10, "0");
      return `${sign}${whole.slice(0, -9)}.${whole.slice(-9)}`.replace(/\.?0+$/, "");
    },
    /** Whole numbers in three digits: 12.3k, 4.56M. */
    short(value) {
      const size = Math.abs(value);
      for (const [unit, mark] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
        if (size >= unit * 0.9995) return `${Number((value / unit).toPrecision(3))}${mark}`;
      return `${Number(value.toPrecision(3))}`;
    },
    percent: (value) => `${number(value * 100, Math.abs(value) < 0.1 ? 1 : 0)}%`,
    seconds(value) {
      if (value === 0) return "0 s";
      if (value < 0.001) return `${number(value * 1e6)} µs`;
      if (value < 1) return `${number(value * 1e3, value < 0.01 ? 1 : 0)} ms`;
      if (value < 120) return `${number(value, value < 10 ? 2 : 0)} s`;
      if (value < 7200) return `${number(value / 60)} min`;
      return value < 172800 ? `${number(value / 3600, 1)} h` : `${number(value / 86400, 1)} d`;
    },
    bytes(value) {
      for (const [unit, mark] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]])
        if (value >= unit) return `${number(value / unit, 1)} ${mark}`;
      return `${number(value)} B`;
    },
    moment: (at) => momentFormat.format(new Date(at * 1000)),
    day: (at) => dayFormat.format(new Date(at * 1000)),
    /** How long ago, or in how long: "3 min ago", "in 2 h". */
    ago(at, now = Date.now() / 1000) {
      const away = at - now;
      if (Math.abs(away) < 1) return "now";
      const said = format.seconds(Math.max(1, Math.round(Math.abs(away))));
      return away < 0 ? `${said} ago` : `in ${said}`;
    },
  };

  /** Writes the times and amounts of a part of the page that have not been written yet. */
  function write(root = document) {
    for (const each of root.querySelectorAll("time[data-at]")) {
      const at = Number(each.dataset.at);
      each.dateTime = new Date(at * 1000).toISOString();
      each.textContent = each.dataset.as === "moment" ? format.moment(at) : format.ago(at);
      each.title = format.moment(at);
    }
    for (const each of root.querySelectorAll("data[data-nano]")) {
      each.textContent = format.nano(each.dataset.nano);
      each.title = `$${format.exact(each.dataset.nano)}`;
    }
  }

  // -- tables --------------------------------------------------------------------------------------------------------

  const valueOf = (cell) => cell?.dataset.value ?? cell?.querySelector("[data-at]")?.dataset.at ?? cell?.querySelector("[data-nano]")?.dataset.nano ?? cell?.textContent.trim() ?? "";

  function sortable(table) {
    table.querySelectorAll("thead th").forEach((head, column) => {
      if (head.hasAttribute("data-fixed") || head.querySelector("button") || !head.textContent.trim()) return;
      const button = element("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") === "ascending" ? false : head.getAttribute("aria-sort") === "descending" ? true : !head.classList.contains("num");
        for (const other of table.querySelectorAll("thead th[aria-sort]")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
        const numbers = rows.every(([value]) => value === "" || !Number.isNaN(Number(value)));
        rows.sort(([a], [b]) => (numbers ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true })) * (rising ? 1 : -1));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  /** Writes a table as CSV; a cell that a spreadsheet would take for a formula gets an apostrophe before it. */
  function csv(table) {
    const cell = (text) => {
      const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const plain = (each) => {
      const [time, amount] = [each.querySelector("time[data-at]"), each.querySelector("data[data-nano]")];
      if (each.dataset.value !== undefined) return each.dataset.value;
      return time ? time.dateTime : amount ? format.exact(amount.dataset.nano) : each.textContent.trim();
    };
    return [...table.rows].map((row) => [...row.cells].map((each) => cell(plain(each))).join(",") + "\r\n").join("");
  }

  function save(name, content, type) {
    const link = element("a", { href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // -- forms ---------------------------------------------------------------------------------------------------------

  const readers = {
    number: (text) => (text === "" ? null : Number(text)),
    json: (text) => (text === "" ? null : JSON.parse(text)),
    lines: (text) => text.split(/[\n,]/).map((line) => line.trim()).filter(Boolean),
    text: (text) => text,
  };

  /** Returns a form's fields as the API takes them; an empty one is null. */
  function fields(form) {
    const read = {};
    for (const input of form.elements) {
      if (!input.name || input.disabled || (input.type === "radio" && !input.checked)) continue;
      if (input.type === "checkbox") read[input.name] = input.checked;
      else read[input.name] = input.dataset.type ? readers[input.dataset.type](input.value.trim()) : input.value.trim() || null;
    }
    return read;
  }

  async function submit(form) {
    if (form.dataset.confirm && !(await confirm(form.dataset.confirm, form.dataset.yes ?? "Yes", form.dataset.danger !== undefined ? "danger" : "primary"))) return;
    for (const each of form.querySelectorAll(".field-error")) each.textContent = "";
    for (const each of form.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
    const button = form.querySelector('button[type="submit"], button:not([type])');
    if (button) button.disabled = true;
    try {
      const body = fields(form);
      const [method, path] = form.dataset.api.split(" ");
      const target = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(body[name]));
      const told = await api(method, target, method === "DELETE" ? undefined : body);
      const event = new CustomEvent("done", { detail: told, bubbles: true, cancelable: true });
      if (form.dispatchEvent(event)) done(form.dataset.done ?? "reload", form);
    } catch (error) {
      complain(form, error);
    } finally {
      if (button) button.disabled = false;
    }
  }

  function done(what, form) {
    form.closest("dialog")?.close();
    if (what === "reload") location.reload();
    else if (what.startsWith("/admin/")) location.assign(what);
    else if (what.startsWith("toast:")) toast(what.slice(6), "ok");
  }

  /** Shows an error at the field that it names, or as a toast. */
  function complain(form, error) {
    const input = error.param && form.elements[error.param];
    if (!input || input instanceof RadioNodeList) return failed(error);
    const field = input.closest(".field") ?? input.parentElement;
    let line = field.querySelector(".field-error");
    if (!line) field.append((line = element("p", { class: "field-error", role: "alert" })));
    line.textContent = error.message;
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  /** Tells of a call that failed; whose session has ended is sent to log in. */
  function failed(error) {
    if (error.status === 401 && location.pathname !== "/admin/login")
      return void toast("This takes a key: log in first, or again.", "bad");
    toast(error.message, "bad");
  }

  // -- the shell -----------------------------------------------------------------------------------------------------

  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  function toggleTheme() {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {}
    dispatchEvent(new Event("themechange"));
  }

  function openMenu(open) {
    document.body.classList.toggle("menu-open", open);
    const button = document.querySelector("[data-menu]");
    button.setAttribute("aria-expanded", String(open));
    if (open) document.querySelector(".sidebar a:not(.brand)")?.focus();
  }

  addEventListener("DOMContentLoaded", () => {
    write();
    setInterval(write, 30000);
    document.querySelectorAll("table[data-sort]").forEach(sortable);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));
    document.addEventListener("submit", (event) => {
      if (!event.target.dataset.api) return;
      event.preventDefault();
      submit(event.target);
    });
    document.addEventListener("click", async (event) => {
      const at = (selector) => event.target.closest(selector);
      let found;
      if (at("[data-theme-toggle]")) toggleTheme();
      else if (at("[data-menu]")) openMenu(!document.body.classList.contains("menu-open"));
      else if ((found = at("[data-opens]"))) document.getElementById(found.dataset.opens).showModal();
      else if ((found = at("[data-closes]"))) found.closest("dialog").close();
      else if ((found = at("[data-csv-of]"))) {
        const table = document.getElementById(found.dataset.csvOf);
        save(table.dataset.csv ?? "table.csv", csv(table), "text/csv");
      } else if ((found = at("[data-copy]"))) {
        await navigator.clipboard?.writeText(found.dataset.copy);
        toast("Copied.", "ok");
      } else if (at("[data-log-out]")) {
        try {
          await api("DELETE", "/admin/session");
          location.assign("/admin/login");
        } catch (error) {
          failed(error);
        }
      } else if (document.body.classList.contains("menu-open") && !at(".sidebar")) openMenu(false);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
        openMenu(false);
        document.querySelector("[data-menu]").focus();
      }
    });
  });

  return { api, toast, confirm, element, format, write, sortable, csv, save, fields, failed, dark };
})();
