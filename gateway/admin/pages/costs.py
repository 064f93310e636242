"""The costs page: spend over time by anything, unit costs, savings, movers, budgets, own GPUs.

The page is a frame; `static/costs.js` fills it from the API, which confines an owner to his team.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Seen
from gateway.admin.pages.shell import Entry, Shell

PATH = "/admin/ui/costs"


def costs_pages(shell: Shell, *, budgets: bool) -> APIRouter:
    """Returns the page; `budgets` says whether there is a `/admin/budgets`."""
    routes = shell.routes()
    shell.add(Entry("Costs", PATH, "Money", icon="costs", about="Where the money went: by time, team, model and more"))

    @routes.get(PATH)
    def costs(request: Request, visitor: Seen) -> Response:
        return shell.page(request, "costs.html", title="Costs", everywhere=visitor.team is None, budgets=budgets)

    return routes
