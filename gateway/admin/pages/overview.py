"""The overview, home of the control room: this month's money, the last day's calls, what wants looking at.

The page is a frame; `static/overview.js` fills it from the API, which confines an owner to his team.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Seen
from gateway.admin.pages.shell import HOME, Entry, Shell


def overview_pages(shell: Shell, *, budgets: bool) -> APIRouter:
    """Returns the page; `budgets` says whether there is a `/admin/budgets`."""
    routes = shell.routes()
    shell.add(Entry("Overview", HOME, icon="home"))

    @routes.get(HOME)
    def overview(request: Request, visitor: Seen) -> Response:
        return shell.page(request, "overview.html", title="Overview", everywhere=visitor.team is None, budgets=budgets)

    return routes
