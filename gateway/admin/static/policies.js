// The question on the page of policies: what would happen to a call, told by the engine that decides.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const { api, element, failed, format } = headgate;
  const form = document.getElementById("explain");
  if (!form) return;
  const at = (id) => document.getElementById(id);

  // What a pick ranks by, as receipts keep it: nano-dollars, seconds, or numbers of its own.
  const scores = { cheapest: (value) => format.nano(value), fastest: (value) => format.seconds(value), least_loaded: (value) => `${format.number(value)} in flight` };

  function place(name, note, kind) {
    return element("li", { class: `place ${kind}` }, element("strong", {}, name), element("span", { class: "muted" }, note));
  }

  function show(told) {
    at("answer").hidden = false;
    at("sentence").textContent = told.sentence;
    at("sentence").classList.toggle("bad", told.refused !== null);
    at("picture").hidden = told.decision === null;
    if (told.decision === null) return;
    const { candidates, scores: values = [], removed = [], pick } = told.decision;
    const kept = candidates.map((name, index) => place(name, values[index] == null ? "" : (scores[pick] ?? ((value) => format.number(value, 3)))(values[index]), index ? "" : "first"));
    at("kept").replaceChildren(...kept);
    const away = removed.map((each) => place(each.deployment, each.why && each.why !== each.rule ? `${each.rule}: ${each.why}` : each.rule, "away"));
    at("removed").replaceChildren(...(away.length ? away : [element("li", { class: "muted" }, "Nothing")]));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const read = (id) => at(id).value.trim() || null;
    const down = [...at("down").selectedOptions].map((each) => each.value);
    try {
      show(await api("POST", "/admin/explain", {
        model: read("model") ?? "", text: at("text").value, stream: at("stream").checked,
        team: read("team"), key: read("key"), sensitivity: read("sensitivity"), down,
      }));
    } catch (error) {
      failed(error);
    }
  });
});
