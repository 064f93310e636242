// Colours a line of YAML. Text stays text: every piece is put in as such, never as HTML.
"use strict";

const yaml = (() => {
  // In the order in which they are looked for at a place; what none of them takes is plain.
  const PIECES = [
    ["comment", /(?:^|(?<=\s))#.*/y],
    ["key", /(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[A-Za-z0-9_/.][^\s:#,{}[\]"']*(?: [^\s:#,{}[\]"']+)*)(?=\s*:(?:\s|$))/y],
    ["kept", /<kept(?: \d+)?>/y],
    ["variable", /\$\{[^}\n]*\}/y],
    ["text", /"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'/y],
    ["number", /(?<![\w.-])-?\d[\d_]*(?:\.\d+)?(?:ms|s|m|h|d|[KMG]i?B|B)?(?![\w.-])/y],
    ["word", /(?<![\w-])(?:true|false|null|~|free|all|auto)(?![\w-])/y],
    ["mark", /[&*][A-Za-z0-9_-]+|[-?](?=\s|$)|[{}[\],:|>]/y],
  ];

  /** Returns the nodes of one line. */
  function line(text) {
    const made = [];
    let plain = "";
    for (let at = 0; at < text.length; ) {
      let found = null;
      for (const [kind, pattern] of PIECES) {
        pattern.lastIndex = at;
        const match = pattern.exec(text);
        if (match && match[0]) {
          found = [kind, match[0]];
          break;
        }
      }
      if (!found) {
        const word = /^[\w.-]+|^./su.exec(text.slice(at))[0];
        plain += word;
        at += word.length;
        continue;
      }
      if (plain) made.push(plain);
      plain = "";
      const [kind, piece] = found;
      if (kind === "text" && piece.includes("${")) made.push(...within(piece));
      else made.push(headgate.element("span", { class: `y-${kind}` }, piece));
      at += piece.length;
    }
    if (plain) made.push(plain);
    return made;
  }

  /** Shows the variables within quotes. */
  function within(piece) {
    return piece
      .split(/(\$\{[^}]*\})/)
      .filter(Boolean)
      .map((part) => headgate.element("span", { class: part.startsWith("${") ? "y-variable" : "y-text" }, part));
  }

  addEventListener("DOMContentLoaded", () => {
    for (const each of document.querySelectorAll("pre.yaml")) {
      const lines = each.textContent.split("\n");
      each.replaceChildren(...lines.map((text) => headgate.element("div", {}, ...(text ? line(text) : ["\n"]))));
    }
  });

  return { line };
})();
