// What was spent of one budget in its periods before, as bars in a dialog.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-history]");
  if (!button) return;
  const { scope, name, per } = JSON.parse(button.dataset.history);
  try {
    const query = new URLSearchParams({ scope, name, per, periods: 12 });
    const told = await headgate.api("GET", `/admin/budgets/history?${query}`);
    document.getElementById("history-title").textContent = told.budget;
    document.getElementById("history-note").textContent =
      `The last ${told.periods.length} periods, the present one last; its limit is $${told.limit_usd} now.`;
    document.getElementById("history").showModal(); // first: a chart is as wide as what it stands in
    headgate.chart(document.getElementById("history-chart"), {
      title: told.budget,
      kind: "bars",
      unit: "usd",
      x: told.periods.map((each) => each.start_at),
      series: [{ label: "Spent", values: told.periods.map((each) => each.spent_nano_usd / 1e9) }],
    });
  } catch (error) {
    headgate.failed(error);
  }
});
