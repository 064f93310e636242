"""The pages of the admin surface: templates of the server's, small scripts, no build step, nothing from elsewhere.

**A page** is a file `pages/costs.py` with `costs_pages(shell, …) -> APIRouter`, `templates/costs.html`, a script
`static/costs.js` where it takes one, and a line in `app.py`:

    routes = shell.routes()                                              # not in the OpenAPI document
    shell.add(Entry("Costs", "/admin/ui/costs", "Money", icon="costs"))  # in the navigation; roles=… hides it

    @routes.get("/admin/ui/costs")
    def costs(request: Request, visitor: Seen) -> Response:              # Seen, Admin: as in the API
        return shell.page(request, "costs.html", title="Costs", rows=rows)

The template extends `base.html` and fills the blocks `lead`, `actions` (right of the heading), `content` and `scripts`
(`<script src="{{ static('costs.js') }}" defer></script>`, for uPlot `{% include "charts.html" %}` before it). Classes:
`card`, `card-head`, `grid`, `figures` of `figure` (`label`, `value`, `note`), `badge ok|warn|bad|info`, `notice`,
`tabs`, `segments`, `button primary|danger|quiet|small`, `fields` of `field` (`label`, input, `hint`), `toolbar`,
`facts`, `progress.bar`, `empty`, `skeleton`. The CSP takes no inline script, no `onclick`, no `style=""`; a script may
set `element.style`. A dialog is a `<dialog id="new">`, a button `data-opens="new"`, within it one `data-closes`.

**A table**: `<table class="table" id="spend" data-sort data-csv="spend.csv">` in a `table-wrap`; a button
`data-csv-of="spend"` saves it; cells of numbers are `class="num"`, `data-value` is what is sorted by and saved;
`<time data-at="1764201600">` and `<data data-nano="88500">` are written for people, `headgate.format` does it by hand.
**A form**: `<form data-api="POST /admin/keys/{name}" data-done="reload">` sends its fields as JSON with the session's
token (`data-type="number|json|lines"` on an input; also `data-done="toast:Saved"` or a path, `data-confirm="Sure?"`),
and shows the API's error at the field it names. By hand: `await headgate.api("PUT", path, body)` throws what it said.
**A chart**: `headgate.chart(element, {title, kind: "area"|"bars"|"lines", unit: "usd"|"tokens"|"calls"|"s"|"ms"|"%", x,
series: [{label, values}]})` in a `<div class="chart" data-height="260">`; x in epoch seconds, areas and bars stacked;
also `lines: [{label, value}]` (dashed, across) and `pick(index)` (a click on a point of x).
"""

from gateway.admin.pages.shell import EVERYBODY, Entry, Shell, shell_pages

__all__ = ["EVERYBODY", "Entry", "Shell", "shell_pages"]
